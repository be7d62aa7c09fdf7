"""Rank the table, or its newer keys, once per pass; list the extras, and refuse those that must not be removed.

The list may be lost in a crash: it is derived again. It belongs to one pass and is dropped after it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from dupe_audit import children, insertable, ledger
from dupe_audit.cleanup import changes
from dupe_audit.cleanup.change_trial import try_changes
from dupe_audit.cleanup.horizon import WHOLE_TABLE, Ranking
from dupe_audit.cleanup.work import CleanupWork
from dupe_audit.differences import comparison, divergent_finding
from dupe_audit.errors import Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.insertable import Leaving
from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.postgres.planner import BATCHING, ranking_settings
from dupe_audit.statements import statement


@contextmanager
def staged(
    work: CleanupWork,
    work_mem: str | None,
    *,
    to_rank: str = WHOLE_TABLE,
    unmoved: bool = False,
    judged_only: bool = False,
) -> Iterator[Ranking]:
    """Stage the extras of one pass and yield what the ranking has found; drop the list afterwards.

    Args:
        work_mem: memory for the ranking's sort.
        to_rank: the condition of the rows ``t`` that are ranked.
        unmoved: whether the pass archives only rows that are still where the ranking saw them.
        judged_only: whether nothing is archived from this list.

    Raises:
        Refused: divergent groups or references, which the rule refuses.
        Blocked: the table stayed locked.
    """
    try:
        what = "the table" if work.leaf is None else work.relation.name
        ranking = work.retry(lambda: _stage(work, work_mem, to_rank, unmoved=unmoved), f"rank {what}")
        if not judged_only:
            execute(work.connection, statement("create_locked"))
            if work.moving:
                execute(work.connection, statement("create_locked_children"))
        yield ranking
    finally:
        tidy(work.connection, work.sql("drop_stage"))
        if not judged_only:
            tidy(work.connection, statement("drop_locked"))


def _stage(work: CleanupWork, work_mem: str | None, to_rank: str, *, unmoved: bool) -> Ranking:
    started, whole = time.monotonic(), to_rank == WHOLE_TABLE
    local = ranking_settings(work_mem)
    # One snapshot for the count and the ranking, so that the ledger's arithmetic starts from one moment.
    with work.transaction(isolation="REPEATABLE READ", local=local):
        work.execute("drop_stage")
        work.execute("stage", kind="UNLOGGED", t_to_rank=work.holes["t_can_repeat"] if whole else to_rank)
        for name in ("index_stage", "analyze_stage"):
            work.execute(name)
        ledger.make_private(work.connection, work.holes["stage"], work.relation.owner)
        staged_counts = work.execute("count_staged").one()
        extras = int(staged_counts.extras)
        # Only the run's first ranking needs the number of rows, and that is one of the whole table.
        rows = int(work.execute("count_rows").scalar_one()) if whole else None
        oldest = str(execute(work.connection, statement("oldest_transaction")).scalar_one())
    seconds = time.monotonic() - started
    # In its own transaction: the ranking's snapshot is older than what another process may have recorded of this run.
    work.record_ranking(rows=rows, groups=staged_counts.groups, extras=extras)
    if work.rule.divides:
        with work.transaction(local=BATCHING):
            work.execute("add_amend_column")
            work.execute("stage_divergent")
    if work.continues:
        with work.transaction(local=BATCHING):
            work.execute("continue_numbers")
    collides = arrived = False
    if extras:
        objections = [*_divergent(work), *_uninsertable(work, unmoved=unmoved), *_referenced(work)]
        trial = try_changes(work, extras)
        if objections or trial.findings:
            ledger.set_state(work.connection, work.run_id, "failed")
            raise Refused([*objections, *trial.findings], lead="Nothing was archived or changed in this pass.")
        collides = trial.collides
        arrived = collides and changes.have_arrived(work)
    return Ranking(extras, whole, seconds, oldest, collides, arrived)


def _divergent(work: CleanupWork) -> list[Finding]:
    if work.rule.divergent != "refuse":
        return []
    with work.transaction(local=BATCHING):
        compared = comparison(work.connection, work.relation, work.key, work.rule, work.holes)
        rows = work.execute("divergent", pattern=compared.pattern).all()
    differences = compared.differences(rows)
    if differences is None:
        return []
    extras = sum(row.extras for row in rows)
    subject = f"{quantity(differences.groups, 'group')} with {quantity(extras, 'extra')}"
    return [divergent_finding(work.key, work.rule, differences, subject)]


def _uninsertable(work: CleanupWork, *, unmoved: bool) -> list[Finding]:
    """Look for rows that a restore could not put back, or not change back (H131)."""
    # Looked up by position, a row costs half as much as by its primary key.
    relation = work.holes["relation"]
    at_its_place = f"{relation}.ctid OPERATOR(pg_catalog.=) dupe_audit_extra.e_tid AND " if unmoved else ""
    leaving_or_changing = {"extra": f"(SELECT s.* FROM {work.holes['stage']} s)"}
    if work.rule.merges:
        leaving_or_changing["survivor"] = work.sql("staged_survivors")
    with work.transaction(local=BATCHING):
        violated = [
            (quantity(count, what), subject)
            for what, rows in leaving_or_changing.items()
            for subject, count in insertable.violated(
                work.connection,
                [Leaving(work.relation.relid, work.holes, rows, at_its_place + work.holes["is_staged"])],
                find_run=work.find_run,
            )[0]
        ]
    return [finding("cannot-restore", f"{rows}: {subject}", table=work.relation.name) for rows, subject in violated]


def _referenced(work: CleanupWork) -> list[Finding]:
    """Look for references once, before anything is archived; each batch looks again, under its locks (H103)."""
    if work.rule.exact == "amend" or not work.foreign_keys:
        return []
    with work.transaction():
        counts = []
        for foreign_key in work.foreign_keys:
            name = "citus_count_children" if work.of_citus else "stage_children"
            row = execute(
                work.connection, foreign_key.sql(name, work.holes, referencing=foreign_key.holes["source"])
            ).one()
            counts.append((foreign_key, int(row.rows), int(row.unlinked)))
        if work.rule.references == "refuse":
            return [
                finding("foreign-key-references", foreign_key.rows(rows)) for foreign_key, rows, _ in counts if rows
            ]
        findings = children.objections(counts)
        if any(rows for _, rows, _ in counts) and not findings:
            findings = children.collisions(work.connection, work.relation.relid, work.sql("staged_pairs"))
    return findings
