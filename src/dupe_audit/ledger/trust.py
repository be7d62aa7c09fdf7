"""Who could have put something into the ledger: read from the catalog before the ledger itself is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from dupe_audit.errors import Refused
from dupe_audit.findings import Finding, finding
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement, template

#: problems that a message lists; the page of the finding has the query for all
_SHOWN = 5


def untrusted(
    connection: Connection, *, relid: int | None = None, run_id: int | None = None, reading: bool = False
) -> list[Finding]:
    """Return why the ledger is not trusted; nothing in it is read.

    Args:
        relid: the table that is worked on; its owner is trusted.
        run_id: the run whose archive, staged list and records are about to be used.
        reading: whether nothing will be written; then a role that is no superuser may read another role's ledger.
    """
    sql = trust_sql(relid=literal(relid), run=literal(run_id), reading=reading)
    return _findings([str(row.problem) for row in execute(connection, sql)])


def _findings(problems: Sequence[str]) -> list[Finding]:
    if not problems:
        return []
    more = f"; and {len(problems) - _SHOWN:,} more" if len(problems) > _SHOWN else ""
    return [finding("untrusted-ledger", "; ".join(problems[:_SHOWN]) + more)]


def require_trusted(
    connection: Connection, *, relid: int | None = None, run_id: int | None = None, reading: bool = False
) -> None:
    """Refuse a ledger that another role could have prepared (H199).

    Raises:
        Refused: a role that is not trusted owns a part of it, or a part of it would execute something.
    """
    _refuse(untrusted(connection, relid=relid, run_id=run_id, reading=reading))


def _refuse(findings: list[Finding]) -> None:
    if findings:
        raise Refused(findings, lead="The ledger was not read, and nothing was changed.")


class Shape(NamedTuple):
    """What the catalog says about a trusted ledger."""

    has_schema: bool  #: whether its schema exists
    created: bool  #: whether it exists
    current: bool  #: whether it has the columns of this version


def trusted_shape(connection: Connection, *, relid: int | None = None, reading: bool = False) -> Shape:
    """Return whether a ledger exists; that and whether it is trusted are read at one moment. Arguments: ``untrusted``.

    Raises:
        Refused: a role that is not trusted could have prepared it.
    """
    trust = trust_sql(relid=literal(relid), run="NULL", reading=reading)
    state = execute(connection, statement("ledger_state", trust=trust, shape=template("ledger_shape"))).one()
    _refuse(_findings(state.problems))
    return Shape(has_schema=state.has_schema, created=state.created, current=state.current)


def trust_sql(*, relid: str, run: str, reading: bool = False) -> str:
    """Return the query for what is not trusted; *relid* and *run* are SQL."""
    return statement("ledger_trust", relid=relid, run=run, reading=literal(reading))
