"""Show the ledger."""

from __future__ import annotations

import sys

import click

from dupe_audit import ledger, render
from dupe_audit.cli.options import database_options, exit_by, format_option, opened


@click.command("runs")
@format_option
@database_options
def runs_command(style: str, database_url: str | None, config: str | None) -> None:
    """Show the ledger: each run, its state, rows archived and restored, size of its archive.

    Ends with 1 if an archive no longer holds what the ledger says.

    \b
    Example: dupe-audit runs --format json
    """
    with opened(database_url, config) as database:
        connection = database.connection
        runs = [run for run, _rule in ledger.find_runs(connection, "true", reading=True)]
        findings = [finding for run in runs for finding in ledger.archive_findings(connection, run)]
    if style == "json":
        render.dump([render.run_json(run) for run in runs], sys.stdout)
    else:
        render.runs(runs, style, sys.stdout)
    for finding in findings:
        click.echo(f"[{finding.id}] {finding.message} {finding.help}", err=True)
    exit_by(findings)
