"""Count and classify duplicates, and prove everything else possible, before the first row is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from dupe_audit import children
from dupe_audit.findings import CATALOGUE, FindingId, finding, finding_id, quantity
from dupe_audit.findings.entry import Finding
from dupe_audit.model import WIDEST_KEY, CleanupRule, Counts, DuplicateReport, Estimates, Reference, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute, pooler
from dupe_audit.postgres.planner import COUNTING
from dupe_audit.postgres.session import settings, step, transaction
from dupe_audit.statements import fill_known, literal, statement, template, text_array

#: findings after which the table cannot be counted at all
UNCOUNTABLE: set[FindingId] = {
    "table-missing",
    "column-missing",
    "not-a-table",
    "partitioned-table",
    "no-equality",
    "row-security",
    "virtual-column",
}

#: a superuser or reader may count what only the owner can change
_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    rows: int
    null_key_rows: int
    widest_key: int
    average_key: float


def preflight(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule | None = None,
    *,
    accept: Collection[str] = (),
    show_keys: bool = False,
    work_mem: str | None = None,
) -> DuplicateReport:
    """Report what the upgrade would meet, from one snapshot, in a read-only transaction.

    Args:
        rule: the cleanup that is planned; without one the defaults count (keep the first by primary key,
            refuse divergent groups).
        accept: ids of acceptable findings that a person takes responsibility for.
        show_keys: whether to read the key values of the largest groups.
        work_mem: memory for the count's sort, as PostgreSQL writes sizes.

    Raises:
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    rule = rule or CleanupRule()
    memory = {"work_mem": work_mem} if work_mem else {}
    consistent = transaction(connection, lock_timeout="5s", isolation="REPEATABLE READ", read_only=True, local=memory)
    with step(connection), consistent:
        found = catalog.find(connection, key)
        if found is None:
            return DuplicateReport(key=key, counts=None, findings=(finding("table-missing", str(key)),))
        key, relation = found
        findings = _catalog_findings(connection, key, relation, rule)
        if UNCOUNTABLE & {f.id for f in findings}:
            return DuplicateReport(key=key, counts=None, findings=_sorted(findings, accept))
        holes = catalog.fragments(connection, relation, key, rule)
        measure = _measure(connection, holes)
        widest = _widest(connection, relation, key, rule) if key.include else measure.widest_key
        counts = _count(connection, holes, measure)
        references, dependent = _references(connection, relation, holes, counts, rule)
        examples: tuple[tuple[str, int], ...] = ()
        if show_keys and counts.groups:
            with settings(connection, COUNTING, local=True):
                rows = execute(connection, fill_known(template("examples"), holes)).all()
            examples = tuple((row.key, row.rows) for row in rows)
    findings += [*_width_finding(widest), *_duplicate_findings(counts, rule), *dependent]
    return DuplicateReport(
        key=key,
        counts=counts,
        estimates=_estimates(relation, measure, counts),
        references=references,
        findings=_sorted(findings, accept),
        examples=examples,
    )


def blockers(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    accept: Collection[str] = (),
    measure_keys: bool = True,
) -> list[Finding]:
    """Return the findings that forbid the change, without counting: the catalog and one scan of the keys' width.

    The scan can be left out where a cleanup has just made it. Indexes are judged where the key has a constraint's
    name; a cleanup by itself builds none.
    """
    with step(connection):
        found = catalog.find(connection, key)
        if found is None:
            return [finding("table-missing", str(key))]
        key, relation = found
        findings = _catalog_findings(connection, key, relation, rule)
        if measure_keys and not UNCOUNTABLE & {f.id for f in findings}:
            with transaction(connection, lock_timeout="5s", read_only=True):
                widest = _widest(connection, relation, key, rule)
            findings += _width_finding(widest)
    forbidden = [f for f in _sorted(findings, accept) if f.severity == "error"]
    return [f for f in forbidden if key.name or f.id != "invalid-index"]


