"""Move every extra into the archive: open the run or continue it, then clean the table, or each leaf of a tree."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

from sqlalchemy import Connection

from dupe_audit import children, citus, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.cleanup import changes, coordinator
from dupe_audit.cleanup.horizon import Horizon
from dupe_audit.cleanup.leaves import clean_leaves
from dupe_audit.cleanup.passes import passes
from dupe_audit.cleanup.shard_lists import create_archive
from dupe_audit.cleanup.sharded import sharded_passes
from dupe_audit.cleanup.work import CleanupWork, fragments_of, run_holes
from dupe_audit.model import GIVE_UP_AFTER, LOCK_TIMEOUT, Batch, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.locking import retry_lock, run_lock
from dupe_audit.postgres.session import require_valid, step, transaction
from dupe_audit.postgres.trees import leaf_fragments


def cleanup(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    name: str | None = None,
    revision: str | None = None,
    lock_timeout: str = LOCK_TIMEOUT,
    give_up_after: str = GIVE_UP_AFTER,
    work_mem: str | None = None,
    horizon: Horizon | None = None,
    leaf: Relation | None = None,
) -> Generator[Batch, None, None]:
    """Archive the extras of *key*; yield each batch after its commit.

    The work advances only while the caller iterates. Killed anywhere, the same call continues under the same run;
    an abandoned generator releases its lock. The caller asks for blockers first (``preflight.blockers``).

    Args:
        connection: in autocommit.
        key: the table and its columns; no constraint needs to exist.
        rule: which row of a group survives, what may be archived, and how fast.
        name: the constraint that will be built, if *key* does not name it; runs of other constraints are left alone.
        revision: the Alembic revision to record in the ledger.
        lock_timeout: how long a statement may wait for a lock, as PostgreSQL writes durations.
        give_up_after: total wait for locks without any progress.
        work_mem: memory for the ranking's sort, as PostgreSQL writes sizes.
        horizon: which rows an earlier cleanup of this process has left free of extras, so that they are not ranked
            again; it advances when no extra is left.
        leaf: of a partitioned table, the only leaf to clean.

    Raises:
        WrongUsage: the server does not accept *work_mem*.
        Refused: divergent groups or references that the rule refuses, or children that cannot follow the survivor;
            nothing was archived in this pass.
        Blocked: extras stayed locked or referenced, or another session works on the table.
        DupeAuditError: a trigger kept deleted rows, the table's columns changed during the cleanup, or the table
            does not exist.
        Interrupted: the user stopped the work; committed batches are safe.
    """
    with step(connection):
        key, relation = catalog.require(connection, key)
        if work_mem:
            require_valid(connection, {"work_mem": work_mem})
        with run_lock(connection, relation.relid, give_up_after=give_up_after):
            relation = catalog.still_named(connection, relation)
            managed = citus.find_citus(connection, relation.relid)
            work = _begin_work(
                connection,
                relation,
                key,
                rule,
                name,
                revision,
                lock_timeout,
                give_up_after,
                of_citus=managed is not None,
            )
            yield from _all_passes(work, work_mem, horizon or Horizon(), managed, leaf)
            ledger.set_state(connection, work.run_id, "clean")


def _begin_work(
    connection: Connection,
    relation: Relation,
    key: UniqueKey,
    rule: CleanupRule,
    name: str | None,
    revision: str | None,
    lock_timeout: str,
    give_up_after: str,
    *,
    of_citus: bool,
) -> CleanupWork:
    """Open a run or continue one; return the work on its table."""
    fragments = fragments_of(connection, relation, key, rule)
    foreign_keys = children.foreign_keys(connection, relation.relid)
    run_id, moving = retry_lock(
        connection,
        partial(
            _open_or_resume, connection, relation, key, name, rule, revision, fragments, foreign_keys, lock_timeout
        ),
        relid=relation.relid,
        name="create the archive",
        lock_timeout=lock_timeout,
        give_up_after=give_up_after,
    )
    work = CleanupWork(
        connection=connection,
        relation=relation,
        lock_timeout=lock_timeout,
        give_up_after=give_up_after,
        holes=run_holes(connection, fragments, relation, rule, run_id, foreign_keys, moving),
        key=key,
        rule=rule,
        run_id=run_id,
        foreign_keys=foreign_keys,
        moving=moving,
        of_citus=of_citus,
    )
    return changes.prepared(work, key) if rule.amends else work


def _all_passes(
    work: CleanupWork,
    work_mem: str | None,
    horizon: Horizon,
    managed: citus.CitusTable | None,
    leaf: Relation | None,
) -> Iterator[Batch]:
    """Clean the table as its kind requires: a tree leaf by leaf, a distributed one shard by shard."""
    if work.relation.is_tree:
        yield from clean_leaves(work, work_mem, work.key, horizon, only=leaf)
    elif managed is None:
        yield from passes(work, work_mem, work.key, horizon)
    elif managed.is_sharded:
        yield from sharded_passes(work, work_mem)
    else:
        with coordinator.listed(work):
            yield from passes(work, work_mem, work.key, Horizon(), mover=coordinator.move)


def _open_or_resume(
    connection: Connection,
    relation: Relation,
    key: UniqueKey,
    name: str | None,
    rule: CleanupRule,
    revision: str | None,
    fragments: dict[str, str],
    foreign_keys: tuple[ForeignKey, ...],
    lock_timeout: str,
) -> tuple[int, tuple[ForeignKey, ...]]:
    choice = ledger.to_clean(str(relation.relid), key, name=name or key.name, revision=revision)
    # In each try, because another session could have prepared a ledger during the wait for a lock.
    continued = ledger.find_run(connection, relation.relid, choice, owner=relation.owner)
    if relation.is_tree:
        fragments = leaf_fragments(fragments, relation)
    with transaction(connection, lock_timeout=lock_timeout):
        if continued:
            run_id = continued.run.id
            ledger.require_continuable(connection, continued.run, relation)
            ledger.resume(connection, run_id, relation.relid, key, rule)
        else:
            run_id = ledger.open_run(connection, relid=relation.relid, key=key, rule=rule, revision=revision)
            ledger.require_unused(connection, run_id)
        archive = ledger.archive_name(run_id)
        if not ledger.relation_exists(connection, archive):
            create_archive(connection, relation, fragments, archive)
            ledger.make_private(connection, archive, relation.owner)
        if relation.is_tree:
            ledger.keep_leaf_names(connection, run_id)
        if rule.changes_rows:
            ledger.keep_images(connection, run_id, relation.owner, fragments)
        ledger.adopt_columns(connection, run_id, relation.relid)
        moving: tuple[ForeignKey, ...] = ()
        if rule.references == "repoint":
            moving = children.open_records(connection, run_id, foreign_keys, relation.owner)
    return run_id, moving
