"""Drop the archives of runs."""

from __future__ import annotations

import click

from dupe_audit import ledger
from dupe_audit.cli.options import database_options, opened
from dupe_audit.cli.question import confirm, yes_option
from dupe_audit.cli.schemas import chosen_runs, runs_options
from dupe_audit.findings import quantity
from dupe_audit.model import Run


def _as_before(run: Run) -> str:
    """Return how many of the archived rows are also in the table, as the run changed them."""
    changed = run.images - run.reverted
    return f", {changed:,} of them as they were before the run changed them" if changed else ""


@click.command("purge")
@click.argument("numbers", metavar="RUN...", type=click.IntRange(min=1), nargs=-1)
@runs_options
@yes_option
@database_options
def purge_command(
    numbers: tuple[int, ...],
    campaign: int | None,
    schemas: tuple[str, ...],
    yes: bool,
    database_url: str | None,
    config: str | None,
) -> None:
    """Drop archives that are no longer needed. Rows that were not restored are lost for good.

    \b
    Example: dupe-audit purge 1 --yes
    Example: dupe-audit purge --campaign 1
    """
    with opened(database_url, config) as database:
        connection = database.connection
        together = campaign is not None or bool(schemas)
        runs = chosen_runs(connection, numbers, campaign, schemas)
        runs = [run for run in runs if run.purged_at is None or not together]
        if not runs:
            click.echo("The archives of these runs are already purged; nothing to do.", err=True)
        elif together and not yes:
            lost = quantity(sum(run.remaining for run in runs), "row")
            question = f"The archives of {quantity(len(runs), 'run')} hold the only copies of {lost}."
            confirm(f"{question} Drop the archives?", otherwise="Nothing was changed: no run was purged.")
        for run in runs:
            table = f"{run.schema_name}.{run.table_name}"
            rows = f"{quantity(run.remaining, 'row')} of {table}{_as_before(run)}"
            question = f"The archive of run {run.id} holds the only copy of {rows}."
            if not run.remaining:
                question = f"Every archived row of run {run.id} is back in {table}."
            if not (yes or together):
                unchanged = f"Run {run.id} was not purged; its archive is unchanged."
                confirm(f"{question} Drop the archive?", otherwise=unchanged)
            ledger.purge(connection, run.id)
            click.echo(f"run {run.id}: archive dropped")
