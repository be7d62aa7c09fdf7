"""Look at running work from beside it, and disturb nothing.

Every look is a handful of single read-only statements without parameters, in autocommit: between them the session
holds neither a lock nor a snapshot, so no build waits for it (F10), and each is ended soon if it takes long.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from dupe_audit import ledger
from dupe_audit.postgres.driver import execute, pooler
from dupe_audit.postgres.locking import AT_WORK_NAMESPACE, LOCK_NAMESPACE
from dupe_audit.statements import statement
from dupe_audit.watch.facts import Blocker, Phase, Progress, RunSeen, Seen, View

#: what bounds our own statements: a viewer gives up before anybody notices it
BOUNDS = {
    "statement_timeout": "5s",
    "lock_timeout": "500ms",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "read committed",
    "application_name": "dupe-audit watch",
}


class Memory:
    """What earlier looks saw: how far each build was, to say how fast it is, and who was dropping a constraint."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self.dropping: set[int] = set()  #: sessions; while they step back between two tries they ask for nothing
        self._seen: dict[tuple[int, str | None], deque[tuple[float, int]]] = {}

    def rate(self, pid: int, progress: Progress, now: float) -> float | None:
        """Return units a second over the last minute of this phase; None until two looks saw it move."""
        if progress.done is None:
            return None
        samples = self._seen.setdefault((pid, progress.step), deque())
        if samples and progress.done < samples[-1][1]:
            samples.clear()  # another build of the same session
        samples.append((now, progress.done))
        while now - samples[0][0] > self.seconds:
            samples.popleft()
        seconds, moved = now - samples[0][0], progress.done - samples[0][1]
        return moved / seconds if seconds > 0 and moved > 0 else None


def prepare(connection: Connection) -> None:
    """Bound what this session can do to others, where it is the viewer's own."""
    driver: Any = connection.connection.driver_connection
    driver.prepare_threshold = None  # a prepared statement goes through the extended protocol, which F10 is about
    if pooler(connection):
        return  # the session is not ours alone: somebody else would find it read-only
    for name, value in BOUNDS.items():
        execute(connection, f"SET {name} = '{value}'")


def look(connection: Connection, memory: Memory | None = None) -> View:
    """Return what is at work in this database, and what stands unfinished.

    Args:
        connection: in autocommit, prepared by ``prepare``.
        memory: of the looks before.

    Raises:
        DupeAuditError: the ledger is one of an earlier version.
        sqlalchemy.exc.DBAPIError: the connection was lost, or this role may not read the ledger.
    """
    at = str(execute(connection, "SELECT pg_catalog.clock_timestamp()::text").scalar_one())
    holes = {"lock_namespace": str(LOCK_NAMESPACE), "at_work": str(AT_WORK_NAMESPACE)}
    workers = execute(connection, statement("watch_workers", **holes)).all()
    has_ledger = ledger.exists(connection)
    runs = execute(connection, statement("watch_runs")).all() if has_ledger else []
    working, busy = [], set()
    for worker in workers:
        if not worker.ours:  # somebody else's build, which says nothing about our runs
            working.append(_at_work(connection, worker, None, memory))
        elif worker.relid not in busy:
            busy.add(worker.relid)
            own = next((one for one in runs if one.relid == worker.relid and not one.purged), None)
            working.append(_at_work(connection, worker, own, memory))
    shown = {seen.run.id for seen in working if seen.run}
    # Whoever works on a table may be about to take up another run of it.
    left = [_at_rest(connection, one, attended=one.relid in busy) for one in runs if one.id not in shown]
    stalled = tuple(one for one in left if one.stalled)
    resting = tuple(one for one in left if not one.stalled)[:10]
    return View(at=at, ledger=has_ledger, working=tuple(working), stalled=stalled, resting=resting)


def _at_work(connection: Connection, worker: Row[Any], own: Row[Any] | None, memory: Memory | None) -> Seen:
    batches = execute(connection, statement("watch_batches", run=str(own.id))).one() if own else None
    phase = _remembered(phase_of(worker, own, batches), worker.pid, memory)
    progress, waiting = Progress(), bool(worker.waiting)
    blockers = _blocking(connection, worker.pid) if waiting else ()
    if worker.building or (phase == "building" and worker.waiting):
        progress = _build(connection, worker.pid, memory)
    elif own and batches and phase in ("cleaning", "restoring"):
        progress = _batches(own, batches, phase)
        if _only_spared(batches):
            waiting, progress = True, replace(progress, rate=None)  # what it was before says nothing about the wait
    if phase in ("attaching", "dropping") or (waiting and not blockers):
        # It steps back between its tries, so it may wait for them although it asks for nothing now.
        blockers = _holders(connection, worker) or blockers
        waiting = waiting or bool(blockers)
    return Seen(
        schema=own.schema if own else worker.schema or "?",
        table=own.table if own else worker.table or "?",
        run=_run(own) if own else None,
        phase=phase,
        progress=progress,
        pid=worker.pid,
        hidden=not worker.visible,
        waiting=waiting,
        blockers=blockers,
    )


