"""Archive every extra inside the caller's transaction, which holds the writers: by the statements of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import children, ledger
from dupe_audit.cleanup import changes
from dupe_audit.cleanup.batches import Disturbed, Moved, move
from dupe_audit.cleanup.horizon import Horizon
from dupe_audit.cleanup.leaves import on_leaf
from dupe_audit.cleanup.staging import staged
from dupe_audit.cleanup.work import CleanupWork, fragments_of, run_holes
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.planner import WHERE_STAGED
from dupe_audit.postgres.session import settings
from dupe_audit.postgres.sqlstates import about_a_row

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldWork(CleanupWork):
    """The work of a cleanup inside an open transaction: it opens none, and retries nothing."""

    @property
    def is_held(self) -> bool:
        """Whether this is part of a larger transaction, which an error would end."""
        return True

    def transaction(
        self,
        *,
        isolation: str = "",  # noqa: ARG002 - nobody else can write, so every statement sees the same rows
        local: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[None]:
        """Change settings until the end of the block."""
        return settings(self.connection, local, local=True) if local else nullcontext()

    def retry(self, action: Callable[[], T], name: str, *, give_up_after: str | None = None) -> T:  # noqa: ARG002 - as of any work
        """Do it once; a lock that is not acquired ends the whole transaction."""
        return action()


def clean_held(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    revision: str | None = None,
    work_mem: str | None = None,
    horizon: Horizon | None = None,
    leaf: Relation | None = None,
) -> int:
    """Archive every extra of *key* under its run, in the caller's transaction; return how many.

    A cleanup (``cleanup``) has opened the run and its archive before. The caller's transaction holds a lock on the
    table that no writer passes, limits its own time, and is rolled back on any error.

    Args:
        leaf: of a partitioned table, the leaf to clean.

    Raises:
        Refused: divergent groups or references that the rule refuses, or a child that arrived without a lock.
        DupeAuditError: no run of the key is open, a trigger keeps rows, or the table's columns have just changed.
    """
    key, relation = catalog.require(connection, key)
    choice = ledger.to_clean(str(relation.relid), key, name=key.name, revision=revision)
    latest = ledger.find_run(connection, relation.relid, choice)
    if latest is None or latest.run.archive_bytes is None:
        raise DupeAuditError(f"No run of {key} has an archive. Run the same command again: it opens one.")
    run_id, foreign_keys = latest.run.id, children.foreign_keys(connection, relation.relid)
    moving = (
        children.open_records(connection, run_id, foreign_keys, relation.owner) if rule.references == "repoint" else ()
    )
    fragments = fragments_of(connection, relation, key, rule)
    work = HeldWork(
        connection=connection,
        relation=relation,
        lock_timeout="0",
        give_up_after="0",
        holes=run_holes(connection, fragments, relation, rule, run_id, foreign_keys, moving),
        key=key,
        rule=rule,
        run_id=run_id,
        foreign_keys=foreign_keys,
        moving=moving,
    )
    if rule.amends:
        work = changes.prepared(work, key)
    horizon = horizon or Horizon()
    if leaf is not None:
        work, horizon = on_leaf(work, leaf), horizon.leaf_horizon(leaf.relid)
    # The transaction can still be rolled back, so the horizon stays where it is.
    to_rank = horizon.rows_to_rank(work, key)
    handled = 0
    while True:
        with staged(work, work_mem, to_rank=to_rank) as ranking:
            moved = _move(work, ranking.extras)
        handled += moved.archived + moved.amended
        if not ranking.collides or ranking.arrived:
            return handled
        work = changes.amend_again(work)
        # Rows of this transaction are newer than any horizon.
        to_rank = horizon.rows_to_rank(work, key)


def _move(work: HeldWork, extras: int) -> Moved:
    try:
        return move(work, 1, extras, WHERE_STAGED) if extras else Moved()
    except Disturbed as error:
        raise Refused([], lead=str(error)) from error
    except DBAPIError as error:
        if not work.rule.changes_rows or not about_a_row(error):
            raise
        raise changes.failed(work, error) from error
