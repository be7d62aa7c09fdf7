"""Verify from the catalog, a sequential count and the ledger's sums that a key is enforced and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.findings import Finding, finding, missing_column, quantity
from dupe_audit.ledger import RecordedRun
from dupe_audit.model import CleanupRule, Expression, IndexState, Run, UniqueKey, VerifyReport
from dupe_audit.postgres import catalog
from dupe_audit.postgres.amcheck import compare_with_table
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.named import named_key
from dupe_audit.postgres.planner import SEQUENTIAL
from dupe_audit.postgres.session import settings, step, transaction
from dupe_audit.postgres.sqlstates import about_a_row, about_an_expression, sqlstate
from dupe_audit.statements import fill_known, statement, template


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
    return _verify(connection, key, work_mem=work_mem)


def _verify(connection: Connection, key: UniqueKey, *, work_mem: str | None, is_its_own: bool = False) -> VerifyReport:
    """Report as ``verify`` does.

    Args:
        is_its_own: whether the key was read from the index itself, so that its definition need not be compared.
    """
    with step(connection):
        match = catalog.find(connection, key)
        if match is None:
            return VerifyReport(
                key=key, index=None, extras=None, run=None, findings=(finding("table-missing", str(key)),)
            )
        key, relation = match
        state = catalog.index_state(connection, relation.relid, key)
        if state and is_its_own:
            state = replace(state, same_definition=True)
        findings = _catalog_findings(key, relation, state)
        if missing := _missing_columns(connection, key, relation):
            return VerifyReport(key=key, index=state, extras=None, run=None, findings=(*missing, *findings))
        try:
            extras, rows, latest, by_others = _counted(connection, key, relation, work_mem)
        except DBAPIError as error:
            if key.is_plain or not (about_a_row(error) or about_an_expression(error)):
                raise
            # The server's message can contain values of a row.
            fails = finding("expression-fails", f"{key} (SQLSTATE {sqlstate(error)})", table=relation.name)
            return VerifyReport(key=key, index=state, extras=None, run=None, findings=(fails, *findings))
        if extras:
            findings.append(finding("duplicates-remain", quantity(extras, "extra"), table=relation.name))
        if state and state.valid:
            findings += compare_with_table(connection, state)
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


def _counted(
    connection: Connection, key: UniqueKey, relation: Relation, work_mem: str | None
) -> tuple[int, int, RecordedRun | None, int]:
    """Return extras, rows, the key's newest run and the rows archived by other runs, as of one moment."""
    memory = {"work_mem": work_mem} if work_mem else {}
    with transaction(connection, lock_timeout="5s", isolation="REPEATABLE READ", read_only=True, local=memory):
        holes = catalog.fragments(connection, relation, key, CleanupRule())
        with settings(connection, SEQUENTIAL, local=True):
            extras = int(execute(connection, fill_known(template("count_extras"), holes)).scalar_one())
            rows = int(execute(connection, statement("count_rows", table=relation.name)).scalar_one())
        latest = ledger.find_latest(connection, relation.relid, key)
        by_others = ledger.archived_by_others(connection, latest.run) if latest else 0
    return extras, rows, latest, by_others


