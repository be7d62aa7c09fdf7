"""Drop the archives of runs."""

from __future__ import annotations

import click

from dupe_audit import ledger
from dupe_audit.cli.options import database_options, opened
from dupe_audit.errors import Refused
from dupe_audit.findings import quantity
from dupe_audit.model import Run


def _as_before(run: Run) -> str:
    """Return how many of the archived rows are also in the table, as the run changed them."""
    changed = run.images - run.reverted
    return f", {changed:,} of them as they were before the run changed them" if changed else ""


@click.command("purge")
@click.argument("numbers", metavar="RUN...", type=click.IntRange(min=1), nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@database_options
def purge_command(numbers: tuple[int, ...], yes: bool, database_url: str | None, config: str | None) -> None:
    """Drop archives that are no longer needed. Rows that were not restored are lost for good.

    \b
    Example: dupe-audit purge 1 --yes
    """
    with opened(database_url, config) as database:
        connection = database.connection
        for number in numbers:
            run, _rule = ledger.get_run(connection, number)
            lost = run.remaining
            rows = f"{quantity(lost, 'row')} of {run.table_name}{_as_before(run)}"
            question = f"The archive of run {number} holds the only copy of {rows}."
            if not lost:
                question = f"Every archived row of run {number} is back in {run.table_name}."
            if not yes and not click.confirm(f"{question} Drop the archive?", err=True):
                raise Refused([], lead=f"Run {number} was not purged.")
            ledger.purge(connection, number)
            click.echo(f"run {number}: archive dropped")
