"""Count the rows, the groups and the children of extras in one snapshot, without trusting an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row

from dupe_audit import children
from dupe_audit.children import ForeignKey
from dupe_audit.differences import Comparison, divergent_finding
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import WIDEST_KEY, CleanupRule, Counts, Differences, Estimates, Reference, UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import SEQUENTIAL
from dupe_audit.postgres.session import settings
from dupe_audit.postgres.trees import execute_each
from dupe_audit.statements import fill_known, template


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What one scan of the table says about its keys."""

    rows: int
    outside_rows: int  #: rows that the key does not cover, because the predicate is not true for them
    null_key_rows: int  #: rows with a NULL in the key, which the constraint does not compare
    widest_key: int  #: bytes
    average_key: float  #: bytes


def measure_keys(connection: Connection, tables: Sequence[Mapping[str, str]]) -> list[Measure]:
    """Scan each table once for the number of its rows and the width of their keys.

    Args:
        tables: the pieces of SQL for each.
    """
    queries = [fill_known(template("measure"), fragments) for fragments in tables]
    # The settings are for this scan alone: a catalog of thousands of tables has to be read with its indexes.
    with settings(connection, SEQUENTIAL, local=True):
        rows = [of_table[0] for of_table in execute_each(connection, queries)]
    return [
        Measure(
            rows=row.rows,
            outside_rows=row.outside_rows,
            null_key_rows=row.null_key_rows,
            widest_key=row.widest_key,
            average_key=row.average_key,
        )
        for row in rows
    ]


def compute_order(connection: Connection, fragments: Mapping[str, str], rule: CleanupRule) -> None:
    """Compute the expressions of the order for every row, as the ranking will.

    Raises:
        sqlalchemy.exc.DBAPIError: one fails for some row.
    """
    values = [f"t_order.o{number}" for number, part in enumerate(rule.orderings, 1) if part.expression]
    if values:
        # Not the settings of the count: a subquery may look into another table by its index.
        execute(connection, fill_known(template("measure_order"), fragments, order_values=", ".join(values)))


def add_up(measures: Sequence[Measure]) -> Measure:
    """Return what the scans of all leaves of a tree say together."""
    rows = sum(measure.rows for measure in measures)
    keys = sum(measure.rows - measure.outside_rows for measure in measures)
    width = sum(measure.average_key * (measure.rows - measure.outside_rows) for measure in measures)
    return Measure(
        rows=rows,
        outside_rows=sum(measure.outside_rows for measure in measures),
        null_key_rows=sum(measure.null_key_rows for measure in measures),
        widest_key=max((measure.widest_key for measure in measures), default=0),
        average_key=width / keys if keys else 0.0,
    )


def read_groups(
    connection: Connection, tables: Sequence[Mapping[str, str]], compared: Comparison
) -> list[Sequence[Row[Any]]]:
    """Count the groups, their rows and the divergent groups of each table; the first row of each has the totals.

    Args:
        tables: the pieces of SQL for each.
    """
    queries = [fill_known(template("count"), fragments, pattern=compared.pattern) for fragments in tables]
    with settings(connection, SEQUENTIAL, local=True):
        return execute_each(connection, queries)


def count_groups(
    groups: Sequence[Sequence[Row[Any]]], measure: Measure, compared: Comparison
) -> tuple[Counts, Differences | None]:
    """Add up the groups of a table, or of all leaves of a tree; also return the columns in which they differ.

    Args:
        groups: the rows of ``read_groups``, per table.
    """
    totals = [rows[0] for rows in groups]
    differences = compared.differences(row for rows in groups for row in rows)
    divergent_groups = differences.groups if differences else 0
    number, affected = sum(total.groups for total in totals), sum(total.affected for total in totals)
    counts = Counts(
        rows=measure.rows,
        outside_rows=measure.outside_rows,
        null_key_rows=measure.null_key_rows,
        groups=number,
        extras=affected - number,
        affected=affected,
        largest_group=max((total.largest_group for total in totals), default=0),
        exact_groups=number - divergent_groups,
        divergent_groups=divergent_groups,
    )
    return counts, differences


