"""Rows that could not be inserted again: an extra that a restore could not put back is not archived."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import fill_known, statement, template


def objections(connection: Connection, relid: int, holes: Mapping[str, str], /, **extras: str) -> list[Finding]:
    """Return a finding per constraint that extras violate, and per generated column that an INSERT would change.

    Args:
        holes: what statements are filled with, for this table.
        extras: what fills ``extras`` and ``is_extra`` of ``count_uninsertable.sql``.
    """
    checked = execute(connection, statement("insertable", relid=str(relid), key_names=holes["key_names"])).one()
    if checked.counts is None:
        return []
    query = fill_known(template("count_uninsertable"), {**holes, **extras}, counts=checked.counts)
    counts = execute(connection, query).scalar_one()
    return [
        finding("cannot-restore", f"{quantity(count, 'extra')}: {subject}", table=holes["table"])
        for subject, count in zip(checked.subjects, counts, strict=True)
        if count
    ]
