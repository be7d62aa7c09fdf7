"""The two questions before a change: what would the upgrade meet, and what forbids it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import children, citus
from dupe_audit.differences import comparison
from dupe_audit.findings import CATALOGUE, Finding
from dupe_audit.model import CleanupRule, DuplicateReport, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.missing_table import missing_table
from dupe_audit.postgres.session import snapshot, step
from dupe_audit.postgres.trees import fragments_by_handful
from dupe_audit.preflight.catalog_checks import catalog_findings, countable
from dupe_audit.preflight.changes import change_findings
from dupe_audit.preflight.counts import (
    add_up,
    add_up_children,
    count_groups,
    duplicate_findings,
    estimate,
    reference_findings,
    references,
    width_findings,
)
from dupe_audit.preflight.expressions import expression_findings
from dupe_audit.preflight.failing import may_be_an_expression, require_failing
from dupe_audit.preflight.parts import Counting, Details, count_parts, largest, leaves_of, most_telling
from dupe_audit.preflight.search_path import path_findings
from dupe_audit.preflight.server import server_findings, timescaledb_findings
from dupe_audit.preflight.shards import sharded_report
from dupe_audit.preflight.widths import measured, widest_entry

#: the worst first
_ORDER = {"error": 0, "warning": 1, "info": 2}


def preflight(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule | None = None,
    *,
    accept: Collection[str] = (),
    show_keys: bool = False,
    samples: int = 0,
    work_mem: str | None = None,
) -> DuplicateReport:
    """Report what the upgrade would meet, from one snapshot, in a read-only transaction.

    Args:
        connection: in autocommit.
        key: the table and its columns; with a name, what has that name is judged too.
        rule: the planned cleanup; by default the first row by primary key survives and divergent groups are refused.
        accept: ids of acceptable findings that the caller takes responsibility for.
        show_keys: whether to read key values, and values of rows that the report shows.
        samples: how many divergent groups to show, or exact ones if none is divergent; this ranks the table.
        work_mem: memory for the count's sort, as PostgreSQL writes sizes.

    Raises:
        DupeAuditError: an expression failed for a row, and no longer does.
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    rule = rule or CleanupRule()
    details = Details(show_keys=show_keys, samples=samples, work_mem=work_mem)
    if refused := _server_refusal(connection, accept):
        return DuplicateReport(key=key, counts=None, findings=refused)
    with step(connection):
        match = catalog.find(connection, key)
        if match and (refused := _sort_findings(_preliminary_findings(connection, *match, rule), accept)):
            return DuplicateReport(key=match[0], counts=None, findings=refused)
        try:
            with nullcontext() if match and match[1].is_tree else snapshot(connection, work_mem):
                report = _count_in_snapshot(connection, key, rule, accept=accept, details=details)
        except DBAPIError as error:
            if match is None or not may_be_an_expression(error, key, rule):
                raise
            with snapshot(connection, work_mem):
                findings, rows = require_failing(connection, *match, rule, error=error, show_keys=show_keys)
                findings += catalog_findings(connection, *match, rule)
            return DuplicateReport(
                key=match[0], counts=None, findings=_sort_findings(findings, accept), failed_rows=rows
            )
        if match and report.counts:
            unresolved = _search_path_findings(connection, *match, report.findings)
            report = replace(report, findings=_sort_findings([*report.findings, *unresolved], accept))
        return report


def _search_path_findings(
    connection: Connection, key: UniqueKey, relation: Relation, findings: Iterable[Finding]
) -> list[Finding]:
    """Return the findings about the search path; they are warnings if an existing index makes a build unnecessary."""
    problems = path_findings(connection, key, relation)
    enforced = any(finding.id == "already-enforced" for finding in findings)
    return [replace(problem, severity="warning") if enforced else problem for problem in problems]


