"""Show the ledger."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from dupe_audit import ledger, render
from dupe_audit.cli.options import database_options, format_option, opened


@click.command("runs")
@format_option
@database_options
def runs_command(style: str, database_url: str | None, config: str | None) -> None:
    """Show the ledger: each run, its state, rows archived and restored, size of its archive.

    \b
    Example: dupe-audit runs --format json
    """
    with opened(database_url, config) as database:
        connection = database.connection
        runs = [run for run, _rule in ledger.find_runs(connection, "true")]
    if style == "json":
        render.dump([asdict(run) for run in runs], sys.stdout)
    else:
        render.runs(runs, style, sys.stdout)
