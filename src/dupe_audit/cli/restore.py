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
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.restore import restore
from dupe_audit.statements import literal, statement, text_array


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
    with opened(database_url, config) as (connection, _url, _config):
        run, _rule = ledger.get_run(connection, number)
        if run.state != "restored" and run.purged_at is None:
            relation = ledger.require_table(connection, run)
            ledger.require_way_back(connection, run, relation, lead="Nothing was changed.")
            if run.constraint_name:
                _drop_constraint(connection, run, relation, run.constraint_name)
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


def _drop_constraint(connection: Connection, run: Run, relation: Relation, name: str) -> None:
    """Drop the constraint of a run from the table that the rows go back into, whatever both are named now."""
    key = text_array(run.key_columns)
    sql = statement("run_constraint", relid=str(relation.relid), name=literal(name), key=key)
    names = [str(row.name) for row in execute(connection, sql)]
    if name not in names and run.state == "enforced" and len(names) == 1:
        (name,) = names  # it was renamed, perhaps with its table
    drop(
        connection,
        UniqueKey(table=relation.table, schema=relation.schema, columns=run.key_columns, name=name),
        BuildRule(),
    )
    click.echo(f"Constraint {name} of {relation.name} was dropped.", err=True)
