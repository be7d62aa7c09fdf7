"""Put the archived rows of a run back."""

from __future__ import annotations

import click
from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.cli.options import database_options, opened
from dupe_audit.cli.progress import progress
from dupe_audit.constraint import drop
from dupe_audit.findings import quantity
from dupe_audit.model import BuildRule, Run, UniqueKey
from dupe_audit.restore import restore


@click.command("restore")
@click.argument("number", metavar="RUN", type=click.IntRange(min=1))
@click.option(
    "--batch-size",
    type=click.IntRange(1, 100_000),
    default=5000,
    show_default=True,
    help="Rows per transaction, at most.",
)
@database_options
def restore_command(number: int, batch_size: int, database_url: str | None, config: str | None) -> None:
    """Put a run's archived rows back, after dropping its constraint if it has one.

    This does what alembic downgrade does, where Alembic cannot: after an upgrade that stopped halfway.
    If it is interrupted, the same command continues.

    \b
    Example: dupe-audit restore 1
    """
    with opened(database_url, config) as database:
        connection = database.connection
        run, _rule = ledger.get_run(connection, number)
        if run.constraint_name and run.state != "restored" and run.purged_at is None:
            _drop_constraint(connection, run, run.constraint_name)
        restored = returned = 0
        with progress("restoring") as display:
            for batch in restore(connection, number, batch_size=batch_size):
                restored += batch.restored
                returned += batch.repointed
                display.show("restoring", batch.done, batch.total, "rows")
    children = f", {quantity(returned, 'child', 'children')} pointed back" if returned else ""
    click.echo(f"run {number}: {quantity(restored, 'row')} restored{children}")
    if run.state == "enforced" and run.revision:
        click.echo(
            f"Alembic still considers revision {run.revision} applied. If it no longer is, correct that with "
            "alembic stamp.",
            err=True,
        )


def _drop_constraint(connection: Connection, run: Run, name: str) -> None:
    key = UniqueKey(table=run.table_name, schema=run.schema_name, columns=run.key_columns, name=name)
    drop(connection, key, BuildRule())
    click.echo(f"Constraint {name} was dropped.", err=True)
