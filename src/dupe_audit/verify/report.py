"""Verify from the catalog, a sequential count and the ledger's sums that a key is enforced and nothing is lost."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import citus, ledger
from dupe_audit.findings import Finding, finding, missing_column, quantity
from dupe_audit.model import IndexState, Run, UniqueKey, VerifyReport
from dupe_audit.postgres import catalog
from dupe_audit.postgres.amcheck import compare_with_table
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.missing_table import missing_table
from dupe_audit.postgres.session import step
from dupe_audit.postgres.sqlstates import about_a_row, about_an_expression, sqlstate
from dupe_audit.statements import statement
from dupe_audit.verify.counts import count
from dupe_audit.verify.parts import compare_leaves, part_findings


def verify(connection: Connection, key: UniqueKey, *, work_mem: str | None = None) -> VerifyReport:
    """Report whether *key* is enforced and free of duplicates, and its ledger consistent; change nothing.

    Args:
        connection: in autocommit.
        key: with the name of the constraint.
        work_mem: memory for the count's sort, as PostgreSQL writes sizes.

    Raises:
        DupeAuditError: an earlier version made the ledger.
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    return verify_as(connection, key, work_mem=work_mem)


def verify_as(
    connection: Connection,
    key: UniqueKey,
    *,
    work_mem: str | None,
    is_its_own: bool = False,
    counts_rows: bool = True,
) -> VerifyReport:
    """Report as ``verify`` does.

    Args:
        counts_rows: whether the report has the number of the table's rows, which takes another scan.
        is_its_own: whether the key was read from the index itself, so that its definition need not be compared.
    """
    with step(connection):
        match = catalog.find(connection, key)
        if match is None:
            return _uncounted(key, None, [missing_table(connection, key)])
        key, relation = match
        state = catalog.index_state(connection, relation.relid, key)
        if state and is_its_own:
            state = replace(state, same_definition=True)
        findings = _catalog_findings(key, relation, state)
        if missing := _missing_columns(connection, key, relation):
            return _uncounted(key, state, [*missing, *findings])
        try:
            counted = count(connection, key, relation, work_mem, counts_rows=counts_rows)
        except DBAPIError as error:
            if key.is_plain or not (about_a_row(error) or about_an_expression(error)):
                raise
            # The server's message can contain values of a row.
            fails = finding("expression-fails", f"{key} (SQLSTATE {sqlstate(error)})", table=relation.name)
            return _uncounted(key, state, [fails, *findings])
        if counted.extras:
            findings.append(finding("duplicates-remain", quantity(counted.extras, "extra"), table=relation.name))
        findings += counted.misplaced
        if state:
            findings += _index_findings(connection, key, relation, state)
        run = counted.latest.run if counted.latest else None
        findings += ledger_findings(connection, run) if run else _lost_runs(connection, key, relation)
        return VerifyReport(
            key=key,
            index=state,
            extras=counted.extras,
            run=run,
            rows=counted.rows,
            leaves=counted.leaves,
            archived_by_others=counted.by_others,
            findings=tuple(findings),
        )


def _uncounted(key: UniqueKey, state: IndexState | None, findings: list[Finding]) -> VerifyReport:
    """Return the report on a table that cannot be counted."""
    return VerifyReport(key=key, index=state, extras=None, run=None, findings=tuple(findings))


def _missing_columns(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    columns = set(execute(connection, statement("relation_columns", relid=str(relation.relid))).scalars())
    return [
        missing_column(name, columns, table=relation.name) for name in filter(None, key.names) if name not in columns
    ]


def missing(key: UniqueKey, relation: Relation) -> Finding:
    """Return the finding that nothing of the key's form has its name."""
    missing = finding("constraint-missing", key.name, table=relation.name)
    if key.form == "constraint":
        return missing
    return replace(missing, message=f"{relation.name} has no unique index {key.name}.")


def _not_valid(key: UniqueKey, relation: Relation) -> Finding:
    invalid = finding("index-not-valid", key.name)
    if relation.is_tree:
        invalid = replace(invalid, help=finding("leaf-not-enforced").help)
    if key.form == "constraint":
        return invalid
    return replace(invalid, message=f"Index {key.name} is invalid, so it does not reliably enforce anything.")


def _catalog_findings(key: UniqueKey, relation: Relation, state: IndexState | None) -> list[Finding]:
    if state is None:
        return [missing(key, relation)]
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        return [finding("wrong-definition", key.name, table=relation.name)]
    if not state.valid:
        return [_not_valid(key, relation)]
    if key.form == "constraint" and state.constraint != key.name:
        return [missing(key, relation)]
    return []


def _index_findings(connection: Connection, key: UniqueKey, relation: Relation, state: IndexState) -> list[Finding]:
    """Return where an index differs from its table, or the parts of a tree from their whole."""
    if relation.is_tree:
        parts = part_findings(connection, key, relation, state)
        return [*parts, *compare_leaves(connection, relation, state)] if state.valid else parts
    if not state.valid:
        return []
    if citus.find_citus(connection, relation.relid):  # on the coordinator, the index of its table is empty
        return citus.index_findings(connection, key, relation, state)
    return compare_with_table(connection, state)


def _lost_runs(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    """Return what is wrong with runs of the key whose table was replaced."""
    return ledger.lost(connection, relation, ledger.key_condition("coalesce(live.oid, r.relid)", key))


def ledger_findings(connection: Connection, run: Run) -> list[Finding]:
    """Return what is wrong with the sums of one run: the run, its batches and its archive have to agree."""
    findings = [finding("run-unfinished", run.id)] if run.state == "cleaning" else []
    archive = ledger.archive_findings(connection, run)
    complete = run.purged_at is None and ledger.relation_exists(connection, ledger.archive_name(run.id))
    complete = complete and not any(finding.id == "untrusted-ledger" for finding in archive)
    return findings + archive + (_child_findings(connection, run) if complete else [])


def _child_findings(connection: Connection, run: Run) -> list[Finding]:
    """Return what is wrong with the sums of moved children: the ledger and the record have to agree."""
    findings = []
    for row in ledger.moved_children(connection, run.id):
        record = ledger.record_name(run.id, row["number"])
        moved = returned = 0
        if ledger.relation_exists(connection, record):
            sums = execute(connection, statement("record_sums", record=record)).one()
            moved, returned = sums.moved, sums.returned
        if (moved, returned) != (row["moved"], row["returned"]):
            subject = f"ledger {row['moved']:,} and {row['returned']:,}, record {moved:,} and {returned:,}"
            findings.append(
                finding("ledger-mismatch", f"run {run.id}, moved and returned of {row['child']}: {subject}")
            )
    return findings
