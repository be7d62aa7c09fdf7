"""Show the ledger."""

from __future__ import annotations

import sys

import click

from dupe_audit import ledger, render
from dupe_audit.cli.options import database_options, exit_by, format_option, opened
from dupe_audit.cli.schemas import NO_RUNS, is_named, schemas_option


@click.command("runs")
@schemas_option
@click.option("--campaign", type=click.IntRange(min=1), metavar="N", help="Runs of this campaign only.")
@format_option
@database_options
def runs_command(
    schemas: tuple[str, ...], campaign: int | None, style: str, database_url: str | None, config: str | None
) -> None:
    """Show the ledger: each run, its state, rows archived and restored, size of its archive.

    Ends with 1 if an archive no longer holds what the ledger says.

    \b
    Example: dupe-audit runs --format json
    Example: dupe-audit runs --schemas 'tenant_*'
    """
    with opened(database_url, config) as database:
        connection = database.connection
        if campaign:
            ledger.get_campaign(connection, campaign)
        condition = f"r.campaign = {campaign}" if campaign else "true"
        runs = [run for run, _rule in ledger.find_runs(connection, condition, reading=True)]
        runs = [run for run in runs if is_named(run.schema_name, schemas)]
        findings = [finding for run in runs for finding in ledger.archive_findings(connection, run)]
    if style == "json":
        render.dump([render.run_json(run) for run in runs], sys.stdout)
    else:
        chosen = bool(schemas or campaign)
        if chosen and not runs:
            click.echo(NO_RUNS)
        else:
            render.runs(runs, style, sys.stdout)
        if chosen:
            click.echo(render.run_totals(runs))
    for finding in findings:
        click.echo(f"[{finding.id}] {finding.message} {finding.help}", err=True)
    exit_by(findings)
