"""Prove a constraint, or every constraint that applied revisions declare."""

from __future__ import annotations

import sys

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
from dupe_audit.verify import verify, verify_named


@click.command("verify")
@key_options
@work_mem_option
@format_option
@database_options
def verify_command(
    schema: str | None,
    table: str | None,
    columns: tuple[str, ...],
    name: str | None,
    nulls_not_distinct: bool,
    work_mem: str | None,
    style: str,
    database_url: str | None,
    config: str | None,
) -> None:
    """Prove from the catalog and a count that a constraint exists, is valid and holds; change nothing.

    Without --table: every key that applied revisions declare.

    \b
    Example: dupe-audit verify --table agent_actions --name unique_action_per_correlation_timestamp
    """
    if table and not name:
        raise WrongUsage("verify --table needs the constraint's --name.")
    with opened(database_url, config) as (connection, url, config_file):
        if table:
            with progress("verifying"):
                report = verify_named(
                    connection,
                    table=table,
                    name=str(name),
                    schema=schema,
                    columns=columns,
                    nulls_not_distinct=nulls_not_distinct,
                    work_mem=work_mem,
                )
            reports = [report]
        elif columns or name or schema:
            raise WrongUsage("A key needs --table and the constraint's --name.")
        else:
            keys = [declared.key for declared in read_project(config_file, connection, url).applied]
            with progress("verifying"):
                reports = [verify(connection, key, work_mem=work_mem) for key in keys]
    if style == "json":
        objects = [render.verify_json(report) for report in reports]
        render.dump(objects[0] if table else objects, sys.stdout)
    else:
        render.verify(reports, style, sys.stdout)
        if not reports:
            click.echo("No applied revision enforces a key.", err=True)
    exit_by(finding for report in reports for finding in report.findings)
