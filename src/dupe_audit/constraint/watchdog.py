"""Watch a concurrent build from another session: log its phase, and cancel it when it waits too long.

The build's own connection is busy, so this takes a second one. It runs single autocommit statements without
parameters: between them it holds no snapshot and no lock, so the build never waits for it (measured). If it cannot
connect, the build continues without a limit on its waits, and a warning says so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection

from dupe_audit.findings import describe_session
from dupe_audit.model import milliseconds
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.patience import Throttle
from dupe_audit.statements import statement

log = logging.getLogger("alembic.dupe_audit")


class Watch:
    """What the watcher has done."""

    gave_up: str | None = None  #: what the build waited for, if the watcher cancelled it
    gave_way: str | None = None  #: who waited for the build, if the watcher cancelled it for that session


@contextmanager
def watching(
    connection: Connection,
    *,
    give_up_after: str,
    progress: str | None = None,
    leaf: int | None = None,
    often: bool = False,
) -> Iterator[Watch]:
    """Watch the statement that *connection* executes inside the block.

    Args:
        give_up_after: how long the build may wait for one transaction, as PostgreSQL writes durations.
        progress: the query that reports how far the build is; by default, of the connection's own backend.
        leaf: oid of a partition whose build gives way to a session that drops, detaches or alters it. While it waits,
            such a session can hold a lock on the whole table, or the server can end it in a deadlock with the build.
        often: whether such sessions are common, as on a DEFAULT partition: every session that creates a partition
            locks it.
    """
    watch, stop = Watch(), threading.Event()
    pid = int(execute(connection, statement("backend_pid")).scalar_one())
    # Its own pool: the engine's might hand out the connection that is building.
    pool = connection.engine.pool.recreate()
    limit = milliseconds(give_up_after) / 1000

    def work() -> None:
        if stop.wait(0.0 if often else 1.0):  # most builds on small tables end sooner and need no second connection
            return
        try:
            pooled = pool.connect()
            connection.engine.dialect.set_isolation_level(pooled.dbapi_connection, "AUTOCOMMIT")  # type: ignore[arg-type]
            cursor = pooled.cursor()
            # A role that was set is often not a member of the role that logged in, so it can neither see
            # the build's progress nor cancel the build.
            cursor.execute("SET ROLE NONE")
            waits = statement("waits_for_build", relid=str(leaf), pid=str(pid)) if leaf else None
            _follow(cursor, progress, waits, pid, limit, stop, watch, every=0.2 if often else 0.5)
        except Exception as error:  # noqa: BLE001 - whatever the driver raises, the build itself continues
            log.warning("the build cannot be watched, so its waits have no limit: %s", type(error).__name__)
        finally:
            with suppress(Exception):
                pooled.close()
            pool.dispose()

    thread = threading.Thread(target=work, name="dupe-audit-watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        stop.set()
        thread.join(timeout=5)


def _follow(
    cursor: Any,
    progress: str | None,
    waits: str | None,
    pid: int,
    limit: float,
    stop: threading.Event,
    watch: Watch,
    *,
    every: float,
) -> None:
    progress = progress or statement("build_progress", pid=str(pid))
    waiting_for, waiting_since, throttle = None, time.monotonic(), Throttle(quiet_at_first=True)
    while not stop.wait(every):
        if waits:
            cursor.execute(waits)
            if waiting := cursor.fetchone():
                watch.gave_way = describe_session(waiting[0], waiting[1])
                cursor.execute(statement("cancel_backend", pid=str(pid)))
                return
        cursor.execute(progress)
        row = cursor.fetchone()
        if row is None:
            continue
        phase, locker = row[0], row[3]
        wait = (phase, locker) if phase.startswith("waiting") else None
        if wait != waiting_for:
            waiting_for, waiting_since = wait, time.monotonic()
        description = _describe(row)
        if wait and time.monotonic() - waiting_since > limit:
            watch.gave_up = description
            cursor.execute(statement("cancel_backend", pid=str(pid)))
            return
        if throttle.due():
            log.info("building the index: %s", description)


def _describe(row: Any) -> str:
    phase, total, done, locker, blocks, blocks_done, tuples, tuples_done, application, state, seconds = row
    if phase.startswith("waiting"):
        # A prepared transaction has no backend.
        blocker = (
            describe_session(locker, application, state or None, seconds)
            if locker
            else "a prepared transaction (see pg_prepared_xacts)"
        )
        return f"{phase}{f', {done} of {total}' if total else ''}: {blocker}"
    for part, whole in ((blocks_done, blocks), (tuples_done, tuples)):
        if whole:
            return f"{phase}, {100 * part // whole} %"
    return str(phase)
