"""Drop the archives of runs."""

from __future__ import annotations

import sys

import click

from dupe_audit import ledger
from dupe_audit.cli.options import database_options, opened
from dupe_audit.cli.places import chosen_runs, runs_options
from dupe_audit.errors import Refused
from dupe_audit.findings import quantity
from dupe_audit.model import Run


def _as_before(run: Run) -> str:
    """Return how many of the archived rows are also in the table, as the run changed them."""
    changed = run.images - run.reverted
    return f", {changed:,} of them as they were before the run changed them" if changed else ""


@click.command("purge")
@click.argument("numbers", metavar="RUN...", type=click.IntRange(min=1), nargs=-1)
@runs_options
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
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
            if not _confirmed(f"{question} Drop the archives?"):
                raise Refused([], lead="No run was purged.")
        for run in runs:
            table = f"{run.schema_name}.{run.table_name}"
            rows = f"{quantity(run.remaining, 'row')} of {table}{_as_before(run)}"
            question = f"The archive of run {run.id} holds the only copy of {rows}."
            if not run.remaining:
                question = f"Every archived row of run {run.id} is back in {table}."
            if not (yes or together) and not _confirmed(f"{question} Drop the archive?"):
                raise Refused([], lead=f"Run {run.id} was not purged.")
            ledger.purge(connection, run.id)
            click.echo(f"run {run.id}: archive dropped")


def _confirmed(question: str) -> bool:
    """Ask on the terminal, or read the answer from a pipe.

    Raises:
        Refused: there is neither.
    """
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        raise Refused([], lead="Nothing was purged: there is no terminal to ask on. To confirm, add --yes.") from None