def read_examples(connection: Connection, fragments: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Return the key values of the largest groups with their number of rows."""
    with settings(connection, SEQUENTIAL, local=True):
        rows = execute(connection, fill_known(template("examples"), fragments)).all()
    return tuple((row.key, row.rows) for row in rows)


class ChildCount(NamedTuple):
    """The children of extras by one foreign key."""

    foreign_key: ForeignKey
    rows: int
    unlinked: int  #: of them, those whose survivor has no value in the referenced columns


def count_children(
    connection: Connection, foreign_keys: Iterable[ForeignKey], fragments: Mapping[str, str], *, any_extras: bool
) -> list[ChildCount]:
    """Count the children of the extras of one table, per foreign key."""
    pairs = fill_known(template("ranked_pairs"), fragments)
    counted = []
    for foreign_key in foreign_keys:
        rows = unlinked = 0
        if any_extras:
            with settings(connection, SEQUENTIAL, local=True):
                row = execute(connection, foreign_key.sql("count_references", fragments, pairs=pairs)).one()
            rows, unlinked = int(row.rows), int(row.unlinked)
        counted.append(ChildCount(foreign_key, rows, unlinked))
    return counted


def add_up_children(counted: Sequence[Sequence[ChildCount]]) -> list[ChildCount]:
    """Return the children of the extras of all tables of a tree; each has been counted by the same foreign keys."""
    return [
        ChildCount(of_key[0].foreign_key, sum(each.rows for each in of_key), sum(each.unlinked for each in of_key))
        for of_key in zip(*counted, strict=True)
    ]


def references(counted: Sequence[ChildCount]) -> tuple[Reference, ...]:
    """Return the foreign keys to a table with the children of its extras, for the report."""
    return tuple(
        Reference(
            table=foreign_key.child,
            constraint=foreign_key.constraint_name,
            on_delete=foreign_key.on_delete,
            rows=rows,
        )
        for foreign_key, rows, _ in counted
    )


def reference_findings(counted: Sequence[ChildCount], rule: CleanupRule) -> list[Finding]:
    """Report children of extras that the rule refuses, or that cannot follow the survivor."""
    if rule.exact == "amend":  # no row leaves
        return []
    if rule.references == "refuse":
        refused = [foreign_key.rows(rows) for foreign_key, rows, _ in counted if rows]
        return [finding("foreign-key-references", subject) for subject in refused]
    return children.objections(counted)


def collisions(connection: Connection, relation: Relation, fragments: Mapping[str, str]) -> list[Finding]:
    """Report the unique indexes of children that moving them would violate."""
    return children.collisions(connection, relation.relid, fill_known(template("ranked_pairs"), fragments))


def entry_of(key: UniqueKey) -> UniqueKey:
    """Return the key whose width is that of an index entry, included columns among them."""
    return replace(key, columns=tuple(dict.fromkeys((*key.columns, *key.include))), include=())


def width_findings(widest: int) -> list[Finding]:
    """Return a finding if an index entry of *widest* bytes is too wide for a btree."""
    return [finding("key-too-wide", f"{widest:,}")] if widest > WIDEST_KEY else []


def duplicate_findings(
    key: UniqueKey, rule: CleanupRule, counts: Counts, differences: Differences | None
) -> list[Finding]:
    """Return the findings about the duplicates themselves."""
    if not counts.groups:
        return []
    groups, extras = quantity(counts.groups, "group"), quantity(counts.extras, "extra")
    duplicates = finding("duplicates", f"Duplicates found in {key}: {groups}, {extras} to {rule.verb}")
    findings = [replace(duplicates, help=_advice(rule) or duplicates.help)]
    if differences and rule.divergent == "refuse":
        findings.append(divergent_finding(key, rule, differences, f"{differences.groups:,} of {groups}"))
    return findings


def _advice(rule: CleanupRule) -> str | None:
    """Return what to do about duplicates under a rule that does not only archive; None for any other."""
    if rule.divides:
        return (
            "Let the upgrade archive exact copies and change the other extras before it adds the constraint: "
            "op.archive_duplicates(…, divergent='amend', set_={…}). The downgrade restores both."
        )
    if rule.amends:
        return (
            "Let the upgrade change the extras before it adds the constraint: op.amend_duplicates(…). No row leaves "
            "the table; the downgrade changes them back."
        )
    if rule.merges:
        return (
            "Let the upgrade archive the extras and merge their values before it adds the constraint: "
            "op.archive_duplicates(…, merge={…}). The downgrade restores both."
        )
    return None


def estimate(table_bytes: int, measure: Measure, counts: Counts) -> Estimates:
    """Estimate the size of the index, the archive and the sort.

    Args:
        table_bytes: size of the table.
    """
    rows, keys = max(measure.rows, 1), measure.rows - measure.outside_rows
    # An index entry has 8 bytes of header and 4 of line pointer around the aligned key; leaves are filled to 90 %.
    entry = 12 + 8 * (measure.average_key // 8 + 1)
    # A sort stores about 16 bytes of header with each key, and spills what work_mem cannot hold. It is smaller if only
    # some rows are compared by the whole key.
    return Estimates(
        index_bytes=int(keys * entry / 0.9),
        archive_bytes=int(counts.extras * (table_bytes / rows + 64)),
        temp_bytes=int(keys * (measure.average_key + 40)),
    )
