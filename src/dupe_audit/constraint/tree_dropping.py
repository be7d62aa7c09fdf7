"""Drop the constraint of a partitioned table, or what a killed upgrade left of it on its leaves and inner levels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.constraint.index import drop_index
from dupe_audit.constraint.names import has_constraint, name_owner, require_index
from dupe_audit.constraint.work import ConstraintWork
from dupe_audit.errors import DupeAuditError
from dupe_audit.model import Run
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import OUT_OF_MEMORY, sqlstate
from dupe_audit.postgres.trees import Member, locks_to_drop, members
from dupe_audit.statements import ident, statement

log = logging.getLogger("alembic.dupe_audit")


def drop_tree(work: ConstraintWork, run: Run | None, *, keeps_adopted: bool) -> int:
    """Drop the constraint or the index of a partitioned table, unless the index existed before the run and is kept.

    Return the number of dropped parts that were not attached to it, because an upgrade was unfinished.

    Raises:
        Refused: the name belongs to something else.
    """
    if work.key.form == "index":
        owner = name_owner(work.connection, work.relation, work.name)
        require_index(work, owner)
        exists = bool(owner.is_index)
        if exists and run and keeps_adopted and ledger.has_adopted(work.connection, run.id):
            log.info("index %s existed before the upgrade, so it stays", work.name)
            return 0
        if exists and run:
            ledger.record_index(work.connection, run.id, work.relation.relid)
    else:
        exists = has_constraint(work, run)
    if exists:
        _drop_root(work, ledger.mark_dropped_sql(run))
    dropped = _drop_parts(work, run.id) if run else 0
    for sql in ledger.mark_dropped_sql(run):
        execute(work.connection, sql)
    return dropped


def _drop_root(work: ConstraintWork, marks: Sequence[str]) -> None:
    """Drop the constraint or the index of the root, and with it every part that is attached to it.

    It locks every table and every index of the tree at once; PostgreSQL has no other way.

    Args:
        marks: statements that record it in the ledger, in the same transaction.

    Raises:
        Blocked: the locks were not acquired in time.
        DupeAuditError: the server's lock table is too small.
    """
    sql = (
        statement("drop_constraint", table=work.relation.name, name=ident(work.name))
        if work.key.form == "constraint"
        else statement("drop_index_at_once", index=work.index)
    )
    try:
        work.execute_briefly(*marks, sql, action=f"drop {work.key.form} {work.name} of the whole tree")
    except DBAPIError as error:
        if sqlstate(error) != OUT_OF_MEMORY:
            raise
        locks = locks_to_drop(work.connection, work.relation.relid)
        raise DupeAuditError(
            f"Dropping {work.key.form} {work.name} locks every table and index of {work.relation.name} at once: about "
            f"{locks.needed:,} locks, and the lock table of this server holds {locks.capacity:,}, which all sessions "
            "share. Nothing was dropped. Raise max_locks_per_transaction and restart the server, or wait until fewer "
            "sessions hold locks; then run the same command again."
        ) from error


def _drop_parts(work: ConstraintWork, run_id: int) -> int:
    """Drop what a run has built on leaves and inner levels that is not attached to the root; return how many parts."""
    dropped = 0
    indexes = ledger.leaf_indexes(work.connection, run_id)
    if any(index.exists for index in indexes):
        parts = {part.relation.relid: part for part in members(work.connection, work.relation.relid)}
        left = [index for index in indexes if index.exists and index.relid in parts]
        # Inner levels first, because what is attached to them goes with them.
        for index in sorted(left, key=lambda index: parts[index.relid].is_leaf):
            part = parts[index.relid]
            key = replace(work.key, table=part.relation.table, schema=part.relation.schema, name=index.name)
            dropped += _drop_part(replace(work, relation=part.relation, key=key, leaf=index.leaf), part)
            ledger.mark_leaf_building(work.connection, index.leaf, None, building=False)
    ledger.forget_leaf_indexes(work.connection, [index.leaf for index in indexes if not index.exists])
    return dropped


def _drop_part(work: ConstraintWork, part: Member) -> bool:
    """Drop the part of one table; return whether it had one."""
    state = work.state()
    if state is None:
        return False
    log.info("dropping the unattached part %s of %s", work.name, work.relation.name)
    if state.constraint is not None:
        sql = statement("drop_constraint", table=work.relation.name, name=ident(work.name))
        work.execute_briefly(sql, action=f"drop constraint {work.name} of {work.relation.name}")
    elif part.is_leaf:
        drop_index(work, finished=state.valid)
    else:
        sql = statement("drop_index_at_once", index=work.index)
        work.execute_briefly(sql, action=f"drop index {work.index}")
    return True
