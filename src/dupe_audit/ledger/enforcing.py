"""What on the table still enforces the key of a run: a unique constraint, or a unique index that belongs to none."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.ledger.tables import archive_label
from dupe_audit.model import Run, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement, text_array


class Enforcing(NamedTuple):
    """A constraint or an index that enforces a key."""

    name: str
    is_constraint: bool
    whole: str | None  #: for a partition, the constraint or index that this one is attached to, quoted
    whole_table: str | None  #: the table of the whole, as in SQL

    @property
    def kind(self) -> str:
        """What it is, as the beginning of a sentence."""
        return "Constraint" if self.is_constraint else "Unique index"


def key_of_run(run: Run, relation: Relation, name: str | None) -> UniqueKey:
    """Return the key of a run, on the table as it is named now."""
    return UniqueKey(
        table=relation.table,
        schema=relation.schema,
        columns=run.key_columns,
        where=run.where,
        nulls_not_distinct=run.nulls_not_distinct,
        name=name,
    )


def enforcing(connection: Connection, run: Run, relation: Relation, *, name: str | None) -> list[Enforcing]:
    """Return what has the name, then what else enforces the key of a run.

    Args:
        name: of the run's constraint or index, if it is known.
    """
    key = key_of_run(run, relation, name)
    sql = statement(
        "run_constraint",
        relid=str(relation.relid),
        name=literal(name),
        key=text_array(key.elements),
        is_plain=literal(key.is_plain),
        whole=statement("whole_index", part="i.indexrelid"),
    )
    candidates = [
        Enforcing(row.name, row.is_constraint, row.whole, row.whole_table) for row in execute(connection, sql)
    ]
    if key.is_plain:
        return candidates
    return [each for each in candidates if each.name == name or _has_key(connection, run, relation, each.name)]


def _has_key(connection: Connection, run: Run, relation: Relation, name: str) -> bool:
    state = catalog.index_state(connection, relation.relid, key_of_run(run, relation, name))
    return state is not None and state.same_definition


def rows_not_restored(connection: Connection, run: Run, relation: Relation, rows: int) -> Finding:
    """Return the finding for rows that stay archived, and the constraint that keeps them out if there is one."""
    refused = finding("rows-not-restored", quantity(rows, "row"))
    text = refused.help.replace("of the archive", f"of {archive_label(run.id)}")
    for obstacle in enforcing(connection, run, relation, name=None)[:1]:
        form = "constraint" if obstacle.is_constraint else "index"
        both = f", or let dupe-audit restore {run.id} do both" if run.constraint_name else ""
        way_out = f"Drop it with op.drop_unique_{form}_online() before op.restore_duplicates(){both}."
        if obstacle.whole:
            way_out = leave_whole(obstacle.whole, str(obstacle.whole_table), relation)
        text = f"{obstacle.kind} {obstacle.name} still enforces the key. {way_out} {text}"
    return replace(refused, help=text)


def leave_whole(whole: str, whole_table: str, relation: Relation) -> str:
    """Return what to do before a part of a partitioned table's constraint or index can be dropped."""
    return (
        f"It is part of {whole} of {whole_table}. First undo the revision that enforces {whole}, or detach the "
        f"partition, which then keeps its part as its own: ALTER TABLE {whole_table} DETACH PARTITION {relation.name};"
    )
