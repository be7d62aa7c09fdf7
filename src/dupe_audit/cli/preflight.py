"""Count the duplicates of a key, or of every key that pending revisions are about to enforce."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any, Literal

import click
from sqlalchemy import Connection

from dupe_audit import render
from dupe_audit.cli.options import (
    database_options,
    exit_by,
    format_option,
    key_options,
    opened,
    read_project,
    work_mem_option,
    x_option,
)
from dupe_audit.cli.progress import progress
from dupe_audit.directives.declared import DeclaredKey
from dupe_audit.directives.plain_keys import examined
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import STEPS, Finding
from dupe_audit.model import CleanupRule, DuplicateReport, UniqueKey, Unseen
from dupe_audit.preflight import preflight

ACCEPTABLE = tuple(id_ for id_, entry in STEPS.items() if entry.acceptable)


@click.command("preflight")
@key_options
@click.option(
    "--references",
    type=click.Choice(("refuse", "repoint")),
    default="refuse",
    show_default=True,
    help="Rule for rows of other tables that reference extras: stop the cleanup, or point them at the survivor.",
)
@click.option("--ignore", multiple=True, metavar="COL", help="Column in which exact copies may differ; repeatable.")
@click.option("--accept", multiple=True, type=click.Choice(ACCEPTABLE), help="Finding to accept; repeatable.")
@x_option
@click.option("--show-keys", is_flag=True, help="Also print the key values of the largest groups.")
@work_mem_option
@format_option
@database_options
def preflight_command(
    schema: str | None,
    table: str | None,
    columns: tuple[str, ...],
    name: str | None,
    nulls_not_distinct: bool,
    references: Literal["refuse", "repoint"],
    ignore: tuple[str, ...],
    accept: tuple[str, ...],
    x: tuple[str, ...],
    show_keys: bool,
    work_mem: str | None,
    style: str,
    database_url: str | None,
    config: str | None,
) -> None:
    """Count duplicates and find everything that could make the upgrade fail; change nothing.

    Without --table: every key that pending revisions are about to enforce.

    \b
    Example: dupe-audit preflight --table agent_actions -c correlation_id -c action_name -c created_at
    """
    keys: list[DeclaredKey] = []
    unseen: tuple[Unseen, ...] = ()
    if table and not columns:
        raise WrongUsage("Name the columns of the key after the command: preflight --table TABLE -c COLUMN.")
    if table:
        key = UniqueKey(table=table, columns=columns, schema=schema, name=name, nulls_not_distinct=nulls_not_distinct)
        keys.append(DeclaredKey(revision="", key=key, rule=CleanupRule(ignore=ignore, references=references)))
    elif columns or name or schema:
        raise WrongUsage(
            "A key needs --table and at least one -c COLUMN, after the command: preflight --table T -c COL."
        )
    with opened(database_url, config) as database:
        if not table:
            project = read_project(database, x)
            keys += project.pending
            unseen = _judged(project.unseen_pending, accept)
        with progress("counting duplicates"):
            reports = [
                _report(database.connection, declared, accept=accept, show_keys=show_keys, work_mem=work_mem)
                for declared in keys
            ]
    everything: list[DuplicateReport | Unseen] = [*reports, *unseen]
    if style == "json":
        objects = [render.preflight_json(report) for report in everything]
        render.dump(objects[0] if table else objects, sys.stdout)
    else:
        render.preflight(reports, style, sys.stdout)
        render.unseen(unseen, style, sys.stdout)
        if not everything:
            click.echo("No pending revision enforces a key.", err=True)
    exit_by(finding for report in everything for finding in report.findings)


def _report(connection: Connection, declared: DeclaredKey, **options: Any) -> DuplicateReport:
    report = preflight(connection, declared.key, declared.rule, **options)
    if declared.revision:
        report = replace(report, findings=tuple(_of_revision(each, declared.revision) for each in report.findings))
    return examined(report, declared) if declared.plain else report


def _of_revision(finding: Finding, revision: str) -> Finding:
    """Return a finding; one about a missing table or column names the revision, too."""
    if finding.id not in ("table-missing", "column-missing"):
        return finding
    return replace(finding, message=f"upgrade() of revision {revision}: {finding.message}")


def _judged(unseen: tuple[Unseen, ...], accept: tuple[str, ...]) -> tuple[Unseen, ...]:
    """Make a warning of each error that the command line accepts."""
    return tuple(
        replace(
            each,
            findings=tuple(
                replace(finding, severity="warning")
                if finding.id in accept and finding.severity == "error"
                else finding
                for finding in each.findings
            ),
        )
        for each in unseen
    )
