"""Look at running work from another session, without disturbing it.

Every look is a handful of single read-only statements without parameters, in autocommit. Between them the session
holds neither a lock nor a snapshot, so no build waits for it, and each statement is cancelled soon if it takes long.
A snapshot that is held blocks CREATE INDEX CONCURRENTLY (measured).
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from dupe_audit import ledger
from dupe_audit.model import LOCK_TIMEOUT
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import AT_WORK_NAMESPACE, LOCK_NAMESPACE
from dupe_audit.postgres.poolers import pooler
from dupe_audit.statements import statement
from dupe_audit.watch.facts import Activity, Blocker, Phase, Progress, RunSummary, View
from dupe_audit.watch.phases import only_spared, phase_of, restores

#: the limits of our own statements: a viewer gives up before it delays another session
LIMITS = {
    "statement_timeout": "5s",
    "lock_timeout": LOCK_TIMEOUT,
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "read committed",
    "application_name": "dupe-audit watch",
}


class Memory:
    """What earlier looks saw: how far each build was, to measure its speed, and who was dropping a constraint.

    Args:
        seconds: the span over which a speed is measured.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self.dropping: set[int] = set()  #: pids; while they step back between two tries they request no lock
        self._samples: dict[tuple[int, str | None], deque[tuple[float, int]]] = {}

    def rate(self, pid: int, progress: Progress, now: float) -> float | None:
        """Return units per second over the last minute of this phase; None until two looks saw it move."""
        if progress.done is None:
            return None
        samples = self._samples.setdefault((pid, progress.step), deque())
        if samples and progress.done < samples[-1][1]:
            samples.clear()  # another build of the same session
        samples.append((now, progress.done))
        while now - samples[0][0] > self.seconds:
            samples.popleft()
        seconds, moved = now - samples[0][0], progress.done - samples[0][1]
        return moved / seconds if seconds > 0 and moved > 0 else None


def prepare(connection: Connection) -> None:
    """Limit what this session can do to others, if it is the viewer's alone."""
    driver: Any = connection.connection.driver_connection
    # A prepared statement uses the extended protocol, which can keep a snapshot: see dupe_audit.statements.
    driver.prepare_threshold = None
    if pooler(connection):
        return  # other clients share the session and would find it read-only
    for name, value in LIMITS.items():
        execute(connection, f"SET {name} = '{value}'")


def look(connection: Connection, memory: Memory | None = None) -> View:
    """Return the work in progress in this database, and the runs that are unfinished.

    Args:
        connection: in autocommit, prepared by ``prepare``.
        memory: of the looks before.

    Raises:
        Refused: a role that is not trusted could have prepared the ledger.
        DupeAuditError: the ledger was created by an earlier version.
        sqlalchemy.exc.DBAPIError: the connection was lost, or this role may not read the ledger.
    """
    at = str(execute(connection, statement("watch_time")).scalar_one())
    holes = {"lock_namespace": str(LOCK_NAMESPACE), "at_work": str(AT_WORK_NAMESPACE)}
    workers = execute(connection, statement("watch_workers", **holes)).all()
    has_ledger = ledger.exists(connection, reading=True)
    runs = (
        execute(connection, statement("watch_runs", run_relation=statement("run_relation"))).all() if has_ledger else []
    )
    working, busy = [], set()
    for worker in workers:
        if not worker.ours:  # another program's build, which has nothing to do with our runs
            working.append(_working(connection, worker, None, memory))
        elif worker.relid not in busy:
            busy.add(worker.relid)
            run = next((run for run in runs if run.relid == worker.relid and not run.purged), None)
            working.append(_working(connection, worker, run, memory))
    shown = {activity.run.id for activity in working if activity.run}
    # A session that works on a table may be about to continue another run of it.
    idle = [_idle(connection, run, attended=run.relid in busy) for run in runs if run.id not in shown]
    stalled = tuple(activity for activity in idle if activity.stalled)
    resting = tuple(activity for activity in idle if not activity.stalled)[:10]
    return View(at=at, ledger=has_ledger, working=tuple(working), stalled=stalled, resting=resting)


