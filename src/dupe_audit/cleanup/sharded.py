"""Clean a distributed table of Citus: a shard is a leaf, an ordinary table on one node.

The list of a shard's extras and its part of the archive are on the same node. A batch is one block that the node
executes as a transaction of its own, so no two-phase commit holds a lock. The ledger on the coordinator cannot be
part of that transaction: it has each batch before its block is sent, and afterwards what the archive has of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row

from dupe_audit import citus, ledger
from dupe_audit.citus import Leaf, ShardFailure, on_shards, read_each
from dupe_audit.cleanup.pace import Pace
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.differences import comparison, divergent_finding
from dupe_audit.errors import Blocked, Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import Batch
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.interrupt import sleep
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.planner import ANYWHERE, BATCHING, RANKING
from dupe_audit.postgres.sqlstates import PASSING
from dupe_audit.statements import fill_known, ident, literal, statement, template

#: numbers of archived rows that each batch has for itself
_ROWS_OF_A_BATCH = 1 << 20


@dataclass(slots=True, kw_only=True)
class _Part:
    """The extras of one shard, in one pass."""

    leaf: Leaf
    holes: Mapping[str, str]
    extras: int = 0
    done: int = 0  #: how many of them were in a batch

    def sql(self, name: str, **more: str) -> str:
        return self.leaf.sql(name, **self.holes, **more)


def create_archive(connection: Connection, relation: Relation, fragments: Mapping[str, str], archive: str) -> None:
    """Create the archive of a run, in an open transaction; that of a distributed table is divided as the table is."""
    execute(connection, fill_known(template("create_archive"), fragments, archive=archive))
    managed = citus.find_citus(connection, relation.relid)
    if managed is None or managed.distribution_column is None:
        execute(connection, fill_known(template("finish_archive"), {}, archive=archive))
        return
    column = managed.distribution_column
    execute(connection, statement("citus_finish_archive", archive=archive, distribution_column=ident(column)))
    names = {"archive": literal(archive), "distribution_column": literal(column), "table": literal(relation.name)}
    execute(connection, statement("citus_distribute_archive", **names))


def sharded_passes(work: CleanupWork, work_mem: str | None) -> Iterator[Batch]:
    """Archive every extra of every shard; yield each round of batches after its commits.

    Raises:
        Refused: divergent groups, or rows that could not be put back; nothing was archived in this pass.
        Blocked: extras stayed locked.
    """
    patience = Patience(work.give_up_after, pause=0.2, growth=2.0)
    pace = Pace(work.rule.batch_size)
    while True:
        archived, spared, problem = 0, 0, ""
        with _staged(work, work_mem) as (parts, connecting):
            for batch, failed in _rounds(work, parts, pace, connecting):
                archived, spared, problem = archived + batch.archived, spared + batch.spared, failed or problem
                yield batch
        if not spared:
            _settle(work)  # a block of an earlier process that began just after the lists were new
            return
        if archived:
            patience.restart()
        elif patience.exhausted:
            raise Blocked(
                f"{quantity(spared, 'extra')} of {work.relation.name} could not be archived within "
                f"{work.give_up_after}: they or their survivors are locked{f' ({problem})' if problem else ''}. "
                "Wait for those sessions or end them, on the node of the shard; then run the same command again: it "
                "continues where it stopped."
            )
        else:
            patience.pause()


@contextmanager
def _staged(work: CleanupWork, work_mem: str | None) -> Iterator[tuple[list[_Part], float]]:
    """Rank every shard; yield its lists, and the seconds that a round takes besides its work."""
    parts = _parts(work)
    local = {"lock_timeout": work.lock_timeout, "row_security": "off", **RANKING}
    local |= {"work_mem": work_mem} if work_mem else {}
    try:
        names = ("drop_stage", "stage", "index_stage", "analyze_stage")
        _command(work, [(part, _stage_sql(part, names, local)) for part in parts])
        _settle(work)  # what blocks of an earlier process have archived; they have ended, for the lists are new
        of = [part.leaf for part in parts]
        started = time.monotonic()
        counts = _read(work, parts, "count_staged")
        connecting = time.monotonic() - started
        for part, count in zip(parts, counts, strict=True):
            part.extras = int(count.extras)
        groups = sum(int(count.groups) for count in counts)
        rows = sum(int(row[0]) for (row,) in read_each(work.connection, of, "count_rows"))
        extras = sum(part.extras for part in parts)
        ledger.record_ranking(work.connection, work.run_id, rows=rows, groups=groups, extras=extras)
        if extras and (objections := [*_divergent(work, parts), *_uninsertable(work, parts)]):
            ledger.set_state(work.connection, work.run_id, "failed")
            raise Refused(objections, lead="Nothing was archived in this pass.")
        yield parts, connecting
    finally:
        on_shards(work.connection, [(part.leaf.shard, part.sql("drop_stage")) for part in parts])


def _parts(work: CleanupWork) -> list[_Part]:
    """Return the shards with the lists and the parts of the archive that belong to them."""
    of = citus.leaves(work.connection, work.relation.relid, work.key, work.rule)
    oid = f"{literal(work.holes['archive'])}::pg_catalog.regclass::pg_catalog.oid"
    archives = citus.shards(work.connection, oid)
    return [
        _Part(
            leaf=leaf,
            holes={
                "stage": ident("dupe_audit", f"stage_{work.run_id}_{leaf.shard.id}"),
                "archive": archive.name,
                "t_to_rank": "true",
                "t_where_staged": ANYWHERE,
            },
        )
        for leaf, archive in zip(of, archives, strict=True)
    ]


def _stage_sql(part: _Part, names: tuple[str, ...], local: Mapping[str, str]) -> str:
    return statement(
        "citus_stage", settings=citus.do_settings(local), **{name: literal(part.sql(name)) for name in names}
    )


def _command(work: CleanupWork, commands: list[tuple[_Part, str]]) -> None:
    """Execute one command per shard.

    Raises:
        ShardFailure: one failed.
    """
    answers = on_shards(work.connection, [(part.leaf.shard, sql) for part, sql in commands])
    for (part, sql), answer in zip(commands, answers, strict=True):
        if not answer.success:
            raise ShardFailure(part.leaf.shard, answer, sql)


def _read(work: CleanupWork, parts: list[_Part], name: str, **more: str) -> list[Row[Any]]:
    queries = [(part.leaf.shard, part.sql(name, **more)) for part in parts]
    return [rows[0] for rows in citus.read(work.connection, queries)]


def _divergent(work: CleanupWork, parts: list[_Part]) -> list[Finding]:
    if work.rule.divergent != "refuse":
        return []
    compared = comparison(work.connection, work.relation, work.key, work.rule, work.holes)
    queries = [(part.leaf.shard, part.sql("divergent", pattern=compared.pattern)) for part in parts]
    rows = [row for rows in citus.read(work.connection, queries) for row in rows]
    differences = compared.differences(rows)
    if differences is None:
        return []
    subject = f"{quantity(differences.groups, 'group')} with {quantity(sum(row.extras for row in rows), 'extra')}"
    return [divergent_finding(work.key, work.rule, differences, subject)]


def _uninsertable(work: CleanupWork, parts: list[_Part]) -> list[Finding]:
    """Look for rows that a restore could not put back."""
    of = [part.leaf.with_holes(**part.holes) for part in parts]
    violated = citus.violated(work.connection, of, extras="(SELECT s.* FROM {stage} s)", is_extra="{is_staged}")
    return [
        finding("cannot-restore", f"{quantity(count, 'extra')}: {subject}", table=work.relation.name)
        for subject, count in violated
    ]


def _rounds(work: CleanupWork, parts: list[_Part], pace: Pace, connecting: float) -> Iterator[tuple[Batch, str]]:
    """Send one batch to every shard at once, until each has had all of its extras; yield with it why one failed."""
    total = sum(part.extras for part in parts)
    while waiting := [part for part in parts if part.done < part.extras]:
        started = time.monotonic()
        first = ledger.next_batch(work.connection, work.run_id)
        last = first + len(waiting) - 1
        execute(
            work.connection,
            statement("citus_enter_batches", run=str(work.run_id), first=str(first), last=str(last)),
        )
        blocks, sizes = [], {}
        for number, part in enumerate(waiting, first):
            low, part.done = part.done + 1, min(part.extras, part.done + pace.size)
            sizes[number] = part.done - low + 1
            blocks.append((part.leaf.shard, _block(work, part, number, low, part.done)))
        answers = on_shards(work.connection, blocks)
        failed = ""
        archived = _settle(work, sizes)
        for (shard, sql), answer in zip(blocks, answers, strict=True):
            if not answer.success:
                if answer.code not in PASSING:
                    raise ShardFailure(shard, answer, sql)
                failed = f"{shard.where}: {answer.message}"
        seconds, size = time.monotonic() - started, sum(sizes.values())
        # The locks of a block last only as long as its work, not as long as its connection takes.
        pace.measure(max(sizes.values()), max(seconds - connecting, 0.001))
        done = sum(part.done for part in parts)
        batch = Batch(
            run_id=work.run_id, archived=archived, spared=size - archived, done=done, total=total, seconds=seconds
        )
        yield batch, failed
        if work.rule.pause and done < total:
            sleep(work.rule.pause)


def _block(work: CleanupWork, part: _Part, number: int, low: int, high: int) -> str:
    """Return the block of one batch."""
    numbered = f", {number * _ROWS_OF_A_BATCH} + pg_catalog.row_number() OVER ()"
    own = {"and_archived_n": ", dupe_audit_id", "and_deleted_n": numbered}
    leaf = part.leaf.with_holes(**part.holes, **own)
    return statement(
        "citus_batch",
        settings=citus.do_settings({"lock_timeout": work.lock_timeout, "row_security": "off", **BATCHING}),
        create_locked=statement("create_locked"),
        lock_rows=literal(leaf.sql("lock_rows", low=str(low), high=str(high))),
        move_rows=literal(leaf.sql("move_rows", batch=str(number))),
        columns_digest=literal(part.leaf.holes["columns_digest"]),
    )


def _settle(work: CleanupWork, sizes: Mapping[int, int] | None = None) -> int:
    """Record what the archive has of batches that the ledger has no result of; return how many rows that is.

    Args:
        sizes: extras of each batch; None for those of an earlier process.
    """
    if sizes is None:
        unsettled = execute(work.connection, statement("citus_unsettled", run=str(work.run_id))).scalars().all()
        sizes = dict.fromkeys(map(int, unsettled), 0)
    if not sizes:
        return 0
    first_id = min(sizes) * _ROWS_OF_A_BATCH
    rows = work.execute("citus_archived_batches", first_id=str(first_id)).all()
    archived = {int(row.number): int(row.archived) for row in rows if int(row.number) in sizes}
    counted = (f"({n}, {archived.get(n, 0)}, {max(size, archived.get(n, 0))})" for n, size in sizes.items())
    with work.transaction():
        work.execute("citus_settle_batches", run=str(work.run_id), counted=", ".join(counted))
        work.execute("citus_sum_batches", run=str(work.run_id))
    return sum(archived.values())
