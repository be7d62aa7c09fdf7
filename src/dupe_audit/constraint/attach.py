"""Create a unique constraint from a finished index, or drop it again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.constraint.index import ConstraintWork, build, drop_index, settled
from dupe_audit.errors import DupeAuditError, DuplicatesKeepComing, Refused
from dupe_audit.findings import finding, quantity
from dupe_audit.model import BuildRule, IndexState, Run, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import run_lock
from dupe_audit.postgres.session import step
from dupe_audit.postgres.sqlstates import DEPENDENT_OBJECTS, sqlstate
from dupe_audit.statements import ident, literal, statement

log = logging.getLogger("alembic.dupe_audit")


def enforce(
    connection: Connection,
    key: UniqueKey,
    rule: BuildRule,
    *,
    clean_again: Callable[[], int] | None = None,
    revision: str | None = None,
) -> None:
    """Create the constraint of *key* while the application writes; killed anywhere, the same call continues.

    It claims nothing: the caller verifies, and records in the ledger that the key is enforced.

    Args:
        connection: in autocommit.
        key: with the name of the constraint.
        rule: limits on waits and on the number of builds.
        clean_again: archives the extras that have arrived and returns how many; None if nothing may be cleaned.
        revision: the Alembic revision to record in the ledger.

    Raises:
        Refused: the name is taken by something else, or there are duplicates and nothing may be cleaned.
        DuplicatesKeepComing: each of ``rule.build_attempts`` builds met a new duplicate.
        Blocked: a lock was not acquired, or the build waited for one transaction, for ``rule.give_up_after``.
        DupeAuditError: the table does not exist.
        Interrupted: the user stopped the work.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
            relation = catalog.still_named(connection, relation)
            ledger.create(connection, relation.owner)
            work = _work(connection, relation, key, rule, _run_of(connection, relation, key, revision))
            state = settled(work) or _built_in_rounds(work, clean_again)
            if state.constraint is None:
                _attach(work)
            _comment(work)


def drop(connection: Connection, key: UniqueKey, rule: BuildRule) -> None:
    """Drop the constraint, or what a killed upgrade left of it; if neither exists, nothing happens.

    Args:
        connection: in autocommit.
        key: with the name of the constraint; its columns are not compared.
        rule: limits on waits.

    Raises:
        Refused: the archive of a run is gone, so its rows could not be restored afterwards.
        Blocked: the lock was not acquired within ``rule.give_up_after``.
        DupeAuditError: other objects depend on the constraint, or the table does not exist.
        Interrupted: the user stopped the work.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
            relation = catalog.still_named(connection, relation)
            run = ledger.find_by_constraint(connection, relation.relid, str(key.name))
            if run and run.archive_bytes is None and run.archived > run.restored and not run.purged_at:
                raise Refused([finding("archive-missing", run.id)], lead="Nothing was dropped.")
            work = _work(connection, relation, key, rule, run.id if run else None)
            state = work.state()
            if state and state.constraint == key.name:
                _drop_constraint(work, run)
            else:
                if state and run and run.building:
                    drop_index(work)
                _record_dropped(connection, run)


def _work(
    connection: Connection, relation: catalog.Relation, key: UniqueKey, rule: BuildRule, run_id: int | None
) -> ConstraintWork:
    return ConstraintWork(
        connection=connection,
        relation=relation,
        lock_timeout=rule.lock_timeout,
        give_up_after=rule.give_up_after,
        key=key,
        rule=rule,
        run_id=run_id,
    )


def _run_of(connection: Connection, relation: catalog.Relation, key: UniqueKey, revision: str | None) -> int:
    """Return the run that this constraint belongs to; open one if the key was never cleaned."""
    latest = ledger.find_latest(connection, relation.relid, key)
    if latest and latest.run.state != "restored" and latest.run.purged_at is None:
        return latest.run.id
    return ledger.open_run(connection, relid=relation.relid, key=key, rule=None, revision=revision)


def _built_in_rounds(work: ConstraintWork, clean_again: Callable[[], int] | None) -> IndexState:
    """Build the index; when a new duplicate stops a build, clean and build again, a bounded number of times."""
    started, arrived = time.monotonic(), 0
    for attempt in range(1, work.rule.build_attempts + 1):
        if attempt > 1 and clean_again is not None:
            # Right before the build: in every moment between the ranking and the build a duplicate can arrive.
            arrived += clean_again()
        outcome = build(work)
        if outcome == "built" and (state := settled(work)):
            return state
        if outcome != "built":
            log.info("build %d of %d was stopped by a %s", attempt, work.rule.build_attempts, outcome)
        if outcome == "duplicate" and clean_again is None:
            raise Refused(
                [finding("duplicates", "The index build met a duplicate")],
                lead=f"{work.key} cannot be enforced, and no op.archive_duplicates() was executed for this key.",
            )
    seconds = time.monotonic() - started
    raise DuplicatesKeepComing(
        f"{quantity(work.rule.build_attempts, 'build')} of {work.name} failed because new duplicates kept arriving: "
        f"{arrived:,} more in {seconds:,.0f} s, {arrived / seconds:,.1f} per second. First deploy the writer that "
        "uses INSERT … ON CONFLICT DO NOTHING, or stop the old one during a build; then run the same command again."
    )


def _attach(work: ConstraintWork) -> None:
    form = f" DEFERRABLE INITIALLY {work.key.initially}" if work.key.deferrable else ""
    sql = statement("attach", table=work.relation.name, name=ident(work.name), form=form)
    _execute_briefly(work, sql, f"attach the index as constraint {work.name}")


def _comment(work: ConstraintWork) -> None:
    if work.rule.comment is not None:
        comment = literal(work.rule.comment)
        sql = statement("comment_constraint", name=ident(work.name), table=work.relation.name, comment=comment)
        _execute_briefly(work, sql, f"comment on constraint {work.name}")


def _execute_briefly(work: ConstraintWork, sql: str, action: str) -> None:
    """Execute a statement that takes a strong lock, alone in its transaction."""

    def attempt() -> None:
        with work.transaction():
            execute(work.connection, sql)

    work.retry(attempt, action)


def _drop_constraint(work: ConstraintWork, run: Run | None) -> None:
    sql = statement("drop_constraint", table=work.relation.name, name=ident(work.name))

    def attempt() -> None:
        with work.transaction():
            # In one transaction, so that the ledger never claims a constraint that is gone; the strong lock comes last.
            _record_dropped(work.connection, run)
            execute(work.connection, sql)

    try:
        work.retry(attempt, f"drop constraint {work.name}")
    except DBAPIError as error:
        if sqlstate(error) == DEPENDENT_OBJECTS:
            raise DupeAuditError(
                f"Other objects depend on constraint {work.name} of {work.relation.name}, most likely a foreign key "
                "to its columns. Drop those first. The constraint was not dropped."
            ) from error
        raise


def _record_dropped(connection: Connection, run: Run | None) -> None:
    """Record that neither the constraint nor an unfinished index of the run exists any more."""
    if run is None:
        return
    ledger.mark_not_building(connection, run.id)
    if run.state in ("enforced", "clean", "cleaning"):
        ledger.set_state(connection, run.id, "dropped")
