"""A client that freezes between any two statements keeps nobody waiting for long."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from sqlalchemy import Engine, event

from dupe_audit.constraint import window
from dupe_audit.model import milliseconds
from torture.directions import ALL_TABLES, Directions

pytestmark = pytest.mark.torture

#: milliseconds for which the server lets a silent client keep locks: on rows, and on a table of the application
ROWS, TABLE = 5_000, 250
#: the limit that the test sets instead of TABLE, because a busy machine takes longer between two statements
PATIENT_TABLE = 4_000

#: of this session: its locks for which a statement of the application would wait, whether it has any that another one
#: could wait for, and its limit in milliseconds
STATE = """
WITH RECURSIVE part AS (
    SELECT oid FROM unnest(ARRAY[to_regclass('t'), to_regclass('c')]) AS oid
    UNION ALL
    SELECT h.inhrelid FROM part JOIN pg_inherits h ON h.inhparent = part.oid
)
SELECT (SELECT string_agg(l.relation::regclass || ' ' || l.mode, ', ') FROM pg_locks l
        WHERE l.pid = pg_backend_pid() AND l.granted AND l.relation IN (SELECT oid FROM part)
          AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')),
       pg_current_xact_id_if_assigned() IS NOT NULL,
       extract(milliseconds FROM current_setting('idle_in_transaction_session_timeout')::interval)::int4
"""


@pytest.fixture(params=ALL_TABLES, ids=lambda name: name.replace(" ", "-"))
def world(request, database_url):
    """The table, with or without a primary key, or a tree, and the two directions."""
    with Directions(database_url, request.param) as directions:
        yield directions


@dataclass
class Looks:
    """The locks and the limit that a client would keep if it froze between two statements."""

    faults: list[str] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)  #: its strong locks

    def look(self, _conn, cursor, statement, *_) -> None:
        """Look after a statement, in the session of the client."""
        session = cursor.connection
        if session.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS:
            strong, has_locks, limit = session.execute(STATE, prepare=False).fetchone()
            self.tables.update(filter(None, [strong]))
            if (strong or has_locks) and not 0 < limit <= (PATIENT_TABLE if strong else ROWS):
                end = f"for {limit} ms" if limit else "for ever"
                self.faults.append(f"{strong or 'rows'} {end} after {' '.join(statement.split())[:90]}")


@contextmanager
def looking(engine: Engine) -> Iterator[Looks]:
    """Look after each statement of the block."""
    looks = Looks()
    event.listen(engine, "after_cursor_execute", looks.look)
    yield looks
    event.remove(engine, "after_cursor_execute", looks.look)


@pytest.mark.representatives("no-primary-key")
def test_frozen_client_harms_nobody(world, monkeypatch):
    """Between any two statements of both directions the server limits a silent client, strictly if it locks a table."""
    assert milliseconds(window.HELD_IDLE_LIMIT) == TABLE
    monkeypatch.setattr(window, "HELD_IDLE_LIMIT", f"{PATIENT_TABLE}ms")
    # The late duplicate stops the first build; then the writers are held, if that is short beside the lock timeout.
    world.build |= {"build_attempts": 1, "lock_timeout": "30s"}
    world.create()
    with looking(world.engine) as up:
        world.upgrade()
    with looking(world.engine) as down:
        world.downgrade()
    assert ([], []) == (up.faults, down.faults)
    assert (True, False) == (bool(up.tables), bool(down.tables))
