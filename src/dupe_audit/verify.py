"""Prove from the catalog, a sequential count and the ledger's sums that a key is enforced and nothing is lost."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import finding, quantity
from dupe_audit.findings.entry import Finding
from dupe_audit.model import CleanupRule, IndexState, Run, UniqueKey, VerifyReport
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.planner import SEQUENTIAL
from dupe_audit.postgres.session import settings, step, transaction
from dupe_audit.postgres.sqlstates import (
    DATA_CORRUPTED,
    INDEX_CORRUPTED,
    INSUFFICIENT_PRIVILEGE,
    UNDEFINED_COLUMN,
    reason,
    sqlstate,
)
from dupe_audit.statements import fill_known, literal, statement, template


def verify(connection: Connection, key: UniqueKey, *, work_mem: str | None = None) -> VerifyReport:
    """Report whether *key* is enforced, true, and its ledger sound; changes nothing.

    Args:
        key: with the constraint's name.
        work_mem: memory for the count's sort, as PostgreSQL writes sizes.

    Raises:
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    with step(connection):
        found = catalog.find(connection, key)
        if found is None:
            return VerifyReport(
                key=key, index=None, extras=None, run=None, findings=(finding("table-missing", str(key)),)
            )
        key, relation = found
        state = catalog.index_state(connection, relation.relid, key)
        findings = _catalog_findings(key, relation, state)
        memory = {"work_mem": work_mem} if work_mem else {}
        try:
            with transaction(connection, lock_timeout="5s", isolation="REPEATABLE READ", read_only=True, local=memory):
                holes = catalog.fragments(connection, relation, key, CleanupRule())
                with settings(connection, SEQUENTIAL, local=True):
                    extras = int(execute(connection, fill_known(template("count_extras"), holes)).scalar_one())
                    rows = int(execute(connection, f"SELECT count(*) FROM ONLY {relation.name}").scalar_one())
                known = ledger.latest(connection, relation.relid, key)  # its sums as of the same moment
        except DBAPIError as error:
            if sqlstate(error) != UNDEFINED_COLUMN:
                raise
            raise DupeAuditError(f"{relation.name} lacks a column of the key: {reason(error)}. Check -c.") from error
        if extras:
            findings.append(finding("duplicates-remain", quantity(extras, "extra"), table=relation.name))
        if state and state.valid:
            findings += _amcheck(connection, state)
        if known:
            findings += ledger_findings(connection, known[0])
        return VerifyReport(
            key=key, index=state, extras=extras, run=known[0] if known else None, rows=rows, findings=tuple(findings)
        )


def verify_named(
    connection: Connection,
    *,
    table: str,
    name: str,
    schema: str | None = None,
    columns: tuple[str, ...] = (),
    nulls_not_distinct: bool = False,
    work_mem: str | None = None,
) -> VerifyReport:
    """Verify a constraint as a person names it; what is left out is read from the catalog.

    Raises:
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    asked = UniqueKey(
        table=table, schema=schema, name=name, columns=columns or (name,), nulls_not_distinct=nulls_not_distinct
    )
    found = catalog.find(connection, asked)
    row = None
    if found:
        form = statement("constraint_form", relid=str(found[1].relid), name=literal(name))
        row = execute(connection, form).one_or_none()
    if row is not None:
        asked = replace(
            asked,
            columns=columns or tuple(row.columns),
            include=tuple(row.included),
            nulls_not_distinct=nulls_not_distinct or row.nulls_not_distinct,
            deferrable=row.deferrable,
            initially="DEFERRED" if row.deferred else "IMMEDIATE",
        )
    elif found and not columns:
        missing = finding("constraint-missing", name, table=found[1].name)
        return VerifyReport(key=asked, index=None, extras=None, run=None, findings=(missing,))
    return verify(connection, asked, work_mem=work_mem)


def _catalog_findings(key: UniqueKey, relation: Relation, state: IndexState | None) -> list[Finding]:
    if state is None:
        return [finding("constraint-missing", key.name, table=relation.name)]
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        return [finding("wrong-definition", key.name, table=relation.name)]
    if not state.valid:
        return [finding("index-not-valid", key.name)]
    if state.constraint != key.name:
        return [finding("constraint-missing", key.name, table=relation.name)]
    return []


def _amcheck(connection: Connection, state: IndexState) -> list[Finding]:
    """Ask amcheck, where it is installed, whether every row is in the index and no key twice (PG 17)."""
    row = execute(connection, statement("amcheck")).one_or_none()
    if row is None:
        return [finding("amcheck-missing")]
    arguments = "heapallindexed => true" + (", checkunique => true" if row.checks_unique else "")
    try:
        with transaction(connection, lock_timeout="5s", read_only=True):
            execute(connection, f"SELECT {row.name}({state.oid}::pg_catalog.regclass, {arguments})")
    except DBAPIError as error:
        if sqlstate(error) in (INDEX_CORRUPTED, DATA_CORRUPTED):
            return [finding("index-corrupt", reason(error))]
        if sqlstate(error) == INSUFFICIENT_PRIVILEGE:
            return [finding("amcheck-missing")]
        raise
    return []


def ledger_findings(connection: Connection, known: Run) -> list[Finding]:
    """Return what is wrong with the ledger's sums for one run: run = batches = archive."""
    findings = []
    if known.state == "cleaning":
        findings.append(finding("run-unfinished", known.id))
    if known.purged_at is not None:
        return findings
    archive = ledger.archive_name(known.id)
    batches = execute(
        connection,
        "SELECT coalesce(sum(archived), 0)::int8 AS archived, coalesce(sum(restored), 0)::int8 AS restored "
        f"FROM dupe_audit.batch WHERE run_id = {known.id}",
    ).one()
    if not ledger.is_there(connection, archive):
        if known.archived > known.restored:
            findings.append(finding("archive-missing", known.id))
        return findings
    kept = execute(
        connection, f"SELECT count(*) AS archived, pg_catalog.count(dupe_audit_restored_at) AS restored FROM {archive}"
    ).one()
    for what in ("archived", "restored"):
        sums = {"run": getattr(known, what), "batches": getattr(batches, what), "archive": getattr(kept, what)}
        if len(set(sums.values())) > 1:
            told = ", ".join(f"{place} {number:,}" for place, number in sums.items())
            findings.append(finding("ledger-mismatch", f"run {known.id}, {what}: {told}"))
    return findings + _child_findings(connection, known)


def _child_findings(connection: Connection, known: Run) -> list[Finding]:
    """Return what is wrong with the sums of moved children: ledger = record."""
    findings = []
    for row in ledger.children(connection, known.id):
        record = ledger.record_name(known.id, row["number"])
        kept = (0, 0)
        if ledger.is_there(connection, record):
            kept = tuple(
                execute(connection, f"SELECT count(*), pg_catalog.count(dupe_audit_returned_at) FROM {record}").one()
            )
        if kept != (row["moved"], row["returned"]):
            told = f"ledger {row['moved']:,} and {row['returned']:,}, record {kept[0]:,} and {kept[1]:,}"
            findings.append(
                finding("ledger-mismatch", f"run {known.id}, rows moved and returned of {row['child']}: {told}")
            )
    return findings