def _catalog_findings(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    default_read_only = execute(
        connection, "SELECT pg_catalog.current_setting('default_transaction_read_only')::bool"
    ).scalar_one()
    rows = execute(
        connection,
        statement(
            "blockers",
            relid=str(relation.relid),
            key=text_array(key.columns),
            named=text_array((*key.include, *rule.order_by, *rule.ignore)),
            constraint_name=literal(key.name),
            nulls_not_distinct=literal(key.nulls_not_distinct),
            default_read_only=literal(bool(default_read_only)),
        ),
    )
    findings = [finding(finding_id(row.id), row.subject, table=relation.name) for row in rows]
    if rule.references == "repoint":
        findings += children.triggers(connection, relation.relid)
    if through := pooler(connection):
        findings.append(finding("transaction-pooler", through))
    if not UNCOUNTABLE & {f.id for f in findings}:
        findings += _index_findings(connection, key, relation)
    return findings


def _index_findings(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    findings = _named_index_findings(connection, key, relation) if key.name else []
    if builder := execute(connection, statement("builders", relid=str(relation.relid))).scalar():
        findings = [finding("live-build", builder, table=relation.name)]
    others = statement(
        "other_indexes",
        relid=str(relation.relid),
        key=text_array(key.columns),
        constraint_name=literal(key.name),
        nulls_not_distinct=literal(key.nulls_not_distinct),
    )
    for other in execute(connection, others):
        subject = f"Constraint {other.constraint_name}" if other.constraint_name else f"Index {other.name}"
        if not other.valid:
            findings.append(finding("invalid-index", other.name))
        elif other.same_key and other.immediate:
            # Without a name nothing is to be built, so another index is no rival.
            findings.append(
                finding("equivalent-index" if key.name else "already-enforced", subject, table=relation.name)
            )
        elif other.stricter:
            findings.append(finding("stricter-index", subject))
    return findings


def _named_index_findings(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    state = catalog.index_state(connection, relation.relid, key)
    if state is None:
        return []
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        return [finding("wrong-definition", key.name, table=relation.name)]
    if not state.valid:
        return [finding("invalid-index", key.name)]
    return [finding("already-enforced", f"Constraint {key.name}")] if state.constraint == key.name else []


def _measure(connection: Connection, holes: dict[str, str]) -> _Measure:
    # For the scan alone: the catalog of a database with thousands of tables is not to be read without indexes.
    with settings(connection, COUNTING, local=True):
        return _Measure(**execute(connection, fill_known(template("measure"), holes)).mappings().one())


def _count(connection: Connection, holes: dict[str, str], measure: _Measure) -> Counts:
    with settings(connection, COUNTING, local=True):
        row = execute(connection, fill_known(template("count"), holes)).one()
    return Counts(
        rows=measure.rows,
        null_key_rows=measure.null_key_rows,
        groups=row.groups,
        extras=row.affected - row.groups,
        affected=row.affected,
        largest_group=row.largest_group,
        exact_groups=row.groups - row.divergent_groups,
        divergent_groups=row.divergent_groups,
    )


def _references(
    connection: Connection, relation: Relation, holes: dict[str, str], counts: Counts, rule: CleanupRule
) -> tuple[tuple[Reference, ...], list[Finding]]:
    """Count the children of extras; say why the rule refuses them, or why they cannot follow the survivor."""
    pairs = fill_known(template("ranked_pairs"), holes)
    counted = []
    for fk in children.foreign_keys(connection, relation.relid):
        rows = unlinked = 0
        if counts.extras:
            # A hash join is the better plan here: a child can be large.
            with settings(connection, {**COUNTING, "enable_hashjoin": "on"}, local=True):
                row = execute(connection, fk.sql("count_references", holes, pairs=pairs)).one()
            rows, unlinked = int(row.rows), int(row.unlinked)
        counted.append((fk, rows, unlinked))
    references = tuple(
        Reference(table=fk.child, constraint=fk.constraint_name, on_delete=fk.on_delete, rows=rows)
        for fk, rows, _ in counted
    )
    if rule.references == "refuse":
        return references, [finding("foreign-key-references", fk.rows(rows)) for fk, rows, _ in counted if rows]
    found = children.objections(counted)
    if any(rows for _, rows, _ in counted):
        found += children.collisions(connection, relation.relid, pairs)
    return references, found


def _widest(connection: Connection, relation: Relation, key: UniqueKey, rule: CleanupRule) -> int:
    """Return the bytes of the widest entry, with the columns that the index only carries."""
    entry = replace(key, columns=tuple(dict.fromkeys((*key.columns, *key.include))), include=())
    return _measure(connection, catalog.fragments(connection, relation, entry, rule)).widest_key


def _width_finding(widest: int) -> list[Finding]:
    return [finding("key-too-wide", f"{widest:,}")] if widest > WIDEST_KEY else []


def _duplicate_findings(counts: Counts, rule: CleanupRule) -> list[Finding]:
    if not counts.groups:
        return []
    groups, extras = quantity(counts.groups, "group"), quantity(counts.extras, "extra")
    findings = [finding("duplicates", f"Duplicates found: {groups}, {extras} to archive")]
    if counts.divergent_groups and rule.divergent == "refuse":
        findings.append(finding("divergent-duplicates", f"{counts.divergent_groups:,} of {groups}"))
    return findings


def _estimates(relation: Relation, measure: _Measure, counts: Counts) -> Estimates:
    rows = max(measure.rows, 1)
    # An index entry: 8 bytes of header and 4 of line pointer around the aligned key; leaves are filled to 90 %.
    entry = 12 + 8 * (measure.average_key // 8 + 1)
    # A sort keeps about 16 bytes of header with each key, and spills what work_mem cannot hold.
    return Estimates(
        index_bytes=int(measure.rows * entry / 0.9),
        archive_bytes=int(counts.extras * (relation.bytes / rows + 64)),
        temp_bytes=int(measure.rows * (measure.average_key + 40)),
    )


def _sorted(findings: Iterable[Finding], accept: Collection[str]) -> tuple[Finding, ...]:
    """Return findings, the worst first; an accepted one is a warning."""
    told = [
        Finding(id=f.id, severity="warning", message=f.message, help=f.help)
        if f.id in accept and CATALOGUE[f.id].acceptable
        else f
        for f in dict.fromkeys(findings)
    ]
    return tuple(sorted(told, key=lambda f: _ORDER[f.severity]))
