"""A batch on a reference or Citus-local table: through the coordinator, with the rows to delete as literals.

The two snapshots are those of every batch. A row is found by its primary key, because ``ctid`` differs from copy to
copy. The list of locked rows is an ordinary table, because a transaction over several servers refuses temporary ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from dupe_audit import citus, ledger
from dupe_audit.cleanup.batches import Disturbed, Moved
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.postgres.sqlstates import FOREIGN_KEY_VIOLATION, RESTRICT_VIOLATION, sqlstate
from dupe_audit.statements import ident, statement

#: planner settings of a batch; a sequential scan of the staged list is cheaper than none at all
_BATCHING = {"jit": "off"}


@contextmanager
def listed(work: CleanupWork) -> Iterator[None]:
    """Create the list of locked rows; drop it afterwards."""
    locked = ledger.locked_name(work.run_id)
    execute(work.connection, statement("citus_create_locked", locked=locked))
    ledger.make_private(work.connection, locked, work.relation.owner)
    try:
        yield
    finally:
        tidy(work.connection, statement("citus_drop_locked", locked=locked))


def move(work: CleanupWork, low: int, high: int, where_staged: str) -> Moved:  # noqa: ARG001 - rows are always found by their key
    """Lock, check and archive in one transaction of the whole cluster.

    Raises:
        Disturbed: not every row that was judged could be deleted; the batch was rolled back.
    """
    started, locked = time.monotonic(), ledger.locked_name(work.run_id)
    with _disturbances(), work.transaction(local=_BATCHING):
        citus.propagate(work.connection, work.lock_timeout)
        number = ledger.next_batch(work.connection, work.run_id)
        work.execute("citus_empty_locked", locked=locked)
        work.execute("citus_lock_rows", locked=locked, low=str(low), high=str(high))
        # Children can be on other nodes, where a subquery of this statement cannot look for them. The foreign key does:
        # it refuses the delete, because keys with an action are refused beforehand.
        judged = work.execute(
            "citus_judge_extras", locked=locked, j_literals=_literals(work), e_unreferenced="true"
        ).one()
        archived = 0
        if judged.judged:
            moved = work.execute(
                "citus_move_rows",
                rows=judged.rows,
                j_columns=", ".join(_columns(work)),
                j_identity=", ".join(f"j.{name}" for name in work.holes["e_identity"].split(", ")),
                batch=str(number),
            ).one()
            if not judged.judged == moved.deleted == moved.archived:
                raise Disturbed
            archived = int(moved.archived)
        ledger.record_batch(work.connection, work.run_id, number, archived=archived, spared=high - low + 1 - archived)
    return Moved(archived, seconds=time.monotonic() - started)


@contextmanager
def _disturbances() -> Iterator[None]:
    """Turn a child that has arrived into a reason to try again with fewer rows.

    Raises:
        Disturbed: a foreign key refused the delete.
    """
    try:
        yield
    except DBAPIError as error:
        if sqlstate(error) in (FOREIGN_KEY_VIOLATION, RESTRICT_VIOLATION):
            raise Disturbed from error
        raise


def _columns(work: CleanupWork) -> dict[str, str]:
    """Return the columns of a row given as literals, each with the value that fills it."""
    identity, survivor = (work.holes[name].split(", ") for name in ("e_identity", "s_identity"))
    return {
        **{name: f"s.{name}" for name in identity},
        **{f"dupe_audit_survivor_{number}": f"s.{name}" for number, name in enumerate(survivor, 1)},
        **{f"k{number}": f"v.{ident(name)}" for number, name in enumerate(filter(None, work.key.names), 1)},
    }


def _literals(work: CleanupWork) -> str:
    """Return the SQL that writes one row as literals of its types; without a length, so that no value is cut."""
    typed = "{0}, pg_catalog.format_type(pg_catalog.pg_typeof({0})::pg_catalog.oid, -1)"
    values = [typed.format(value) for value in _columns(work).values()]
    return f"pg_catalog.format('({', '.join(['%L::%s'] * len(values))})', {', '.join(values)})"
