"""What the catalog says against cleaning a key or enforcing it; nothing is counted here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from dupe_audit import children, ledger
from dupe_audit.findings import Finding, FindingId, finding, finding_id, missing_column
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.preflight.equivalents import equivalents
from dupe_audit.preflight.expressions import value_types
from dupe_audit.preflight.index_advice import advice, advice_if_stricter
from dupe_audit.preflight.server import pooler_findings
from dupe_audit.preflight.trees import tree_findings
from dupe_audit.statements import literal, statement, text_array

#: findings after which the table cannot be counted at all
UNCOUNTABLE: set[FindingId] = {
    "table-missing",
    "column-missing",
    "not-a-table",
    "citus-table",
    "timescaledb-table",
    "partition-key-expression",
    "detach-pending",
    "partition-owner",
    "foreign-partition",
    "no-equality",
    "row-security",
    "virtual-column",
    "expression-invalid",
    "not-immutable",
    "volatile-order",
    "constant-expression",
    "predicate-never-true",
}


def countable(findings: list[Finding]) -> bool:
    """Return whether the table can be counted in spite of these findings."""
    return not any(finding.id in UNCOUNTABLE for finding in findings)


def beside(rule: CleanupRule) -> set[FindingId]:
    """Return the findings about statements that a cleanup by this rule does not execute."""
    beside: set[FindingId] = set() if rule.changes_rows else {"update-trigger"}
    if rule.exact == "amend":  # no row leaves, so none is looked for in other tables
        beside |= {"delete-trigger", "insert-trigger", "foreign-key-unindexed"}
    return beside


def catalog_findings(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return what the catalog, the server and the session say against the change."""
    expressions = [sql for sql in key.expressions if sql]
    types = value_types(connection, key, relation)
    default_read_only = execute(connection, statement("default_read_only")).scalar_one()
    rows = execute(
        connection,
        statement(
            "blockers",
            relid=str(relation.relid),
            key=text_array(filter(None, key.names)),
            named=text_array((*key.include, *rule.named_columns)),
            expressions=text_array(expressions),
            expression_types=f"ARRAY[{', '.join(map(str, types))}]",
            constraint_name=literal(key.name),
            nulls_not_distinct=literal(key.nulls_not_distinct),
            default_read_only=literal(bool(default_read_only)),
            changes_rows=literal(rule.changes_rows),
        ),
    )
    # A tree is only an obstacle to a script.
    left_out = {*beside(rule), "partitioned-table"}
    findings = [_blocker_finding(connection, row, relation) for row in rows if row.id not in left_out]
    if relation.is_tree:
        findings += tree_findings(connection, key, relation, left_out)
    findings += ledger.untrusted(connection, relid=relation.relid)
    if rule.references == "repoint":
        findings += children.triggers(connection, relation.relid)
    findings += pooler_findings(connection)
    if countable(findings):
        of_indexes = _index_findings(connection, key, relation)
        if any(finding.id == "name-taken" for finding in findings):
            # What has the name is no index of this table, so its definition is beside the point.
            of_indexes = [finding for finding in of_indexes if finding.id != "wrong-definition"]
        findings += of_indexes
    return findings


def _blocker_finding(connection: Connection, row: Row[Any], relation: Relation) -> Finding:
    blocker = finding(finding_id(row.id), row.subject, table=relation.name)
    if blocker.id != "column-missing":
        return blocker
    if re.search(r"[()\s:|>]", row.subject):
        return replace(blocker, help="Write an expression as sa.text('lower(email)'), or with -e on the command line.")
    columns = execute(connection, statement("relation_columns", relid=str(relation.relid))).scalars().all()
    return missing_column(row.subject, columns, table=relation.name)


def _index_findings(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    findings = _named_index_findings(connection, key, relation) if key.name else []
    # A cleanup alone disturbs no build, and the run lock waits for an orphaned build of an earlier upgrade.
    if key.name and (builder := execute(connection, statement("builders", relid=str(relation.relid))).scalar()):
        findings = [finding("live-build", builder, table=relation.name)]
    other_indexes = statement(
        "other_indexes",
        relid=str(relation.relid),
        key=text_array(key.elements),
        constraint_name=literal(key.name),
        nulls_not_distinct=literal(key.nulls_not_distinct),
        usual_class=statement("usual_class", opclass="oc", type="a.atttypid"),
        usual_class_dc=statement("usual_class", opclass="dc", type="a.atttypid"),
    )
    for index in execute(connection, other_indexes):
        subject = f"Constraint {index.constraint_name}" if index.constraint_name else f"Index {index.name}"
        if not index.valid:
            findings.append(finding("invalid-index", index.name))
        elif index.same_key and key.where is None and (index.immediate or key.deferrable):
            # Without a name no index will be built, so another one of the same key is welcome.
            same = finding("equivalent-index" if key.name else "already-enforced", subject, table=relation.name)
            findings.append(replace(same, help=advice(key, relation, index)) if key.name else same)
        elif index.stricter:
            findings.append(replace(finding("stricter-index", subject), help=advice_if_stricter(relation, index)))
    return findings if key.is_plain else findings + equivalents(connection, key, relation)


def _named_index_findings(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    state = catalog.index_state(connection, relation.relid, key)
    if state is None:
        return []
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        return [catalog.wrong_definition(relation, state)]
    if not state.valid:
        return [finding("invalid-index", key.name)]
    if key.form == "index":
        return [finding("already-enforced", f"Index {key.name}")]
    return [finding("already-enforced", f"Constraint {key.name}")] if state.constraint == key.name else []
