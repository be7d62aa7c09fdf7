"""Count a distributed table of Citus: each shard on its node, all of them at once, and the sums."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from dupe_audit import citus
from dupe_audit.differences import comparison
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import CleanupRule, Counts, DuplicateReport, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.preflight.counts import Measure, duplicate_findings, estimate, width_findings


def sharded_report(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> DuplicateReport:
    """Report the duplicates of a distributed table, without samples and key values: all rows of a key are on one shard.

    Each count of a shard is as of one moment, but not the same moment on all of them.
    """
    shards = citus.shard_tables(connection, relation.relid, key, rule)
    measure = _measure(connection, shards)
    compared = comparison(connection, relation, key, rule, shards[0].holes)
    # Planner settings do not reach the shards, so a condition on one column could use a corrupt index (H43).
    counted = citus.read_each(connection, shards, "count", pattern=compared.pattern, t_can_repeat="true")
    differences = compared.differences([row for rows in counted for row in rows])
    totals = [rows[0] for rows in counted]
    groups, affected = sum(row.groups for row in totals), sum(row.affected for row in totals)
    divergent_groups = differences.groups if differences else 0
    counts = Counts(
        rows=measure.rows,
        outside_rows=measure.outside_rows,
        null_key_rows=measure.null_key_rows,
        groups=groups,
        extras=affected - groups,
        affected=affected,
        largest_group=max((row.largest_group for row in totals), default=0),
        exact_groups=groups - divergent_groups,
        divergent_groups=divergent_groups,
    )
    findings = [*width_findings(measure.widest_key), *duplicate_findings(key, rule, counts, differences)]
    findings += _uninsertable(connection, shards, relation) if counts.extras else []
    whole = replace(relation, bytes=sum(shard.relation.bytes for shard in shards))
    return DuplicateReport(
        key=key,
        counts=counts,
        estimates=estimate(whole.bytes, measure, counts),
        findings=tuple(findings),
        differs=differences.columns if differences else {},
        suggestion=differences.suggestion if differences else None,
    )


def _measure(connection: Connection, shards: list[citus.ShardTable]) -> Measure:
    measures = [row for (row,) in citus.read_each(connection, shards, "measure")]
    rows = sum(row.rows for row in measures)
    return Measure(
        rows=rows,
        outside_rows=sum(row.outside_rows for row in measures),
        null_key_rows=sum(row.null_key_rows for row in measures),
        widest_key=max((row.widest_key for row in measures), default=0),
        average_key=sum(row.average_key * row.rows for row in measures) / max(rows, 1),
    )


def _uninsertable(connection: Connection, shards: list[citus.ShardTable], relation: Relation) -> list[Finding]:
    """Report the extras that a restore could not put back."""
    extras = {"extras": "({ranked_pairs})", "is_extra": "{relation}.ctid OPERATOR(pg_catalog.=) dupe_audit_extra.e_tid"}
    ranked = [shard.with_holes(ranked_pairs=shard.sql("ranked_pairs")) for shard in shards]
    return [
        finding("cannot-restore", f"{quantity(count, 'extra')}: {subject}", table=relation.name)
        for subject, count in citus.violated(connection, ranked, **extras)
    ]
