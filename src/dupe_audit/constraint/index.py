"""One unique index: judge it, build it while the application writes, and leave nothing unfinished.

An index is judged by its definition, validity and liveness, never by its name.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dupe_audit import citus
from dupe_audit.constraint.watchdog import watching
from dupe_audit.constraint.work import ConstraintWork
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.findings import finding
from dupe_audit.model import BuildRule, IndexState, milliseconds
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import deadlock_party, holders
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.session import settings
from dupe_audit.postgres.sqlstates import (
    DEADLOCK,
    DUPLICATE_TABLE,
    INTERNAL_ERROR,
    LOCK_NOT_AVAILABLE,
    QUERY_CANCELED,
    UNIQUE_VIOLATION,
    reason,
    sqlstate,
)
from dupe_audit.statements import literal, statement

log = logging.getLogger("alembic.dupe_audit")

#: settings of a build: no timeout may stop it halfway, and a killed client stops it at once
BUILDING = {
    "lock_timeout": "0",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "client_connection_check_interval": "1s",
}

#: the text of a duplicate that Citus reports as an internal error, without its SQLSTATE
DUPLICATED = "could not create unique index"

#: milliseconds that dropping our own unfinished index may wait for locks, at most
DROP_PATIENCE = 30_000
#: limit of one attempt to drop the remains of a failed build; the application does not wait meanwhile
UNFINISHED_LOCK_TIMEOUT = "5s"

#: milliseconds; age of a transaction that writes to a leaf, from which on other leaves are built first
LONG = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a build failed that may be tried again."""

    kind: Literal["duplicate", "deadlock", "lock", "waiting"]
    party: str = ""  #: the other sessions of a deadlock, who held the lock, or who waits for it, described

    def __str__(self) -> str:
        if self.kind == "waiting":
            return f"session that waits for the table: {self.party}"
        return f"{self.kind} with {self.party}" if self.party else self.kind


class _GaveWay(Exception):
    """A build on a leaf was cancelled because a session waits for it."""


def settled(work: ConstraintWork) -> IndexState | None:
    """Return the valid index with our definition, or None if one has to be built.

    Adopts an index by its definition, waits for a live build, and drops an invalid leftover of our own.

    Raises:
        Refused: the name is taken by something else, or by an invalid index that is not ours.
    """
    return judged(work, work.state())


def judged(work: ConstraintWork, state: IndexState | None) -> IndexState | None:
    """Do what ``settled`` does, with a state that was just read.

    Raises:
        Refused: the name is taken by something else, or by an invalid index that is not ours.
    """
    # No build can be running for a valid index; an invalid one can have become valid since it was read.
    if not (state and state.valid) and (_wait_for_other_builds(work) or state):
        state = work.state()
    if state is None:
        return None
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        raise Refused(
            [catalog.wrong_definition(work.relation, state)],
            lead=f"The name {work.name} belongs to something else than the key needs. Nothing was built.",
        )
    if state.valid:
        return state
    if not work.is_building():
        raise Refused(
            [finding("invalid-index", work.index)], lead=f"The ledger has no record of a build of {work.index}."
        )
    drop_index(work)
    work.mark_not_building()
    return None


def require_quiet(work: ConstraintWork, before: int) -> None:
    """Require that no old transaction would hold up a build on a leaf: a build that has begun is not given up lightly.

    Args:
        before: how often that was required before. Each time, older ones pass: there may always be some.

    Raises:
        Blocked: one would, or another session is building an index.
    """
    relid = work.relation.relid
    if execute(
        work.connection, statement("long_writers", relid=str(relid), age=literal(f"{LONG * 2 ** min(before, 20)}ms"))
    ).first():
        raise Blocked(
            f"An index of {work.relation.name} would have to wait for other transactions. Locks on the table are held "
            f"by {holders(work.connection, relid)}. Wait for them or end them."
        )


def _wait_for_other_builds(work: ConstraintWork) -> bool:
    """Wait, but not forever: two concurrent builds on one table deadlock, 6 times of 6 (H55, measured).

    Returns:
        Whether there was a build to wait for.
    """
    patience, waited = Patience(work.rule.give_up_after, pause=0.5), False
    while pid := execute(work.connection, statement("builders", relid=str(work.relation.relid))).scalar():
        if patience.exhausted:
            raise Refused(
                [finding("live-build", pid, table=work.relation.name)],
                lead=f"Another index build on the table did not end within {work.rule.give_up_after}.",
            )
        waited = True
        patience.pause()
    return waited