def _count_in_snapshot(
    connection: Connection, key: UniqueKey, rule: CleanupRule, *, accept: Collection[str], details: Details
) -> DuplicateReport:
    """Return the report from the snapshot of the open transaction."""
    match = catalog.find(connection, key)
    if match is None:
        return DuplicateReport(key=key, counts=None, findings=(missing_table(connection, key),))
    key, relation = match
    findings = catalog_findings(connection, key, relation, rule)
    if not countable(findings):
        return DuplicateReport(key=key, counts=None, findings=_sort_findings(findings, accept))
    if (managed := citus.find_citus(connection, relation.relid)) and managed.is_sharded:
        report = sharded_report(connection, key, relation, rule)
        return replace(report, findings=_sort_findings([*findings, *report.findings], accept))
    foreign_keys = children.foreign_keys(connection, relation.relid)
    compared = comparison(connection, relation, key, rule, catalog.fragments(connection, relation, key, rule))
    counting, parts, size = Counting(key, rule, relation, foreign_keys, compared, details), [], 0
    # A snapshot per handful, because locks on all leaves at once can fill the server's lock table.
    begin = partial(snapshot, connection, details.work_mem) if relation.is_tree else nullcontext
    for tables in fragments_by_handful(connection, relation, key, rule):
        with begin():
            parts += count_parts(connection, counting, tables)
        size += sum(table.bytes for table, _ in tables)
    measure = add_up([part.measure for part in parts])
    counts, differences = count_groups([part.groups for part in parts], measure, compared)
    child_counts = add_up_children([part.children for part in parts])
    widest = widest_entry(connection, relation, key, rule, begin) if key.include else measure.widest_key
    findings += [
        *width_findings(widest),
        *duplicate_findings(key, rule, counts, differences),
        *(each for part in parts for each in part.uninsertable),
        *reference_findings(child_counts, rule),
        *(each for part in parts for each in part.collisions),
    ]
    return DuplicateReport(
        key=key,
        counts=counts,
        estimates=estimate(size, measure, counts),
        references=references(child_counts),
        findings=_sort_findings(findings, accept),
        examples=largest([part.examples for part in parts]),
        differs=differences.columns if differences else {},
        suggestion=differences.suggestion if differences else None,
        samples=most_telling([part.samples for part in parts], details.samples),
        leaves=leaves_of(parts) if relation.is_tree else None,
    )


def blockers(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    accept: Collection[str] = (),
    measure_width: bool = True,
) -> list[Finding]:
    """Return the findings that forbid the change, without counting: from the catalog and one scan of the keys' width.

    Indexes are judged if the key has a constraint's name; a cleanup alone builds none.

    Args:
        connection: in autocommit.
        key: the table and its columns.
        rule: the planned cleanup.
        accept: ids of acceptable findings that the caller takes responsibility for.
        measure_width: whether to scan for keys that are too wide; not needed right after a cleanup, which did.

    Raises:
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    findings = judge(connection, key, rule, accept=accept, measure_width=measure_width)
    return [finding for finding in findings if finding.severity == "error"]


def judge(
    connection: Connection,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    accept: Collection[str] = (),
    measure_width: bool = True,
) -> list[Finding]:
    """Return the findings of ``blockers`` of every severity, the worst first.

    Raises:
        sqlalchemy.exc.DBAPIError: the connection or a permission failed.
    """
    if refused := _server_refusal(connection, accept):
        return list(refused)
    with step(connection):
        match = catalog.find(connection, key)
        if match is None:
            return [missing_table(connection, key)]
        key, relation = match
        first = _preliminary_findings(connection, key, relation, rule)
        findings = first or catalog_findings(connection, key, relation, rule)
        if measure_width and not first and countable(findings):
            findings += measured(connection, key, relation, rule)
            if not any(finding.id == "expression-fails" for finding in findings):
                findings += _search_path_findings(connection, key, relation, findings)
    return [finding for finding in _sort_findings(findings, accept) if key.name or finding.id != "invalid-index"]


def _server_refusal(connection: Connection, accept: Collection[str]) -> tuple[Finding, ...]:
    """Return why nothing else is sent to this server, not even a setting of the session; empty if it is suitable."""
    findings = _sort_findings(server_findings(connection), accept)
    return findings if any(finding.severity == "error" for finding in findings) else ()


def _preliminary_findings(
    connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule
) -> list[Finding]:
    """Return what ends the checks: another product manages the table, or SQL of the key or its rule is wrong."""
    return (
        timescaledb_findings(connection, relation)
        # Before expressions: Citus plans statements in its own way, and an expression is judged by its plan.
        or citus.obstacles(connection, key, relation, rule)
        or expression_findings(connection, key, relation, rule)
        or change_findings(connection, key, relation, rule)
    )


def _sort_findings(findings: Iterable[Finding], accept: Collection[str]) -> tuple[Finding, ...]:
    """Return findings without repetition, the worst first; an accepted one becomes a warning."""
    judged = [
        replace(finding, severity="warning") if finding.id in accept and CATALOGUE[finding.id].acceptable else finding
        for finding in dict.fromkeys(findings)
    ]
    return tuple(sorted(judged, key=lambda finding: _ORDER[finding.severity]))
