"""Rank the table once for each pass of a cleanup, list its extras, and refuse what may not be touched.

The list may be lost in a crash: it is derived again. It belongs to one pass and is gone after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit import children, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.errors import Refused
from dupe_audit.findings import finding, quantity
from dupe_audit.findings.entry import Finding
from dupe_audit.model import CleanupRule
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.postgres.planner import BATCHING, RANKING
from dupe_audit.postgres.session import retrying, transaction
from dupe_audit.statements import fill_known, template


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass works with."""

    connection: Connection
    relation: Relation
    rule: CleanupRule
    run_id: int
    holes: dict[str, str]
    fks: tuple[ForeignKey, ...]  #: all that point at the table
    moving: tuple[ForeignKey, ...]  #: those whose children follow the survivor
    lock_timeout: str
    give_up_after: str

    def sql(self, name: str, **more: str) -> str:
        """Return a statement filled for this table, key and rule."""
        return fill_known(template(name), self.holes, **more)


@contextmanager
def staged(work: Pass, work_mem: str | None) -> Iterator[int]:
    """Stage the extras of one pass; give their number; leave no list behind."""
    drop = f"DROP TABLE IF EXISTS {work.holes['stage']}"
    try:
        yield retrying(
            work.connection,
            lambda: _stage(work, drop, work_mem),
            relid=work.relation.relid,
            what="rank the table",
            lock_timeout=work.lock_timeout,
            give_up_after=work.give_up_after,
        )
    finally:
        tidy(work.connection, drop)
        tidy(work.connection, "DROP TABLE IF EXISTS pg_temp.dupe_audit_locked, pg_temp.dupe_audit_locked_child")


def _stage(work: Pass, drop: str, work_mem: str | None) -> int:
    connection = work.connection
    local = RANKING | ({"work_mem": work_mem} if work_mem else {})
    # One snapshot for the count and the ranking, so that the ledger's arithmetic starts from one moment.
    with transaction(connection, lock_timeout=work.lock_timeout, isolation="REPEATABLE READ", local=local):
        execute(connection, drop)
        execute(connection, work.sql("stage"))
        execute(
            connection, f"ALTER TABLE {work.holes['stage']} ADD PRIMARY KEY (n), ADD COLUMN children bigint DEFAULT 0"
        )
        # A list without statistics made batches thirty times slower: a nested loop over all pairs (measured).
        execute(connection, f"ANALYZE {work.holes['stage']}")
        ledger.make_private(connection, work.holes["stage"], work.relation.owner)
        counted = f"SELECT count(*) AS extras, count(*) FILTER (WHERE place = 2) AS groups FROM {work.holes['stage']}"
        ranked = execute(connection, counted).one()
        extras = int(ranked.extras)
        rows = int(execute(connection, f"SELECT count(*) FROM ONLY {work.holes['table']}").scalar_one())
        ledger.record_ranking(connection, work.run_id, rows=rows, groups=ranked.groups, extras=extras)
    execute(connection, ledger.LOCKED)
    if work.moving:
        execute(connection, children.LOCKED)
    if extras and (refused := [*_divergent(work), *_referenced(work)]):
        ledger.set_state(connection, work.run_id, "failed")
        raise Refused(refused, lead="Nothing was archived in this pass.")
    return extras


def _divergent(work: Pass) -> list[Finding]:
    if work.rule.divergent == "archive":
        return []
    with transaction(work.connection, lock_timeout=work.lock_timeout, local=BATCHING):
        row = execute(work.connection, work.sql("divergent")).one()
    subject = f"{quantity(row.groups, 'group')} with {quantity(row.extras, 'extra')}"
    return [finding("divergent-duplicates", subject)] if row.groups else []


def _referenced(work: Pass) -> list[Finding]:
    """Ask once, before anything is archived; every batch asks again, under its locks (H103)."""
    connection = work.connection
    with transaction(connection, lock_timeout=work.lock_timeout):
        counted = []
        for fk in work.fks:
            row = execute(connection, fk.sql("stage_children", work.holes)).one()
            counted.append((fk, int(row.rows), int(row.unlinked)))
        if work.rule.references == "refuse":
            return [finding("foreign-key-references", fk.rows(rows)) for fk, rows, _ in counted if rows]
        found = children.objections(counted)
        if any(rows for _, rows, _ in counted) and not found:
            found = children.collisions(connection, work.relation.relid, work.sql("staged_pairs"))
    return found
