"""The extras of a distributed table of Citus, a list per shard on its node, and what forbids moving them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit import citus, ledger
from dupe_audit.citus import ShardFailure, ShardTable, on_shards
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.differences import comparison, divergent_finding
from dupe_audit.errors import Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import ANYWHERE, ranking_settings
from dupe_audit.statements import fill_known, ident, literal, statement, template


@dataclass(slots=True, kw_only=True)
class ShardExtras:
    """The extras of one shard, in one pass."""

    table: ShardTable
    holes: Mapping[str, str]
    extras: int = 0
    done: int = 0  #: how many of them were in a batch
    is_wide: bool = False  #: whether the shard has values that are too wide for its pages

    def sql(self, name: str, **more: str) -> str:
        """Return a statement filled for this shard, its list and its part of the archive."""
        return self.table.sql(name, **self.holes, **more)


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


@contextmanager
def staged(work: CleanupWork, work_mem: str | None) -> Iterator[tuple[list[ShardExtras], float]]:
    """Rank every shard; yield its lists, and the seconds that a round takes besides its work.

    Raises:
        Refused: rows that the run can reach now are divergent, or could not be inserted again.
    """
    parts = _parts(work)
    local = {"lock_timeout": work.lock_timeout, "row_security": "off", **ranking_settings(work_mem)}
    try:
        _stage(work, parts, local)
        connecting = _count(work, parts)
        if any(part.extras for part in parts) and (
            objections := [*_divergent(work, parts), *_uninsertable(work, parts)]
        ):
            ledger.set_state(work.connection, work.run_id, "failed")
            raise Refused(objections, lead="Nothing was archived in this pass.")
        yield parts, connecting
    finally:
        with suppress(Exception):  # a lost connection; the next pass drops them
            on_shards(work.connection, [(part.table.shard, part.sql("drop_stage")) for part in parts])


def _parts(work: CleanupWork) -> list[ShardExtras]:
    """Return the shards with the lists and the parts of the archive that belong to them."""
    tables = citus.shard_tables(work.connection, work.relation.relid, work.key, work.rule)
    citus.require_trusted_nodes(work.connection, [table.shard for table in tables], work.run_id)
    archives = citus.shards_beside(work.connection, work.relation, work.holes["archive"])
    return [
        ShardExtras(
            table=table,
            holes={
                "stage": ledger.shard_stage_name(work.run_id, table.shard.id),
                "archive": archive.name,
                "t_to_rank": table.holes["t_can_repeat"],
                "where_staged": ANYWHERE,
            },
        )
        for table, archive in zip(tables, archives, strict=True)
    ]


def _stage(work: CleanupWork, parts: list[ShardExtras], local: Mapping[str, str]) -> None:
    """List the extras of every shard.

    Raises:
        ShardFailure: one could not be ranked.
    """
    settings = citus.do_settings(local)
    blocks = []
    for part in parts:
        sql = statement(
            "citus_stage",
            settings=settings,
            drop_stage=literal(part.sql("drop_stage")),
            stage=literal(part.sql("stage", kind="UNLOGGED")),
            index_stage=literal(part.sql("index_stage")),
            analyze_stage=literal(part.sql("analyze_stage")),
        )
        blocks.append((part.table.shard, sql))
    for (shard, sql), answer in zip(blocks, on_shards(work.connection, blocks), strict=True):
        if not answer.success:
            raise ShardFailure(shard, answer, sql)


def _count(work: CleanupWork, parts: list[ShardExtras]) -> float:
    """Count the lists and the rows, and record them; return the seconds that a short query takes on every shard."""
    started = time.monotonic()
    counts = [row for (row,) in citus.read(work.connection, [(p.table.shard, p.sql("count_staged")) for p in parts])]
    connecting = time.monotonic() - started
    for part, count in zip(parts, counts, strict=True):
        part.extras = int(count.extras)
    staged = [part for part in parts if part.extras]
    for part, (row,) in zip(
        staged, citus.read_each(work.connection, [p.table for p in staged], "toasted"), strict=True
    ):
        part.is_wide = bool(row[0])
    rows = sum(int(row[0]) for (row,) in citus.read_each(work.connection, [part.table for part in parts], "count_rows"))
    groups, extras = sum(int(count.groups) for count in counts), sum(part.extras for part in parts)
    ledger.record_ranking(work.connection, work.run_id, rows=rows, groups=groups, extras=extras)
    return connecting


def _divergent(work: CleanupWork, parts: list[ShardExtras]) -> list[Finding]:
    if work.rule.divergent != "refuse":
        return []
    compared = comparison(work.connection, work.relation, work.key, work.rule, work.holes)
    queries = [(part.table.shard, part.sql("divergent", pattern=compared.pattern)) for part in parts]
    rows = [row for rows in citus.read(work.connection, queries) for row in rows]
    differences = compared.differences(rows)
    if differences is None:
        return []
    subject = f"{quantity(differences.groups, 'group')} with {quantity(sum(row.extras for row in rows), 'extra')}"
    return [divergent_finding(work.key, work.rule, differences, subject)]


def _uninsertable(work: CleanupWork, parts: list[ShardExtras]) -> list[Finding]:
    """Look for rows that a restore could not put back."""
    tables = [part.table.with_holes(**part.holes) for part in parts]
    violated = citus.violated(work.connection, tables, extras="(SELECT s.* FROM {stage} s)", is_extra="{is_staged}")
    return [
        finding("cannot-restore", f"{quantity(count, 'extra')}: {subject}", table=work.relation.name)
        for subject, count in violated
    ]
