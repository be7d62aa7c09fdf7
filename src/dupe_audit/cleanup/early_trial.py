"""Try the changes of a cleanup before an earlier directive of its revision acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.cleanup.change_trial import try_changes
from dupe_audit.cleanup.horizon import key_hash
from dupe_audit.cleanup.work import CleanupWork, run_holes
from dupe_audit.findings import Finding
from dupe_audit.ledger import RecordedRun
from dupe_audit.model import READ_LOCK_TIMEOUT, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import tidy
from dupe_audit.postgres.planner import BATCHING, ranking_settings
from dupe_audit.postgres.session import step
from dupe_audit.postgres.trees import fragments_by_table

_STAGE = "pg_temp.dupe_audit_ahead"


def try_ahead(connection: Connection, key: UniqueKey, rule: CleanupRule, *, work_mem: str | None) -> list[Finding]:
    """Return why rows could not be changed as a rule says if its cleanup began now; the table is only read.

    An interrupted run is judged when it continues, because its own changes count then.

    Args:
        connection: in autocommit.
        key: the table and its columns.
        rule: of a cleanup about which nothing else is wrong.
        work_mem: memory for the ranking's sort, as PostgreSQL writes sizes.
    """
    if not rule.changes_rows:
        return []
    with step(connection):
        key, relation = catalog.require(connection, key)
        latest = ledger.find_latest(connection, relation.relid, key)
        if latest and latest.run.state in ("cleaning", "failed"):
            return []
        tables = fragments_by_table(connection, relation, key, rule)
        works = (_work(connection, table, relation, key, rule, pieces, latest) for table, pieces in tables)
        return [finding for work in works for finding in _try_table(work, key, work_mem)]


def _work(
    connection: Connection,
    table: Relation,
    root: Relation,
    key: UniqueKey,
    rule: CleanupRule,
    pieces: Mapping[str, str],
    latest: RecordedRun | None,
) -> CleanupWork:
    """Return the work on one table that has rows of the key: itself, or a leaf of its tree."""
    holes = run_holes(connection, pieces, root, rule, 0, (), ())
    return CleanupWork(
        connection=connection,
        relation=table,
        root=root,
        lock_timeout=READ_LOCK_TIMEOUT,
        give_up_after=READ_LOCK_TIMEOUT,
        holes={**holes, "relid": str(table.relid), "stage": _STAGE},
        key=key,
        rule=rule,
        run_id=latest.run.id if latest else 0,
        foreign_keys=(),
        moving=(),
    )


def _try_table(work: CleanupWork, key: UniqueKey, work_mem: str | None) -> list[Finding]:
    if work.rule.amends:
        work = replace(work, holes={**work.holes, "t_key_hash": key_hash(work, key)})
    try:
        return try_changes(work, _stage_temporarily(work, work_mem)).findings
    finally:
        tidy(work.connection, work.sql("drop_stage"))


def _stage_temporarily(work: CleanupWork, work_mem: str | None) -> int:
    """Rank the table into a temporary list; return the number of extras."""
    local = ranking_settings(work_mem)
    with work.transaction(local=local):
        work.execute("drop_stage")
        # The list of a run outlives its session. This one is temporary, so it does not need the ledger's schema.
        work.execute("stage", kind="TEMPORARY", t_to_rank=work.holes["t_can_repeat"])
        for name in ("index_stage", "analyze_stage"):
            work.execute(name)
        extras = int(work.execute("count_staged").one().extras)
    if work.rule.divides:
        with work.transaction(local=BATCHING):
            work.execute("add_amend_column")
            work.execute("stage_divergent")
    return extras
