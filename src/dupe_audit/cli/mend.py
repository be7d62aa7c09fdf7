"""The commands that put rows back, and that let their archives go."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

import click
from rich.progress import Progress

from dupe_audit import ledger, render
from dupe_audit.cli.group import database_options, main, opened
from dupe_audit.constraint import drop
from dupe_audit.errors import Refused
from dupe_audit.model import Batch, BuildRule, UniqueKey
from dupe_audit.postgres.patience import LOG_EVERY
from dupe_audit.restore import restore as put_back


@main.command()
@click.argument("run", type=click.IntRange(min=1))
@click.option("--batch-size", type=click.IntRange(1, 100_000), default=5000, show_default=True, help="Rows per commit.")
@database_options
def restore(run: int, batch_size: int, url_here: str | None, config_here: str | None) -> None:
    """Put a run's archived rows back, and drop its constraint first, where that stands in the way.

    This is what alembic downgrade does, for when Alembic cannot: after an upgrade that stopped half way.
    Stopped, it continues when it is run again.

    \b
    Example: dupe-audit restore 1
    """
    with opened(url_here, config_here) as (connection, _url, _config):
        known, _rule = ledger.get_run(connection, run)
        if known.constraint_name and known.state != "restored" and known.purged_at is None:
            key = UniqueKey(
                table=known.table_name,
                schema=known.schema_name,
                columns=known.key_columns,
                name=known.constraint_name,
            )
            drop(connection, key, BuildRule())
            click.echo(f"Constraint {known.constraint_name} is dropped.", err=True)
        restored, returned = _shown(put_back(connection, run, batch_size=batch_size), "restoring")
    children = f", {returned:,} children pointed back" if returned else ""
    click.echo(f"run {run}: {restored:,} rows restored{children}")
    if known.state == "enforced" and known.revision:
        click.echo(
            f"Alembic still takes revision {known.revision} for applied: use alembic stamp, if that is no longer so.",
            err=True,
        )


@main.command()
@click.argument("run", type=click.IntRange(min=1), nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_options
def purge(run: tuple[int, ...], yes: bool, url_here: str | None, config_here: str | None) -> None:
    """Drop archives that are no longer needed. Rows that were not restored are gone then.

    \b
    Example: dupe-audit purge 1 --yes
    """
    with opened(url_here, config_here) as (connection, _url, _config):
        for number in run:
            known, _rule = ledger.get_run(connection, number)
            left = known.archived - known.restored
            question = (
                f"Drop the archive of run {number}, with {left:,} rows of {known.table_name} that are nowhere else?"
            )
            if not yes and not click.confirm(question, err=True):
                raise Refused([], lead=f"Run {number} was not purged.")
            ledger.purge(connection, number)
            click.echo(f"run {number}: archive dropped")


def _shown(batches: Iterable[Batch], doing: str) -> tuple[int, int]:
    """Drain the batches; show a bar on a terminal, and a line every few seconds elsewhere; return rows and children."""
    moved, repointed, said = 0, 0, time.monotonic()
    with Progress(console=render.console(sys.stderr), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(doing, total=None)
        for batch in batches:
            moved += batch.archived + batch.restored
            repointed += batch.repointed
            progress.update(task, total=batch.total, completed=batch.done)
            if not sys.stderr.isatty() and time.monotonic() - said > LOG_EVERY:
                said = time.monotonic()
                click.echo(f"{doing}: {batch.done:,} of {batch.total:,} rows", err=True)
    return moved, repointed
