"""Count the rows, the groups and the children of extras in one snapshot, without trusting an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from dupe_audit import children, insertable, ledger
from dupe_audit.differences import Comparison, divergent_finding
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import WIDEST_KEY, CleanupRule, Counts, Differences, Estimates, Reference, Run, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import COUNTING
from dupe_audit.postgres.session import settings
from dupe_audit.statements import fill_known, template


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """What one scan of the table says about its keys."""

    rows: int
    outside_rows: int  #: rows that the key does not cover, because the predicate is not true for them
    null_key_rows: int  #: rows with a NULL in the key, which the constraint does not compare
    widest_key: int  #: bytes
    average_key: float  #: bytes


def measure_keys(connection: Connection, fragments: Mapping[str, str]) -> Measure:
    """Scan the table once for the number of its rows and the width of their keys."""
    # The settings are for this scan alone: a catalog of thousands of tables has to be read with its indexes.
    with settings(connection, COUNTING, local=True):
        return Measure(**execute(connection, fill_known(template("measure"), fragments)).mappings().one())


def compute_order(connection: Connection, fragments: Mapping[str, str], rule: CleanupRule) -> None:
    """Compute the expressions of the order for every row, as the ranking will.

    Raises:
        sqlalchemy.exc.DBAPIError: one fails for some row.
    """
    values = [f"t_order.o{number}" for number, part in enumerate(rule.orderings, 1) if part.expression]
    if values:
        # Not the settings of the count: a subquery may look into another table by its index.
        execute(connection, fill_known(template("measure_order"), fragments, order_values=", ".join(values)))


def count_groups(
    connection: Connection, fragments: Mapping[str, str], measure: Measure, compared: Comparison
) -> tuple[Counts, Differences | None]:
    """Count the groups, their rows and the divergent groups; also return the columns in which these differ."""
    with settings(connection, COUNTING, local=True):
        rows = execute(connection, fill_known(template("count"), fragments, pattern=compared.pattern)).all()
    total, differences = rows[0], compared.differences(rows)
    divergent_groups = differences.groups if differences else 0
    counts = Counts(
        rows=measure.rows,
        outside_rows=measure.outside_rows,
        null_key_rows=measure.null_key_rows,
        groups=total.groups,
        extras=total.affected - total.groups,
        affected=total.affected,
        largest_group=total.largest_group,
        exact_groups=total.groups - divergent_groups,
        divergent_groups=divergent_groups,
    )
    return counts, differences


def read_examples(connection: Connection, fragments: Mapping[str, str]) -> tuple[tuple[str, int], ...]:
    """Return the key values of the largest groups with their number of rows."""
    with settings(connection, COUNTING, local=True):
        rows = execute(connection, fill_known(template("examples"), fragments)).all()
    return tuple((row.key, row.rows) for row in rows)


def count_references(
    connection: Connection, relation: Relation, fragments: Mapping[str, str], counts: Counts, rule: CleanupRule
) -> tuple[tuple[Reference, ...], list[Finding]]:
    """Count the children of extras; report those that the rule refuses, or that cannot follow the survivor."""
    pairs = fill_known(template("ranked_pairs"), fragments)
    child_counts = []
    for foreign_key in children.foreign_keys(connection, relation.relid):
        rows = unlinked = 0
        if counts.extras:
            # A hash join is the better plan here: the child can be large.
            with settings(connection, {**COUNTING, "enable_hashjoin": "on"}, local=True):
                row = execute(connection, foreign_key.sql("count_references", fragments, pairs=pairs)).one()
            rows, unlinked = int(row.rows), int(row.unlinked)
        child_counts.append((foreign_key, rows, unlinked))
    references = tuple(
        Reference(
            table=foreign_key.child,
            constraint=foreign_key.constraint_name,
            on_delete=foreign_key.on_delete,
            rows=rows,
        )
        for foreign_key, rows, _ in child_counts
    )
    if rule.references == "refuse":
        refused = [foreign_key.rows(rows) for foreign_key, rows, _ in child_counts if rows]
        return references, [finding("foreign-key-references", subject) for subject in refused]
    findings = children.objections(child_counts)
    if any(rows for _, rows, _ in child_counts):
        findings += children.collisions(connection, relation.relid, pairs)
    return references, findings


def uninsertable(
    connection: Connection, relation: Relation, key: UniqueKey, fragments: Mapping[str, str], counts: Counts
) -> list[Finding]:
    """Report the extras that a restore could not put back."""
    if not counts.extras:
        return []

    def find_run() -> Run | None:
        try:
            latest = ledger.find_latest(connection, relation.relid, key)
        except DupeAuditError:  # a ledger that is not trusted is a finding already
            return None
        return latest.run if latest else None

    pairs = fill_known(template("ranked_pairs"), fragments)
    with settings(connection, {**COUNTING, "enable_hashjoin": "on"}, local=True):
        return insertable.objections(
            connection,
            relation.relid,
            fragments,
            find_run=find_run,
            extras=f"({pairs})",
            is_extra=f"{fragments['relation']}.ctid OPERATOR(pg_catalog.=) dupe_audit_extra.e_tid",
        )


def widest_entry(connection: Connection, relation: Relation, key: UniqueKey, rule: CleanupRule) -> int:
    """Return the bytes of the widest index entry, included columns among them."""
    entry = replace(key, columns=tuple(dict.fromkeys((*key.columns, *key.include))), include=())
    return measure_keys(connection, catalog.fragments(connection, relation, entry, rule)).widest_key


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


def estimate(relation: Relation, measure: Measure, counts: Counts) -> Estimates:
    """Estimate the size of the index, the archive and the sort."""
    rows, keys = max(measure.rows, 1), measure.rows - measure.outside_rows
    # An index entry has 8 bytes of header and 4 of line pointer around the aligned key; leaves are filled to 90 %.
    entry = 12 + 8 * (measure.average_key // 8 + 1)
    # A sort stores about 16 bytes of header with each key, and spills what work_mem cannot hold.
    return Estimates(
        index_bytes=int(keys * entry / 0.9),
        archive_bytes=int(counts.extras * (relation.bytes / rows + 64)),
        temp_bytes=int(keys * (measure.average_key + 40)),
    )
