"""Verify from the catalog, a sequential count and the ledger's sums that a key is enforced and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.findings import Finding, finding, quantity
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
    reason,
    sqlstate,
)
from dupe_audit.statements import fill_known, literal, statement, template


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
    with step(connection):
        match = catalog.find(connection, key)
        if match is None:
            return VerifyReport(
                key=key, index=None, extras=None, run=None, findings=(finding("table-missing", str(key)),)
            )
        key, relation = match
        state = catalog.index_state(connection, relation.relid, key)
        findings = _catalog_findings(key, relation, state)
        if missing := _missing_columns(connection, key, relation):
            return VerifyReport(key=key, index=state, extras=None, run=None, findings=(*missing, *findings))
        memory = {"work_mem": work_mem} if work_mem else {}
        with transaction(connection, lock_timeout="5s", isolation="REPEATABLE READ", read_only=True, local=memory):
            holes = catalog.fragments(connection, relation, key, CleanupRule())
            with settings(connection, SEQUENTIAL, local=True):
                extras = int(execute(connection, fill_known(template("count_extras"), holes)).scalar_one())
                rows = int(execute(connection, statement("count_rows", table=relation.name)).scalar_one())
            latest = ledger.find_latest(connection, relation.relid, key)  # its sums as of the same moment
            by_others = ledger.archived_by_others(connection, latest.run) if latest else 0
        if extras:
            findings.append(finding("duplicates-remain", quantity(extras, "extra"), table=relation.name))
        if state and state.valid:
            findings += _amcheck(connection, state)
        run = latest.run if latest else None
        if run:
            findings += ledger_findings(connection, run)
        else:
            condition = ledger.of_key("coalesce(live.oid, r.relid)", key)
            findings += ledger.lost(connection, relation, condition)
        return VerifyReport(
            key=key,
            index=state,
            extras=extras,
            run=run,
            rows=rows,
            archived_by_others=by_others,
            findings=tuple(findings),
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
    """Verify a constraint by its name; columns and options that are not given are read from the catalog.

    Args:
        connection: in autocommit.
        table: name as in the catalog, unquoted.
        name: of the constraint.
        schema: None searches the search path.
        columns: what the constraint has to be on; empty takes its own.
        nulls_not_distinct: whether two NULLs have to be equal; False takes the constraint's own rule.
        work_mem: memory for the count's sort, as PostgreSQL writes sizes.

    Raises:
        WrongUsage: a name is not one that PostgreSQL can store.
        DupeAuditError: as ``verify``.
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    key = UniqueKey(
        table=table, schema=schema, name=name, columns=columns or (name,), nulls_not_distinct=nulls_not_distinct
    )
    match = catalog.find(connection, key)
    row = None
    if match:
        form = statement("constraint_form", relid=str(match[1].relid), name=literal(name))
        row = execute(connection, form).one_or_none()
    if row is not None:
        key = replace(
            key,
            columns=columns or tuple(row.columns),
            include=tuple(row.included),
            nulls_not_distinct=nulls_not_distinct or row.nulls_not_distinct,
            deferrable=row.deferrable,
            initially="DEFERRED" if row.deferred else "IMMEDIATE",
        )
    elif match and not columns:
        missing = finding("constraint-missing", name, table=match[1].name)
        return VerifyReport(
            key=key, index=None, extras=None, run=None, findings=(_with_names(connection, match[1], missing, name),)
        )
    report = verify(connection, key, work_mem=work_mem)
    if match is None or report.index is not None:
        return report
    findings = (
        _with_names(connection, match[1], each, name) if each.id == "constraint-missing" else each
        for each in report.findings
    )
    return replace(report, findings=tuple(findings))


def _missing_columns(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    columns = set(execute(connection, statement("relation_columns", relid=str(relation.relid))).scalars())
    return [
        finding("column-missing", name, table=relation.name) for name in filter(None, key.names) if name not in columns
    ]


def _with_names(connection: Connection, relation: Relation, missing: Finding, name: str) -> Finding:
    """Return a finding about a name that a person gave, with the names that it may have meant."""
    indexes = execute(connection, statement("unique_indexes", relid=str(relation.relid)))
    names = sorted(str(row.name) for row in indexes)
    hint = "The table has no unique constraint."
    if similar := get_close_matches(name, names, n=3):
        hint = f"Did you mean {' or '.join(similar)}?"
    elif names:
        hint = f"The unique indexes of the table: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
    return replace(missing, help=f"{hint} If an upgrade was to create it: {missing.help[:1].lower()}{missing.help[1:]}")


def _catalog_findings(key: UniqueKey, relation: Relation, state: IndexState | None) -> list[Finding]:
    if state is None:
        return [finding("constraint-missing", key.name, table=relation.name)]
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        return [finding("wrong-definition", key.name, table=relation.name)]
    if not state.valid:
        return [finding("index-not-valid", key.name)]
    if key.form == "constraint" and state.constraint != key.name:
        return [finding("constraint-missing", key.name, table=relation.name)]
    return []


def _amcheck(connection: Connection, state: IndexState) -> list[Finding]:
    """Compare the index with the table by amcheck, if it is installed; it also finds duplicates (PostgreSQL 17+)."""
    amcheck = execute(connection, statement("amcheck")).one_or_none()
    if amcheck is None:
        return [finding("amcheck-missing")]
    options = "heapallindexed => true" + (", checkunique => true" if amcheck.checks_unique else "")
    try:
        with transaction(connection, lock_timeout="5s", read_only=True):
            sql = statement("amcheck_index", function=amcheck.name, index=str(state.oid), options=options)
            execute(connection, sql)
    except DBAPIError as error:
        if sqlstate(error) in (INDEX_CORRUPTED, DATA_CORRUPTED):
            return [finding("index-corrupt", reason(error))]
        if sqlstate(error) == INSUFFICIENT_PRIVILEGE:
            return [finding("amcheck-missing")]
        raise
    return []


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
