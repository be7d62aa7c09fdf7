"""Rows that could not be inserted again: an extra that a restore could not put back is not archived."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import Run
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import fill_known, literal, statement, template


def objections(
    connection: Connection,
    relid: int,
    holes: Mapping[str, str],
    /,
    *,
    find_run: Callable[[], Run | None],
    **extras: str,
) -> list[Finding]:
    """Return a finding per constraint that extras violate, and per generated column that an INSERT would change.

    Args:
        holes: what statements are filled with, for this table.
        find_run: see ``violated``.
        extras: see ``violated``.
    """
    return [
        finding("cannot-restore", f"{quantity(count, 'extra')}: {subject}", table=holes["table"])
        for subject, count in violated(connection, relid, holes, find_run=find_run, **extras)
    ]


def violated(
    connection: Connection,
    relid: int,
    holes: Mapping[str, str],
    /,
    *,
    find_run: Callable[[], Run | None],
    **extras: str,
) -> list[tuple[str, int]]:
    """Return what rows of a table violate, in words, each with the number of rows.

    Args:
        holes: what statements are filled with, for this table.
        find_run: returns the run of the key, whose interrupted build may have left an index that rejects rows; the
            upgrade drops that one itself. Called only if the table has such an index.
        extras: what fills ``extras`` and ``is_extra`` of ``count_uninsertable.sql``.
    """
    own_index = "NULL::pg_catalog.text"
    key_names = holes["key_names"]
    checked = execute(connection, statement("insertable", relid=str(relid), key_names=key_names, own_index=own_index))
    subjects, counts = tuple(checked.one())
    if subjects and any(subject.startswith("index ") for subject in subjects):
        run = find_run()
        own_index = literal(run.constraint_name if run and run.building else None)
        sql = statement("insertable", relid=str(relid), key_names=key_names, own_index=f"{own_index}::pg_catalog.text")
        subjects, counts = tuple(execute(connection, sql).one())
    if counts is None:
        return []
    query = fill_known(template("count_uninsertable"), {**holes, **extras}, counts=counts)
    numbers = execute(connection, query).scalar_one()
    return [(subject, int(count)) for subject, count in zip(subjects, numbers, strict=True) if count]
