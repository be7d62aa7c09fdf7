"""Rows that could not be inserted again: an extra that a restore could not put back is not archived."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import NamedTuple

from sqlalchemy import Connection

from dupe_audit.model import Run
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import settings
from dupe_audit.postgres.trees import execute_each
from dupe_audit.statements import fill_known, literal, statement, template


class Leaving(NamedTuple):
    """Rows of one table that leave it, or would."""

    relid: int  #: oid of the table
    holes: Mapping[str, str]  #: what statements are filled with, for this table
    extras: str  #: what fills ``extras`` of ``count_uninsertable.sql``
    is_extra: str  #: what fills ``is_extra`` of it


def violated(
    connection: Connection,
    leaving: Sequence[Leaving],
    /,
    *,
    find_run: Callable[[], Run | None],
    planner: Mapping[str, str] | None = None,
) -> list[list[tuple[str, int]]]:
    """Return what the rows of each table violate, in words, each with the number of rows.

    Args:
        leaving: of one table, or of several leaves of a tree.
        find_run: returns the run of the key, whose interrupted build may have left an index that rejects rows; the
            upgrade drops that one itself. Called only if a table has such an index.
        planner: settings of the transaction for the count alone; the catalog has to be read with its indexes.
    """
    own_index = "NULL::pg_catalog.text"
    conditions = _conditions(connection, leaving, own_index)
    if any(subject.startswith("index ") for subjects, _ in conditions.values() for subject in subjects):
        run = find_run()
        own_index = f"{literal(run.constraint_name if run and run.building else None)}::pg_catalog.text"
        conditions = _conditions(connection, leaving, own_index)
    checked = [rows for rows in leaving if rows.relid in conditions]
    queries = [
        fill_known(
            template("count_uninsertable"),
            rows.holes,
            extras=rows.extras,
            is_extra=rows.is_extra,
            counts=conditions[rows.relid][1],
        )
        for rows in checked
    ]
    with settings(connection, planner, local=True) if planner else nullcontext():
        counted = execute_each(connection, queries)
    numbers = {rows.relid: of_table[0].counts for rows, of_table in zip(checked, counted, strict=True)}
    return [
        [
            (subject, int(count))
            for subject, count in zip(conditions[rows.relid][0], numbers[rows.relid], strict=True)
            if count
        ]
        if rows.relid in numbers
        else []
        for rows in leaving
    ]


def _conditions(
    connection: Connection, leaving: Sequence[Leaving], own_index: str
) -> dict[int, tuple[Sequence[str], str]]:
    """Return, by the oid of a table, the conditions of its rows: in words, and as the SQL that counts violations."""
    if not leaving:
        return {}
    holes = leaving[0].holes
    sql = statement(
        "insertable",
        relids=", ".join(f"{rows.relid}::pg_catalog.oid" for rows in leaving),
        key_names=holes["key_names"],
        own_index=own_index,
    )
    return {row.relid: (row.subjects, row.counts) for row in execute(connection, sql)}
