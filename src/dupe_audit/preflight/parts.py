"""What is counted in one table, or in one leaf of a partitioned one, and what all leaves show together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from dupe_audit.children import ForeignKey
from dupe_audit.differences import Comparison
from dupe_audit.findings import Finding
from dupe_audit.model import CleanupRule, Sample, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.preflight.counts import (
    ChildCount,
    Measure,
    collisions,
    compute_order,
    count_children,
    measure_keys,
    read_examples,
    read_groups,
    uninsertable,
)
from dupe_audit.preflight.samples import read_samples, row_columns, without_key_values

#: groups whose keys are shown
MOST_EXAMPLES = 10


class Details(NamedTuple):
    """What the report shows on request."""

    show_keys: bool
    samples: int
    work_mem: str | None


class Part(NamedTuple):
    """What was counted in one table, which can be a leaf of a tree."""

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


def count_part(connection: Connection, counting: Counting, table: Relation, fragments: Mapping[str, str]) -> Part:
    """Count one table in the open snapshot."""
    key, rule, named, foreign_keys, compared, details = counting
    measure = measure_keys(connection, fragments)
    compute_order(connection, fragments, rule)
    groups = read_groups(connection, fragments, compared)
    dirty = bool(groups[0].groups)
    child_counts = count_children(connection, foreign_keys, fragments, any_extras=dirty)
    repoints = rule.references == "repoint" and rule.exact != "amend" and any(count.rows for count in child_counts)
    samples: tuple[Sample, ...] = ()
    if details.samples and dirty:
        columns = row_columns(connection, named, rule)
        shown = columns if details.show_keys else without_key_values(columns, key)
        samples = read_samples(connection, shown, fragments, details.samples, show_keys=details.show_keys)
    return Part(
        measure=measure,
        groups=groups,
        children=child_counts,
        collisions=collisions(connection, named, fragments) if repoints else [],
        uninsertable=uninsertable(connection, table, key, fragments, named=named) if dirty else [],
        examples=read_examples(connection, fragments) if details.show_keys and dirty else (),
        samples=samples,
    )


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
