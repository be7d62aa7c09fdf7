"""One unique index: build it while the application writes, and leave nothing unfinished."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dupe_audit import citus
from dupe_audit.constraint.watchdog import watching
from dupe_audit.constraint.work import ConstraintWork
from dupe_audit.errors import Blocked, DupeAuditError
from dupe_audit.model import DROP_LOCK_TIMEOUT, UNFINISHED_GIVE_UP_AFTER, BuildRule, milliseconds
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import deadlock_party, holders
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
from dupe_audit.statements import statement

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


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFailure:
    """Why a build failed that may be tried again."""

    kind: Literal["duplicate", "deadlock", "lock", "waiting"]
    party: str = ""  #: the other sessions of a deadlock, who held the lock, or who waits for it, described

    def __str__(self) -> str:
        if self.kind == "waiting":
            return f"session that waits for the table: {self.party}"
        return f"{self.kind} with {self.party}" if self.party else self.kind


class _GaveWay(Exception):
    """A build on a leaf was cancelled because a session waits for it."""


def build(work: ConstraintWork) -> BuildFailure | None:
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
            return BuildFailure(kind="waiting", party=str(error))
        if code == UNIQUE_VIOLATION or (code == INTERNAL_ERROR and DUPLICATED in reason(error)):
            return BuildFailure(kind="duplicate")
        if code == DEADLOCK:
            return BuildFailure(kind="deadlock", party=party)
        if code == LOCK_NOT_AVAILABLE and work.of_citus:
            return BuildFailure(kind="lock", party=holders(work.connection, work.relation.relid))
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
        patience = min(milliseconds(UNFINISHED_GIVE_UP_AFTER), patience)
    # Each try is bounded: an index that is ready but invalid rejects writes for as long as this waits (H48).
    longest = milliseconds(work.rule.lock_timeout if finished else DROP_LOCK_TIMEOUT)
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
