"""Keys that plain operations declare: what preflight adds to their counts, and what verify reads in the catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from dupe_audit.directives.declared import DeclaredKey, with_comment
from dupe_audit.directives.operations import UNKNOWN
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.model import DuplicateReport, UniqueKey, VerifyReport
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import statement


def examined(report: DuplicateReport, declared: DeclaredKey) -> DuplicateReport:
    """Return the report on a key that a plain operation is about to enforce, with what that means."""
    counts = report.counts
    if counts is None or not counts.rows:
        return report
    key, findings = report.key, list[Finding]()
    table = f"{key.schema}.{key.table}"
    subject = f"{declared.revision} enforces {key}"
    if counts.extras and declared.rule is None:
        findings.append(
            finding("upgrade-will-fail", f"{subject}, which has {quantity(counts.extras, 'extra')}", table=table)
        )
    elif declared.primary and counts.null_key_rows:
        rows = quantity(counts.null_key_rows, "row")
        findings.append(finding("upgrade-will-fail", f"{subject}, which is NULL in {rows}", table=table))
    if not declared.concurrent:
        findings.append(finding("blocking-operation", subject, table=table))
    errors = [each for each in (*findings, *report.findings) if each.severity == "error"]
    minor = [each for each in (*report.findings, *findings) if each.severity != "error"]
    return replace(report, findings=(*errors, *sorted(minor, key=lambda each: each.severity == "info")))


def verify_plain(connection: Connection, declared: DeclaredKey) -> VerifyReport:
    """Report from the catalog alone whether a key that a plain operation declared is in place; nothing is counted.

    A key that is missing is an error only if every later change of its table could be followed; otherwise a warning.

    Args:
        connection: in autocommit.
        declared: by an applied revision.
    """
    key = declared.key
    match = catalog.find(connection, key)
    if match is None:
        return _missing(declared, key, "the table does not exist")
    key, relation = match
    index = _find_index(connection, relation.relid, key)
    if index is None:
        return _missing(declared, key, "")
    name, valid = index
    findings = () if valid else (finding("index-not-valid", name),)
    state = catalog.index_state(connection, relation.relid, replace(key, name=name))
    return VerifyReport(key=key, index=state, extras=None, run=None, findings=findings)


def _missing(declared: DeclaredKey, key: UniqueKey, cause: str) -> VerifyReport:
    table = f"{key.schema}.{key.table}" if key.schema else key.table
    subject = f"{key.name}" if key.columns == (UNKNOWN,) else f"({', '.join(key.elements)})"
    reason = f"; {cause}" if cause else ""
    if declared.followed:
        missing = finding(
            "uniqueness-missing", f"{subject}, which revision {declared.revision} declares{reason}", table=table
        )
    else:
        detail = f"{declared.revision} declares {table} {subject}, which has no such index{reason}"
        unfollowed = finding("uniqueness-not-followed", f"{detail}; a later change of the table could not be read")
        missing = with_comment(unfollowed, declared.accepted)
    return VerifyReport(key=key, index=None, extras=None, run=None, findings=(missing,))


def _find_index(connection: Connection, relid: int, key: UniqueKey) -> tuple[str, bool] | None:
    """Return the name and the validity of the index that makes a table unique as declared; None without one.

    A valid one is preferred. Its name does not matter, because it can have been renamed; a stricter one will do. An
    index on an expression or for a part of the table is recognised by its name alone.
    """
    rows = execute(connection, statement("unique_indexes", relid=str(relid))).all()
    fitting = [row for row in rows if _fits(row, key)]
    fitting.sort(key=lambda row: (not row.valid, row.name != key.name))
    return (str(fitting[0].name), bool(fitting[0].valid)) if fitting else None


def _fits(row: Any, key: UniqueKey) -> bool:
    if key.columns == (UNKNOWN,):
        return bool(row.name == key.name)
    if not row.is_plain or not set(row.columns) <= set(key.columns):
        return False
    return bool(row.nulls_not_distinct) or not key.nulls_not_distinct
