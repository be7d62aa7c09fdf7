"""Drop a unique constraint, and return to the state before it: an index that it had adopted stays."""

from __future__ import annotations

import logging
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.constraint.index import drop_index, execute_build
from dupe_audit.constraint.names import (
    has_constraint,
    inherited,
    name_owner,
    require_index,
)
from dupe_audit.constraint.tree_dropping import drop_tree
from dupe_audit.constraint.work import ConstraintWork, work_on
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.model import LOCK_TIMEOUT, BuildRule, Run, UniqueKey, milliseconds
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import run_lock
from dupe_audit.postgres.session import step
from dupe_audit.postgres.sqlstates import DEPENDENT_OBJECTS, sqlstate
from dupe_audit.statements import ident, literal, statement

log = logging.getLogger("alembic.dupe_audit")


def drop(connection: Connection, key: UniqueKey, rule: BuildRule, *, keeps_adopted: bool = True) -> int:
    """Drop the constraint, or what a killed upgrade left of it; if neither exists, nothing happens.

    Return the number of partitions with a part that an unfinished upgrade had built, but not attached.

    An adopted index stays. If it became the index of the constraint, an index like it is built first, and then
    replaces the constraint.

    Args:
        connection: in autocommit.
        key: with the name of the constraint; its columns are not compared.
        rule: limits on waits.
        keeps_adopted: False to drop the index even if it existed before our upgrades. The ledger records that it did,
            so that a downgrade that re-creates it returns to that state.

    Raises:
        Refused: the name belongs to an index without a constraint or to a constraint of another kind; or archived
            rows could not be restored afterwards: their archive is gone or not complete, or they come from another
            table of this name.
        Blocked: the lock was not acquired within ``rule.give_up_after``.
        DupeAuditError: other objects depend on the constraint, or the table does not exist.
        Interrupted: the user stopped the work.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
            relation = catalog.still_named(connection, relation)
            run = ledger.run_to_drop(connection, relation, str(key.name))
            work = work_on(connection, relation, key, rule, run.id if run else None)
            if key.form == "index":
                # The rule's limit is for a concurrent drop, behind which nobody waits. Everything waits behind a drop
                # that is not concurrent: of the index of a partitioned table, and of one that another replaces.
                work = replace(work, lock_timeout=min(rule.lock_timeout, LOCK_TIMEOUT, key=milliseconds))
            if findings := inherited(name_owner(connection, relation, work.name), relation):
                raise Refused(findings, lead="Nothing was dropped.")
            if relation.is_tree:
                return drop_tree(work, run, keeps_adopted=keeps_adopted)
            if key.form == "index":
                _drop_index(work, run, keeps_adopted=keeps_adopted)
            elif has_constraint(work, run):
                _drop_constraint(work, run, keeps_adopted=keeps_adopted)
                return 0
            elif run and run.building and name_owner(connection, relation, work.name).is_index:
                drop_index(work)
            for sql in ledger.mark_dropped_sql(run):
                execute(connection, sql)
            return 0


def _drop_index(work: ConstraintWork, run: Run | None, *, keeps_adopted: bool) -> None:
    """Drop a unique index that belongs to no constraint, unless it existed before the run and is kept.

    Raises:
        Refused: the name belongs to a constraint, or to an index that is not unique.
    """
    owner = name_owner(work.connection, work.relation, work.name)
    require_index(work, owner)
    if not owner.is_index:
        return
    if run and keeps_adopted and ledger.has_adopted(work.connection, run.id):
        if (state := work.state()) and not state.valid:
            _replace_invalid(work)
        log.info("index %s existed before the upgrade, so it stays", work.name)
        return
    _record_drop(work, run)
    try:
        drop_index(work, finished=True)
    except Blocked:
        state = work.state()
        if run and run.state == "enforced" and state and state.valid:
            ledger.mark_enforced(work.connection, run.id, work.name)
        raise


def _replace_invalid(work: ConstraintWork) -> None:
    """Rebuild an adopted index that an interrupted drop left invalid."""
    successor, marks = _rebuilt(work)
    if successor:
        renamed = statement("rename_index", index=successor.index, former=ident(work.name))
        dropped = statement("drop_index_at_once", index=work.index)
        work.execute_briefly(*marks, dropped, renamed, action=f"replace the invalid index {work.name}")


def _record_drop(work: ConstraintWork, run: Run | None) -> None:
    """Withdraw the claim of a run before its index is dropped, which cannot be done in one transaction.

    If the drop is interrupted, the index can be invalid, and the ledger has it as ours.
    """
    if run is None:
        return
    ledger.record_index(work.connection, run.id, work.relation.relid)
    if run.state == "enforced":
        ledger.set_state(work.connection, run.id, "clean")
    ledger.mark_building(work.connection, run.id, work.name, keeps_adopted=True)


def _drop_constraint(work: ConstraintWork, run: Run | None, *, keeps_adopted: bool) -> None:
    # At once, so that the ledger never claims a constraint that is gone; the strong lock comes last.
    statements = [
        *ledger.mark_dropped_sql(run),
        statement("drop_constraint", table=work.relation.name, name=ident(work.name)),
    ]
    successor, marks = _rebuilt(work) if keeps_adopted else (None, [])
    if successor:
        # First, because dropping the index that is the replica identity leaves the table without one.
        statements[:0] = marks
        statements.append(statement("rename_index", index=successor.index, former=ident(work.name)))
    try:
        work.execute_briefly(*statements, action=f"drop constraint {work.name}")
    except DBAPIError as error:
        if successor:
            drop_index(successor)
        if sqlstate(error) == DEPENDENT_OBJECTS:
            raise DupeAuditError(
                f"Other objects depend on constraint {work.name} of {work.relation.name}, most likely a foreign key "
                "to its columns. Drop those first. The constraint was not dropped."
            ) from error
        raise
    if successor:
        log.info("index %s existed before the constraint, so such an index is left in its place", work.name)


def _rebuilt(work: ConstraintWork) -> tuple[ConstraintWork | None, list[str]]:
    """Build an index like the adopted one under another name; return None if none was adopted.

    Also return the statements for what the definition of an index does not contain: its comment, and its use as the
    table's replica identity and as the order of ``CLUSTER``. A constraint is in force meanwhile, so no duplicate can
    stop the build.
    """
    if work.run_id is None:
        return None, []
    name = f"dupe_audit_adopted_{work.run_id}"
    successor = replace(work, key=replace(work.key, name=name))
    sql = statement("adopted_index", run=str(work.run_id), relid=str(work.relation.relid), name=literal(name))
    with work.transaction():
        adopted = execute(work.connection, sql).one_or_none()
    if adopted is None:
        return None, []
    if adopted.exists and not adopted.valid:
        drop_index(successor)
    if not adopted.valid:
        log.info("building an index like %s, which existed before the upgrade", work.name)
        if adopted.denied_tablespace:
            log.warning(
                "index %s was in tablespace %s, where this role may not create anything, so it is built in the "
                "database's default tablespace. To move it, as a superuser: ALTER INDEX %s SET TABLESPACE %s",
                work.name,
                adopted.denied_tablespace,
                work.index,
                ident(adopted.denied_tablespace),
            )
        try:
            execute_build(successor, adopted.build)
        except BaseException:
            drop_index(successor)
            raise
    return successor, list(adopted.marks)