def _remembered(phase: Phase, pid: int, memory: Memory | None) -> Phase:
    if memory is None:
        return phase
    if phase == "preparing" and pid in memory.dropping:
        return "dropping"
    (memory.dropping.add if phase == "dropping" else memory.dropping.discard)(pid)
    return phase


def phase_of(worker: Any, own: Any, batches: Any) -> Phase:
    """Judge from locks, catalog and ledger what a session does; it does not say so itself."""
    if worker.building:
        return "building"
    if own is None:
        return "building" if worker.wanted == "ShareUpdateExclusiveLock" else "preparing"
    if _restores(batches) and not worker.upgrading:
        return "restoring"
    if own.state == "cleaning":
        return "cleaning" if own.staged or _only_spared(batches) else "ranking"
    if own.state in ("clean", "failed") or own.building:
        return _constraint_phase(worker, own)
    return _later_phase(worker, own)


def _constraint_phase(worker: Any, own: Any) -> Phase:
    if own.attached:
        return "verifying"
    if own.index_valid or worker.wanted == "AccessExclusiveLock":
        return "attaching"
    if own.index_valid is False:
        return "removing"
    return "building" if own.building and worker.waiting else "preparing"


def _later_phase(worker: Any, own: Any) -> Phase:
    """Judge the work on a run that is enforced, dropped or restored."""
    if own.state == "enforced":
        dropping: Phase = "dropping" if worker.wanted == "AccessExclusiveLock" else "preparing"
        return "verifying" if worker.upgrading else dropping
    return "preparing" if worker.upgrading else "restoring"


def _restores(batches: Any) -> bool:
    return bool(batches and batches.restored)


def _only_spared(batches: Any) -> bool:
    """Tell whether the last batch could move nothing: its rows are locked, or referenced."""
    return bool(batches and batches.spared and not batches.archived and not batches.restored)


def _batches(own: Row[Any], batches: Row[Any], phase: Phase) -> Progress:
    if phase == "restoring":
        return Progress(done=own.restored, total=own.archived, unit="rows", rate=batches.rate or None)
    return Progress(done=own.archived, total=max(own.extras, own.archived), unit="extras", rate=batches.rate or None)


def _build(connection: Connection, pid: int, memory: Memory | None) -> Progress:
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


def _blocking(connection: Connection, pid: int) -> tuple[Blocker, ...]:
    rows = execute(connection, statement("watch_blocking", pid=str(pid)))
    return tuple(
        Blocker(pid=one.pid or None, name=one.application_name or one.usename, state=one.state, seconds=one.seconds)
        if one.pid
        else Blocker(pid=None, name=None, state=None, seconds=None)
        for one in rows
    )


def _holders(connection: Connection, worker: Row[Any]) -> tuple[Blocker, ...]:
    named: dict[object, Blocker] = {}
    for one in execute(connection, statement("holders", relid=str(worker.relid))):
        if one.pid != worker.pid:
            name = one.gid if one.pid is None else one.application_name or one.usename
            blocker = Blocker(pid=one.pid, name=name, state=one.state, seconds=one.seconds, lock=one.mode)
            named.setdefault(one.pid or one.gid, blocker)
    return tuple(named.values())


def _at_rest(connection: Connection, own: Row[Any], *, attended: bool) -> Seen:
    help_ = _help(connection, own) if own.there and not own.purged and not attended else None
    return Seen(schema=own.schema, table=own.table, run=_run(own), stalled=help_ is not None, help=help_)


def _help(connection: Connection, own: Row[Any]) -> str | None:
    """Return what to do about a run that nobody works on; None where it has come to an end."""
    again = f"Run the same alembic command again, or put its rows back: dupe-audit restore {own.id}"
    if own.state == "failed":
        why = "Its last pass was refused: dupe-audit preflight says why"
        return f"{why}; or put its rows back: dupe-audit restore {own.id}"
    if own.state == "cleaning":
        batches = execute(connection, statement("watch_batches", run=str(own.id))).one()
        return again if _restores(batches) else "Run: alembic upgrade head"
    if own.building and own.state != "enforced":
        return "Run: alembic upgrade head"
    if own.state == "dropped" and 0 < own.restored < own.archived:
        return again
    return None


def _run(own: Row[Any]) -> RunSeen:
    values = {name: getattr(own, name) for name in RunSeen.__slots__}
    return RunSeen(**{**values, "columns": tuple(own.columns)})
