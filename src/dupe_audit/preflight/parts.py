"""What is counted in one table, or in one leaf of a partitioned one, and what all leaves show together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from dupe_audit import insertable, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.differences import Comparison
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.insertable import Leaving
from dupe_audit.model import CleanupRule, DirtyLeaf, Leaves, Run, Sample, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.planner import SEQUENTIAL
from dupe_audit.preflight.counts import (
    ChildCount,
    Measure,
    collisions,
    compute_order,
    count_children,
    measure_keys,
    read_examples,
    read_groups,
)
from dupe_audit.preflight.samples import read_samples, row_columns, without_key_values
from dupe_audit.statements import fill_known, template

#: groups whose keys are shown
MOST_EXAMPLES = 10


class Details(NamedTuple):
    """What the report shows on request."""

    show_keys: bool
    samples: int
    work_mem: str | None


class CountedTable(NamedTuple):
    """What was counted in one table, which can be a leaf of a tree."""

    table: str  #: qualified and quoted
    measure: Measure
    groups: Sequence[Row[Any]]
    children: list[ChildCount]
    collisions: list[Finding]
    uninsertable: list[Finding]
    examples: tuple[tuple[str, int], ...]
    samples: tuple[Sample, ...]


class Counting(NamedTuple):
    """What the counts of all tables of one report have in common."""

    key: UniqueKey
    rule: CleanupRule
    named: Relation  #: the table of the key; of leaves, the partitioned one
    foreign_keys: Sequence[ForeignKey]  #: that reference it
    compared: Comparison
    details: Details


def count_parts(
    connection: Connection, counting: Counting, tables: Sequence[tuple[Relation, Mapping[str, str]]]
) -> list[CountedTable]:
    """Count the tables of one handful in the open snapshot.

    Args:
        tables: with the pieces of SQL for each.
    """
    pieces = [fragments for _, fragments in tables]
    measures = measure_keys(connection, pieces)
    for fragments in pieces:
        compute_order(connection, fragments, counting.rule)
    groups = read_groups(connection, pieces, counting.compared)
    dirty = [table for table, rows in zip(tables, groups, strict=True) if rows[0].groups]
    findings = _uninsertable(connection, dirty, counting.key, named=counting.named) if dirty else []
    by_relid = {table.relid: of_table for (table, _), of_table in zip(dirty, findings, strict=True)}
    return [
        _part(connection, counting, table, fragments, measure, rows, by_relid.get(table.relid, []))
        for (table, fragments), measure, rows in zip(tables, measures, groups, strict=True)
    ]


def _part(
    connection: Connection,
    counting: Counting,
    table: Relation,
    fragments: Mapping[str, str],
    measure: Measure,
    groups: Sequence[Row[Any]],
    uninsertable: list[Finding],
) -> CountedTable:
    """Return what was counted in one table, and what has to be read of it alone."""
    key, rule, named, foreign_keys, _, details = counting
    dirty = bool(groups[0].groups)
    child_counts = count_children(connection, foreign_keys, fragments, any_extras=dirty)
    repoints = rule.references == "repoint" and rule.exact != "amend" and any(count.rows for count in child_counts)
    samples: tuple[Sample, ...] = ()
    if details.samples and dirty:
        columns = row_columns(connection, named, rule)
        shown = columns if details.show_keys else without_key_values(columns, key, in_tree=named.is_tree)
        samples = read_samples(connection, shown, fragments, details.samples, show_keys=details.show_keys)
    return CountedTable(
        table=table.name,
        measure=measure,
        groups=groups,
        children=child_counts,
        collisions=collisions(connection, table, fragments) if repoints else [],
        uninsertable=uninsertable,
        examples=read_examples(connection, fragments) if details.show_keys and dirty else (),
        samples=samples,
    )


def _uninsertable(
    connection: Connection, tables: Sequence[tuple[Relation, Mapping[str, str]]], key: UniqueKey, *, named: Relation
) -> list[list[Finding]]:
    """Report the extras of each table that a restore could not put back.

    Args:
        tables: with the pieces of SQL for each.
        named: the table of the key; for a leaf, the partitioned one.
    """

    def find_run() -> Run | None:
        try:
            latest = ledger.find_latest(connection, named.relid, key)
        except DupeAuditError:  # a ledger that is not trusted is a finding already
            return None
        return latest.run if latest else None

    leaving = [
        Leaving(
            relid=relation.relid,
            holes=fragments,
            extras=f"({fill_known(template('ranked_pairs'), fragments)})",
            is_extra=f"{fragments['relation']}.ctid OPERATOR(pg_catalog.=) dupe_audit_extra.e_tid",
        )
        for relation, fragments in tables
    ]
    planner = SEQUENTIAL
    violated = insertable.violated(connection, leaving, find_run=find_run, planner=planner)
    return [
        [
            finding("cannot-restore", f"{quantity(count, 'extra')}: {subject}", table=fragments["table"])
            for subject, count in of_table
        ]
        for (_, fragments), of_table in zip(tables, violated, strict=True)
    ]


def leaves_of(parts: Sequence[CountedTable]) -> Leaves:
    """Return the leaves that were counted, and which of them have extras."""
    totals = [(part.table, part.groups[0]) for part in parts]
    dirty = [
        DirtyLeaf(table=table, groups=total.groups, extras=total.affected - total.groups)
        for table, total in totals
        if total.groups
    ]
    return Leaves(count=len(parts), dirty=tuple(sorted(dirty, key=lambda leaf: -leaf.extras)))


def largest(examples: Iterable[tuple[tuple[str, int], ...]]) -> tuple[tuple[str, int], ...]:
    """Return the largest groups of all tables, as many as one table shows."""
    by_size = sorted((group for of_table in examples for group in of_table), key=lambda group: -group[1])
    return tuple(by_size[:MOST_EXAMPLES])


def most_telling(samples: Sequence[tuple[Sample, ...]], count: int) -> tuple[Sample, ...]:
    """Return the samples to show: those of one table in its order; of several leaves, divergent ones first."""
    if len(samples) == 1:
        return samples[0]
    of_leaves = [sample for of_leaf in samples for sample in of_leaf]
    divergent = [sample for sample in of_leaves if sample.differs]
    return tuple(sorted(divergent or of_leaves, key=lambda sample: -sample.rows)[:count])