def build(work: ConstraintWork) -> Failure | None:
    """Build the index; if that fails, remove what the build left. Return why it failed, if it may be tried again.

    If another session has just created something under the name, the caller judges it.

    Raises:
        Blocked: the build waited for one transaction for ``give_up_after`` and was cancelled.
        Interrupted: the user stopped the work.
        sqlalchemy.exc.DBAPIError: the server stopped the build for another reason, such as a full disk.
    """
    work.mark_building()
    try:
        execute_build(work, work.build_sql)
    except BaseException as error:
        code = sqlstate(error) if isinstance(error, DBAPIError) else None
        # Before the removal, which can wait until the other session has changed its state.
        party = deadlock_party(work.connection, error) if code == DEADLOCK else ""
        note = _drop_leftover(work, is_ours=code != DUPLICATE_TABLE)
        if note:
            log.warning("%s", note)
        if code == DUPLICATE_TABLE and not note:
            return None
        if isinstance(error, _GaveWay):
            return Failure(kind="waiting", party=str(error))
        if code == UNIQUE_VIOLATION or (code == INTERNAL_ERROR and DUPLICATED in reason(error)):
            return Failure(kind="duplicate")
        if code == DEADLOCK:
            return Failure(kind="deadlock", party=party)
        if code == LOCK_NOT_AVAILABLE and work.of_citus:
            return Failure(kind="lock", party=holders(work.connection, work.relation.relid))
        if note and isinstance(error, DupeAuditError):
            error.args = (f"{error} {note}",)
        raise
    return None


def memory(rule: BuildRule) -> dict[str, str]:
    """Return the settings of a build that the rule changes."""
    names = ("maintenance_work_mem", "max_parallel_maintenance_workers")
    return {name: value for name in names if (value := getattr(rule, name))}


def execute_build(work: ConstraintWork, sql: str) -> None:
    """Execute a concurrent build under its settings, watched.

    Raises:
        Blocked: it waited for one transaction for ``give_up_after`` and was cancelled.
    """
    rule, values = work.rule, BUILDING | memory(work.rule)
    if work.of_citus:  # its build waits with a lock that stops every writer on the coordinator
        values["lock_timeout"] = work.lock_timeout
    progress = citus.build_progress(work.connection) if work.of_citus else None
    leaf = None if work.leaf is None else work.relation.relid
    watcher = watching(
        work.connection, give_up_after=rule.give_up_after, progress=progress, leaf=leaf, often=work.is_default
    )
    with settings(work.connection, values), watcher as watch:
        try:
            execute(work.connection, sql)
        except DBAPIError as error:
            if watch.gave_way and sqlstate(error) == QUERY_CANCELED:
                raise _GaveWay(watch.gave_way) from error
            if watch.gave_up and sqlstate(error) == QUERY_CANCELED:
                raise Blocked(
                    f"The build of {work.name} on {work.relation.name} waited {rule.give_up_after} and was cancelled: "
                    f"{watch.gave_up}. "
                    "End that transaction, then run the same command again."
                ) from error
            raise


def _drop_leftover(work: ConstraintWork, *, is_ours: bool) -> str:
    """Drop what a build left; if that fails, return what the user has to know.

    Args:
        is_ours: whether the build began, so that whatever has the name may be its result.
    """
    effect = "it may reject writes"
    try:
        state = work.state() if is_ours else None
        if state and state.same_definition:
            if state.valid:
                return ""
            effect = "it rejects new duplicates" if state.ready else "it enforces nothing"
            drop_index(work)
        # Otherwise an index that somebody builds later under this name would count as ours.
        work.mark_not_building()
    except (SQLAlchemyError, DupeAuditError):
        return (
            f"An unfinished index {work.index} remains for now ({effect}). Run the same command again, which drops it "
            f"first, or drop it yourself: DROP INDEX CONCURRENTLY {work.index};"
        )
    return ""


def drop_index(work: ConstraintWork, *, finished: bool = False) -> None:
    """Drop an index while the application writes.

    Args:
        finished: whether the index is valid. Until it is dropped, it only rejects duplicates, so each attempt may wait
            for the rule's ``lock_timeout``, and all of them for ``give_up_after``. For the remains of a failed build,
            both limits are shorter.

    Raises:
        Blocked: open transactions on the table held it up.
    """
    patience = milliseconds(work.rule.give_up_after)
    if not finished:
        patience = min(DROP_PATIENCE, patience)
    # Each try is bounded: an index that is ready but invalid rejects writes for as long as this waits (H48).
    longest = milliseconds(work.rule.lock_timeout if finished else UNFINISHED_LOCK_TIMEOUT)
    limit = f"{min(longest, patience)}ms"
    # A lock timeout does not hold on other nodes, so there the whole statement is limited.
    values = {"lock_timeout": limit, "statement_timeout": limit if work.of_citus else "0"}

    def drop() -> None:
        with settings(work.connection, values):
            sql = statement("drop_index", index=work.index)
            try:
                execute(work.connection, sql)
            except DBAPIError as error:
                if work.of_citus and sqlstate(error) == QUERY_CANCELED:
                    raise citus.RemoteTimeout(sql) from error
                raise

    work.retry(drop, f"drop {'' if finished else 'the unfinished '}index {work.index}", give_up_after=f"{patience}ms")
