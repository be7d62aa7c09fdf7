"""Prove a constraint, or every constraint that applied revisions declare."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import click
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger, render
from dupe_audit.cli.elements import KeyCommand, cleanup_rule, key_options, require_fitting, rule_options
from dupe_audit.cli.options import (
    accept_option,
    database_options,
    exit_by,
    format_option,
    opened,
    read_project,
    work_mem_option,
    x_option,
)
from dupe_audit.cli.progress import progress
from dupe_audit.cli.schemas import is_named, schemas_option, schemas_with, unreadable
from dupe_audit.directives.declared import DeclaredKey
from dupe_audit.directives.ledger_runs import as_renamed, latest_run, missing_run
from dupe_audit.directives.plain_keys import verify_plain
from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression, UniqueKey, Unseen, VerifyReport
from dupe_audit.postgres import catalog
from dupe_audit.verify import verify, verify_named

#: findings that the user may know to be harmless
ACCEPTABLE = ("run-missing",)


@click.command("verify", cls=KeyCommand)
@key_options
@schemas_option
@rule_options
@accept_option(ACCEPTABLE)
@x_option
@work_mem_option
@format_option
@database_options
def verify_command(
    schema: str | None,
    table: str | None,
    columns: tuple[str | Expression, ...],
    where: str | None,
    name: str | None,
    nulls_not_distinct: bool,
    schemas: tuple[str, ...],
    accept: tuple[str, ...],
    x: tuple[str, ...],
    work_mem: str | None,
    style: str,
    database_url: str | None,
    config: str | None,
    **rule: Any,
) -> None:
    """Prove from the catalog and a count that a constraint exists, is valid and holds; change nothing.

    A unique index that belongs to no constraint is verified in the same way.

    Without --table: every key that applied revisions declare.

    The options from --keep to --ignore do not affect the verdict. They are accepted so that a command line of preflight
    can be reused; verify checks only that they fit together, not that their columns exist.

    \b
    Example: dupe-audit verify --table agent_actions --name unique_action_per_correlation_timestamp
    Example: dupe-audit verify --schemas 'tenant_*' --table orders --name uq_orders
    """
    _require_key(table, name, columns, schema=schema, where=where)
    require_fitting(table, schema=schema, schemas=schemas, rule=rule)
    unseen: tuple[Unseen, ...] = ()
    pending: tuple[DeclaredKey, ...] = ()
    with opened(database_url, config) as database:
        if table:
            key = {"columns": columns, "where": where, "nulls_not_distinct": nulls_not_distinct}
            names = schemas_with(database.connection, table, schemas) if schemas else [schema]
            for first in names[:1]:  # the rule is the same in all of them
                own = UniqueKey(schema=first, table=table, columns=columns or (str(name),))
                cleanup_rule(database.connection, own, rule)
            verified = _named(
                database.connection, table, str(name), names, in_schemas=bool(schemas), work_mem=work_mem, **key
            )
        else:
            project = read_project(database, x)
            unseen, pending = project.unseen_applied, project.pending
            pending = tuple(each for each in pending if is_named(each.key.schema, schemas))
            applied = [each for each in project.applied if is_named(each.key.schema, schemas)]
            verified = _applied(database.connection, applied, in_schemas=bool(schemas), work_mem=work_mem)
    reports, plain, in_schemas = (_with_accepted(each, accept) for each in verified)
    everything: list[VerifyReport | Unseen] = [*reports, *in_schemas, *plain, *unseen]
    if style == "json":
        objects = [render.verify_json(report) for report in everything]
        of_schemas = render.verify_schemas_json(in_schemas) if schemas and table else None
        render.dump(of_schemas or (objects[0] if table else objects), sys.stdout)
    else:
        render.verify_schemas(in_schemas, style, sys.stdout)
        render.verify(reports, style, sys.stdout)
        render.plain_keys(plain, style, sys.stdout)
        render.unseen(unseen, style, sys.stdout)
        if not everything:
            click.echo(f"No applied revision enforces a key.{_pending(pending)}", err=True)
    exit_by(finding for report in everything for finding in report.findings)


def _pending(keys: Sequence[DeclaredKey]) -> str:
    """Return the pending revisions that enforce keys, as sentences with a space before each; empty without one."""
    names = ", ".join(dict.fromkeys(key.revision for key in keys))
    return f" Pending: {names}. Run: alembic upgrade head." if names else ""


def _require_key(
    table: str | None,
    name: str | None,
    columns: tuple[str | Expression, ...],
    *,
    schema: str | None,
    where: str | None,
) -> None:
    """Require the parts of a key that identify it.

    Raises:
        WrongUsage: one is missing.
    """
    if table and not name:
        raise WrongUsage("verify --table needs the --name of the constraint or index.")
    if not table and (columns or name or schema or where):
        raise WrongUsage("A key needs --table and the --name of the constraint or index.")
    if where and not columns:
        raise WrongUsage("--where needs the elements of the key: at least one -c COLUMN or -e EXPRESSION.")


class _Verified(NamedTuple):
    """Reports that are printed in different ways."""

    single: list[VerifyReport]
    plain: list[VerifyReport]  #: on the keys of plain operations
    in_schemas: list[VerifyReport]  #: on one table in many schemas


def _named(
    connection: Connection, table: str, name: str, schemas: Sequence[str | None], *, in_schemas: bool, **key: Any
) -> _Verified:
    """Verify a constraint or an index by its name, in one schema or in many."""
    reports = []
    with progress("verifying") as display:
        for number, schema in enumerate(schemas):
            if in_schemas:
                display.show("verifying", number, len(schemas), "schemas")
            try:
                reports.append(verify_named(connection, table=table, name=name, schema=schema, **key))
            except DBAPIError as error:
                if not in_schemas:
                    raise
                own = UniqueKey(schema=schema, table=table, columns=key["columns"] or (name,), name=name)
                reports.append(_unreadable(connection, own, error))
    return _Verified([], [], reports) if in_schemas else _Verified(reports, [], [])


def _applied(connection: Connection, keys: list[DeclaredKey], *, in_schemas: bool, work_mem: str | None) -> _Verified:
    """Verify the keys that applied revisions declare."""
    verified = _Verified([], [], [])
    with progress("verifying"):
        for declared in keys:
            if declared.plain:
                verified.plain.append(_as_applied(connection, verify_plain(connection, declared), declared))
                continue
            key = as_renamed(connection, declared.key)
            try:
                report = verify(connection, key, work_mem=work_mem)
            except DBAPIError as error:
                if not declared.is_for_schema:
                    raise
                verified.in_schemas.append(_unreadable(connection, key, error))
                continue
            report = _as_applied(connection, report, replace(declared, key=key))
            reports = verified.in_schemas if declared.is_for_schema or in_schemas else verified.single
            reports.append(report)
    return verified


def _unreadable(connection: Connection, key: UniqueKey, error: DBAPIError) -> VerifyReport:
    """Return a report on a schema in which a privilege is missing, so that the other schemas are verified."""
    return VerifyReport(key=key, index=None, extras=None, run=None, findings=(unreadable(connection, key, error),))


def _as_applied(connection: Connection, report: VerifyReport, declared: DeclaredKey) -> VerifyReport:
    """Return a report on a key whose revision Alembic considers applied: with a missing run, and advice that fits."""
    ids = {finding.id for finding in report.findings}
    if "constraint-missing" in ids:
        return _with_advice(report, declared)
    if declared.rule is None or report.index is None or ids & {"column-missing", "run-missing", "table-replaced"}:
        return report
    if declared.is_for_schema:
        campaign = ledger.find_campaign(connection, declared.revision)
        if campaign and declared.key.schema not in campaign.schemas:
            return report  # it was created with its key, after the upgrade
    match = catalog.find(connection, declared.key)
    if match is None or latest_run(connection, declared.key):
        return report
    return replace(report, findings=(missing_run(connection, match[1], declared.revision), *report.findings))


def _with_advice(report: VerifyReport, declared: DeclaredKey) -> VerifyReport:
    """Return a report whose advice fits an applied revision: an upgrade would skip it."""
    form = declared.key.form
    advice = {
        "constraint-missing": (
            f"Alembic considers revision {declared.revision} applied, so alembic upgrade head would skip it. If it is "
            "the newest one: alembic stamp, with the revision before it, then alembic upgrade head. Otherwise create "
            f"the {form} again in a new revision: op.archive_duplicates(), then op.create_unique_{form}_online()."
        ),
        "duplicates-remain": "op.archive_duplicates() archives them in the same revision.",
    }
    return replace(
        report,
        findings=tuple(replace(finding, help=advice.get(finding.id, finding.help)) for finding in report.findings),
    )


def _with_accepted(reports: list[VerifyReport], accept: tuple[str, ...]) -> list[VerifyReport]:
    """Return reports in which the findings that the command line accepts no longer fail."""
    note = "Accepted on the command line."
    return [
        replace(
            report,
            findings=tuple(
                replace(finding, severity="info", help=note) if finding.id in accept else finding
                for finding in report.findings
            ),
        )
        for report in reports
    ]