def verify_named(
    connection: Connection,
    *,
    table: str,
    name: str,
    schema: str | None = None,
    columns: tuple[str | Expression, ...] = (),
    where: str | None = None,
    nulls_not_distinct: bool = False,
    work_mem: str | None = None,
) -> VerifyReport:
    """Verify a constraint or an index by its name; what is not given is read from the catalog.

    Args:
        connection: in autocommit.
        table: name as in the catalog, unquoted.
        name: of the constraint, or of an index that belongs to none.
        schema: None searches the search path.
        columns: elements that it has to compare; empty takes its own, and its own predicate.
        where: predicate that it has to have, with *columns*.
        nulls_not_distinct: whether two NULLs have to be equal; False takes the constraint's own rule.
        work_mem: memory for the count's sort, as PostgreSQL writes sizes.

    Raises:
        WrongUsage: a name is not one that PostgreSQL can store.
        DupeAuditError: as ``verify``.
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    key = UniqueKey(table=table, schema=schema, name=name, columns=columns or (name,), where=where)
    if not key.is_plain:
        key = replace(key, form="index")
    match = catalog.find(connection, key)
    existing = named_key(connection, match[1], match[0]) if match else None
    if match and existing is None and not columns:
        missing = _with_names(connection, match[1], _missing(key, match[1]), name)
        return VerifyReport(key=key, index=None, extras=None, run=None, findings=(missing,))
    is_its_own = False
    if match and existing:
        own, usual_equality = existing
        is_its_own = usual_equality and not columns
        if columns:
            own = replace(own, columns=columns, where=where, form=own.form if key.is_plain else "index")
        elif not own.is_plain:
            own = _as_recorded(connection, match[1], own)
        key = replace(own, nulls_not_distinct=nulls_not_distinct or own.nulls_not_distinct)
        is_its_own = is_its_own and key.nulls_not_distinct == own.nulls_not_distinct
    else:
        key = replace(key, nulls_not_distinct=nulls_not_distinct)
    report = _verify(connection, key, work_mem=work_mem, is_its_own=is_its_own)
    if match is None or report.index is not None:
        return report
    findings = (
        _with_names(connection, match[1], each, name) if each.id == "constraint-missing" else each
        for each in report.findings
    )
    return replace(report, findings=tuple(findings))


def _as_recorded(connection: Connection, relation: Relation, key: UniqueKey) -> UniqueKey:
    """Return the key of an index as its run wrote it, so that the ledger finds the run; unchanged without a run."""
    run = ledger.find_by_constraint(connection, relation.relid, str(key.name))
    if run is None:
        return key
    recorded = replace(key, columns=run.key_columns, where=run.where)
    state = catalog.index_state(connection, relation.relid, recorded)
    return recorded if state and state.same_definition else key


def _missing_columns(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    columns = set(execute(connection, statement("relation_columns", relid=str(relation.relid))).scalars())
    return [
        missing_column(name, columns, table=relation.name) for name in filter(None, key.names) if name not in columns
    ]


def _with_names(connection: Connection, relation: Relation, missing: Finding, name: str) -> Finding:
    """Return a finding about a name that a person gave, with the names that it may have meant."""
    indexes = execute(connection, statement("unique_indexes", relid=str(relation.relid)))
    names = sorted(str(row.name) for row in indexes)
    hint = "The table has no unique constraint or index."
    if name in names:
        hint = (
            f"{name} exists, but is not a unique constraint or a separate unique index; it is probably the primary key."
        )
    elif similar := get_close_matches(name, names, n=3):
        hint = f"Did you mean {' or '.join(similar)}?"
    elif names:
        hint = f"The unique indexes of the table: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}."
    return replace(missing, help=f"{hint} If an upgrade was to create it: {missing.help[:1].lower()}{missing.help[1:]}")


def _missing(key: UniqueKey, relation: Relation) -> Finding:
    """Return the finding that nothing of the key's form has its name."""
    missing = finding("constraint-missing", key.name, table=relation.name)
    if key.form == "constraint":
        return missing
    return replace(missing, message=f"{relation.name} has no unique index {key.name}.")


def _not_valid(key: UniqueKey) -> Finding:
    invalid = finding("index-not-valid", key.name)
    if key.form == "constraint":
        return invalid
    return replace(invalid, message=f"Index {key.name} is invalid, so it does not reliably enforce anything.")


def _catalog_findings(key: UniqueKey, relation: Relation, state: IndexState | None) -> list[Finding]:
    if state is None:
        return [_missing(key, relation)]
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        return [finding("wrong-definition", key.name, table=relation.name)]
    if not state.valid:
        return [_not_valid(key)]
    if key.form == "constraint" and state.constraint != key.name:
        return [_missing(key, relation)]
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
