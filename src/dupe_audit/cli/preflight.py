"""Count the duplicates of a key, or of every key that pending revisions are about to enforce."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import render
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
from dupe_audit.directives.plain_keys import examined
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import STEPS, Finding, quantity
from dupe_audit.model import DuplicateReport, Expression, UniqueKey, Unseen
from dupe_audit.preflight import preflight

#: number of groups written to a file without --samples
FILE_SAMPLES = 10
ACCEPTABLE = tuple(id_ for id_, entry in STEPS.items() if entry.acceptable)


@click.command("preflight", cls=KeyCommand)
@key_options
@schemas_option
@rule_options
@click.option(
    "--samples",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=None,
    help="Also show up to N divergent groups side by side: the row that would survive, those that would leave, and the "
    "columns in which they differ. If no group is divergent, exact groups are shown.",
)
@click.option(
    "--samples-to",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=None,
    help="Write the samples to a new file that only you can read: .csv, .json, .md or .txt. Without --samples, "
    f"{FILE_SAMPLES} groups.",
)
@accept_option(ACCEPTABLE)
@x_option
@click.option(
    "--show-keys",
    is_flag=True,
    help="Also print key values of the largest groups, and values of the rows shown.",
)
@work_mem_option
@format_option
@database_options
def preflight_command(
    schema: str | None,
    table: str | None,
    columns: tuple[str | Expression, ...],
    where: str | None,
    name: str | None,
    nulls_not_distinct: bool,
    schemas: tuple[str, ...],
    samples: int | None,
    samples_to: Path | None,
    accept: tuple[str, ...],
    x: tuple[str, ...],
    show_keys: bool,
    work_mem: str | None,
    style: str,
    database_url: str | None,
    config: str | None,
    **rule: Any,
) -> None:
    """Count duplicates and find everything that could make the upgrade fail; change nothing.

    Without --table: every key that pending revisions are about to enforce, each with the rule of its revision.

    \b
    Example: dupe-audit preflight --table agent_actions -c correlation_id -c action_name -c created_at
    Example: dupe-audit preflight --table users -e 'lower(email)' --where 'deleted_at IS NULL' --samples 5
    Example: dupe-audit preflight --schemas 'tenant_*' --table orders -c reference
    Example: dupe-audit preflight --table orders -c reference --show-keys --samples 50 --samples-to orders.csv
    """
    if samples_to:
        render.check_file(samples_to)
        samples = samples or FILE_SAMPLES
    _require_key(table, columns=columns, name=name, schema=schema, where=where)
    require_fitting(table, schema=schema, schemas=schemas, rule=rule)
    unread: tuple[Unseen, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    with opened(database_url, config) as database:
        if table:
            key = UniqueKey(
                table=table,
                columns=columns,
                schema=schema,
                where=where,
                name=name,
                nulls_not_distinct=nulls_not_distinct,
            )
            keys = _named_keys(database.connection, key, schemas, rule)
        else:
            project = read_project(database, x)
            keys = [each for each in project.pending if is_named(each.key.schema, schemas)]
            unseen = _judged(project.unseen_pending, accept)
            unread = tuple(each for each in unseen if any(_is_cause(finding) for finding in each.findings))
            unseen = tuple(each for each in unseen if each not in unread)
        options = {"show_keys": show_keys, "samples": samples or 0, "work_mem": work_mem}
        unruled = {each.revision for each in unread}
        reports = _reports(database.connection, keys, accept, **options)
    reports = [_without_default_rule(each) if each.revision in unruled else each for each in reports]
    if samples_to:
        render.write_file(reports, samples_to, single=bool(table) and not schemas)
        count = sum(len(report.samples) for report in reports)
        click.echo(f"Wrote {quantity(count, 'sample')} to {samples_to}.", err=True)
        reports = [replace(report, samples=()) for report in reports]
    everything: list[DuplicateReport | Unseen] = [*unread, *reports, *unseen]
    if style == "json":
        objects = [render.preflight_json(report) for report in everything]
        of_schemas = render.preflight_schemas_json(reports) if schemas and table else None
        render.dump(of_schemas or (objects[0] if table else objects), sys.stdout)
    else:
        render.unseen(unread, style, sys.stdout)
        _print(reports, [bool(schemas) or declared.is_for_schema for declared in keys], style)
        render.unseen(unseen, style, sys.stdout)
        if not everything:
            click.echo("No pending revision enforces a key.", err=True)
    exit_by(finding for report in everything for finding in report.findings)


def _named_keys(
    connection: Connection, key: UniqueKey, schemas: tuple[str, ...], rule: dict[str, Any]
) -> list[DeclaredKey]:
    """Return the key of the command line with its rule, once for each schema."""
    # Only an index can enforce an expression or a predicate.
    key = key if key.is_plain else replace(key, form="index")
    names = schemas_with(connection, key.table, schemas) if schemas else [key.schema]
    keys = [replace(key, schema=name) for name in names]
    return [
        DeclaredKey(revision="", key=each, rule=cleanup_rule(connection, each, rule), is_for_schema=bool(schemas))
        for each in keys
    ]


def _reports(
    connection: Connection, keys: list[DeclaredKey], accept: tuple[str, ...], **options: Any
) -> list[DuplicateReport]:
    """Count the duplicates of each key."""
    reports = []
    with progress("counting duplicates") as display:
        for number, declared in enumerate(keys):
            if len(keys) > 1:
                display.show("counting duplicates", number, len(keys), "keys")
            reports.append(_report(connection, declared, accept, **options))
    return reports


def _print(reports: list[DuplicateReport], in_schemas: list[bool], style: str) -> None:
    """Print a table of the schemas, then the other reports, and those with values and rows that were asked for."""
    render.preflight_schemas([r for r, many in zip(reports, in_schemas, strict=True) if many], style, sys.stdout)
    detailed = [r for r, many in zip(reports, in_schemas, strict=True) if not many or r.examples or r.samples]
    render.preflight(detailed, style, sys.stdout)


def _require_key(table: str | None, **key: Any) -> None:
    """Require the table and the elements of a key together.

    Raises:
        WrongUsage: one of them is missing.
    """
    if table and not key["columns"]:
        raise WrongUsage(
            "Name the columns of the key, or its expressions, after the command: "
            "preflight --table TABLE -c COLUMN -e EXPRESSION."
        )
    if not table and any(key.values()):
        raise WrongUsage(
            "A key needs --table and at least one -c COLUMN or -e EXPRESSION, after the command: "
            "preflight --table T -c COL."
        )


def _report(connection: Connection, declared: DeclaredKey, accept: tuple[str, ...], **options: Any) -> DuplicateReport:
    key, accepted = declared.key, {*accept, *declared.accepted}
    try:
        report = preflight(connection, key, declared.rule, accept=accepted, **options)
    except DBAPIError as error:
        if not declared.is_for_schema:
            raise
        report = DuplicateReport(key=key, counts=None, findings=(unreadable(connection, key, error),))
    report = replace(report, rule=declared.rule, revision=declared.revision or None)
    if declared.revision:
        report = replace(report, findings=tuple(_with_revision(each, declared.revision) for each in report.findings))
    return examined(report, declared) if declared.plain else report


def _is_cause(finding: Finding) -> bool:
    """Return whether a revision could not be read, which can be the cause of everything else about it."""
    return finding.id == "revision-unread" and finding.severity == "error"


def _without_default_rule(report: DuplicateReport) -> DuplicateReport:
    """Return the report on a key whose revision was not read to its end, without what its rule can resolve.

    What it advises about duplicates may be what the revision already says where it could not be read.
    """
    if report.rule is not None:
        return report
    advice = "Correct the revision first: op.archive_duplicates() for this key may be in what could not be read."
    return replace(
        report,
        findings=tuple(
            replace(each, help=advice) if each.id == "duplicates" else each
            for each in report.findings
            if each.id != "divergent-duplicates"
        ),
    )


def _with_revision(finding: Finding, revision: str) -> Finding:
    """Return a finding; one about a missing table or column names the revision, too."""
    if finding.id not in ("table-missing", "column-missing"):
        return finding
    return replace(finding, message=f"upgrade() of revision {revision}: {finding.message}")


def _judged(unseen: tuple[Unseen, ...], accept: tuple[str, ...]) -> tuple[Unseen, ...]:
    """Make a warning of each error that the command line accepts."""

    def judged(finding: Finding) -> Finding:
        accepted = finding.id in accept and finding.severity == "error"
        return replace(finding, severity="warning") if accepted else finding

    return tuple(replace(each, findings=tuple(map(judged, each.findings))) for each in unseen)