def _working(connection: Connection, worker: Row[Any], run: Row[Any] | None, memory: Memory | None) -> Activity:
    batches = execute(connection, statement("watch_batches", run=str(run.id))).one() if run else None
    phase = _remembered(phase_of(worker, run, batches), worker.pid, memory)
    progress, waiting = Progress(), bool(worker.waiting)
    blockers = _blockers(connection, worker.pid) if waiting else ()
    if worker.building or (phase == "building" and worker.waiting):
        progress = _build_progress(connection, worker.pid, memory)
    elif run and batches and phase in ("cleaning", "restoring"):
        progress = _batch_progress(run, batches, phase)
        if only_spared(batches):
            waiting, progress = True, replace(progress, rate=None)  # the earlier speed does not apply to the wait
    if phase in ("attaching", "dropping") or (waiting and not blockers):
        # It steps back between its tries, so it may wait for the holders although it requests no lock now.
        blockers = _holders(connection, worker) or blockers
        waiting = waiting or bool(blockers)
    return Activity(
        schema=run.schema if run else worker.schema or "?",
        table=run.table if run else worker.table or "?",
        run=_summary(run) if run else None,
        leaf=worker.leaf,
        phase=phase,
        progress=progress,
        pid=worker.pid,
        hidden=not worker.visible,
        waiting=waiting,
        blockers=blockers,
    )


def _remembered(phase: Phase, pid: int, memory: Memory | None) -> Phase:
    """Return "dropping" also for a session that drops a constraint and has stepped back between two tries."""
    if memory is None:
        return phase
    if phase == "preparing" and pid in memory.dropping:
        return "dropping"
    (memory.dropping.add if phase == "dropping" else memory.dropping.discard)(pid)
    return phase


def _batch_progress(run: Row[Any], batches: Row[Any], phase: Phase) -> Progress:
    if phase == "restoring":
        restored = run.restored + run.reverted
        return Progress(done=restored, total=restored + run.remaining, unit="rows", rate=batches.rate or None)
    handled = run.archived + run.amended
    return Progress(done=handled, total=max(run.extras, handled), unit="extras", rate=batches.rate or None)


def _build_progress(connection: Connection, pid: int, memory: Memory | None) -> Progress:
    row = execute(connection, statement("build_progress", pid=str(pid))).one_or_none()
    if row is None:  # hidden from this role, or over by now
        return Progress()
    if row.phase.startswith("waiting"):
        return Progress(step=row.phase, done=row.lockers_done, total=row.lockers_total or None, unit="transactions")
    if row.blocks_total:
        progress = Progress(step=row.phase, done=row.blocks_done, total=row.blocks_total, unit="blocks")
    elif row.tuples_total:
        progress = Progress(step=row.phase, done=row.tuples_done, total=row.tuples_total, unit="tuples")
    else:
        return Progress(step=row.phase)
    return replace(progress, rate=memory.rate(pid, progress, time.monotonic())) if memory else progress


def _blockers(connection: Connection, pid: int) -> tuple[Blocker, ...]:
    rows = execute(connection, statement("watch_blocking", pid=str(pid)))
    return tuple(
        Blocker(pid=row.pid or None, name=row.application_name or row.usename, state=row.state, seconds=row.seconds)
        if row.pid
        else Blocker(pid=None, name=None, state=None, seconds=None)
        for row in rows
    )


def _holders(connection: Connection, worker: Row[Any]) -> tuple[Blocker, ...]:
    blockers: dict[object, Blocker] = {}
    for row in execute(connection, statement("holders", relid=str(worker.relid))):
        if row.pid != worker.pid:
            name = row.gid if row.pid is None else row.application_name or row.usename
            blocker = Blocker(pid=row.pid, name=name, state=row.state, seconds=row.seconds, lock=row.lock)
            blockers.setdefault(row.pid or row.gid, blocker)
    return tuple(blockers.values())


def _idle(connection: Connection, run: Row[Any], *, attended: bool) -> Activity:
    help_ = _help(connection, run) if run.table_exists and not run.purged and not attended else None
    return Activity(schema=run.schema, table=run.table, run=_summary(run), stalled=help_ is not None, help=help_)


def _help(connection: Connection, run: Row[Any]) -> str | None:
    """Return what to do about a run that no session works on; None if it has ended."""
    again = f"Run the same alembic command again, or put its rows back: dupe-audit restore {run.id}"
    if run.state == "failed":
        why = "Its last pass was refused. For the reason: dupe-audit preflight"
        return f"{why}. To put its rows back: dupe-audit restore {run.id}"
    if run.state == "cleaning":
        batches = execute(connection, statement("watch_batches", run=str(run.id))).one()
        return again if restores(batches) else "Run: alembic upgrade head"
    if run.building and run.state != "enforced":
        return "Run: alembic upgrade head"
    if run.state == "dropped" and run.restored and run.remaining > 0:
        return again
    return None


def _summary(run: Row[Any]) -> RunSummary:
    values = {name: getattr(run, name) for name in RunSummary.__slots__}
    return RunSummary(**{**values, "columns": tuple(run.columns)})
