"""Count the duplicates of a key, or of every key that pending revisions are about to enforce."""

from __future__ import annotations

import sys
from typing import Literal

import click

from dupe_audit import render
from dupe_audit.cli.options import (
    database_options,
    exit_by,
    format_option,
    key_options,
    opened,
    read_project,
    work_mem_option,
)
from dupe_audit.cli.progress import progress
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import STEPS
from dupe_audit.model import CleanupRule, UniqueKey
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
    keys: list[tuple[UniqueKey, CleanupRule | None]] = []
    if table and not columns:
        raise WrongUsage("Name the columns of the key after the command: preflight --table TABLE -c COLUMN.")
    if table:
        key = UniqueKey(table=table, columns=columns, schema=schema, name=name, nulls_not_distinct=nulls_not_distinct)
        keys.append((key, CleanupRule(ignore=ignore, references=references)))
    elif columns or name or schema:
        raise WrongUsage(
            "A key needs --table and at least one -c COLUMN, after the command: preflight --table T -c COL."
        )
    with opened(database_url, config) as (connection, url, config_file):
        if not table:
            keys += [(declared.key, declared.rule) for declared in read_project(config_file, connection, url).pending]
        with progress("counting duplicates"):
            reports = [
                preflight(connection, key, rule, accept=accept, show_keys=show_keys, work_mem=work_mem)
                for key, rule in keys
            ]
    if style == "json":
        objects = [render.preflight_json(report) for report in reports]
        render.dump(objects[0] if table else objects, sys.stdout)
    else:
        render.preflight(reports, style, sys.stdout)
        if not reports:
            click.echo("No pending revision enforces a key.", err=True)
    exit_by(finding for report in reports for finding in report.findings)
