"""The two questions before a change: what would the upgrade meet, and what forbids it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import citus
from dupe_audit.differences import comparison
from dupe_audit.findings import CATALOGUE, Finding, finding
from dupe_audit.model import CleanupRule, DuplicateReport, Sample, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.session import step, transaction
from dupe_audit.preflight.catalog_checks import catalog_findings, countable
from dupe_audit.preflight.changes import change_findings
from dupe_audit.preflight.counts import (
    compute_order,
    count_groups,
    count_references,
    duplicate_findings,
    estimate,
    measure_keys,
    read_examples,
    uninsertable,
    widest_entry,
    width_findings,
)
from dupe_audit.preflight.expressions import expression_findings
from dupe_audit.preflight.failing import may_be_an_expression, require_failing
from dupe_audit.preflight.samples import read_samples, row_columns, without_key_values
from dupe_audit.preflight.search_path import path_findings
from dupe_audit.preflight.shards import of_shards

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
    details = _Details(show_keys=show_keys, samples=samples)
    with step(connection):
        match = catalog.find(connection, key)
        if match and (refused := citus.obstacles(connection, *match, rule) or _expressions(connection, *match, rule)):
            return DuplicateReport(key=match[0], counts=None, findings=_sorted(refused, accept))
        try:
            with _snapshot(connection, work_mem):
                report = _counted(connection, key, rule, accept=accept, details=details)
        except DBAPIError as error:
            if match is None or not may_be_an_expression(error, key, rule):
                raise
            with _snapshot(connection, work_mem):
                findings, rows = require_failing(connection, *match, rule, error=error, show_keys=show_keys)
                findings += catalog_findings(connection, *match, rule)
            return DuplicateReport(key=match[0], counts=None, findings=_sorted(findings, accept), failed_rows=rows)
        if match and report.counts:
            of_path = _of_path(connection, *match, report.findings)
            report = replace(report, findings=_sorted([*report.findings, *of_path], accept))
        return report


class _Details(NamedTuple):
    """What the report shows on request."""

    show_keys: bool
    samples: int


def _snapshot(connection: Connection, work_mem: str | None) -> AbstractContextManager[None]:
    memory = {"work_mem": work_mem} if work_mem else {}
    return transaction(connection, lock_timeout="5s", isolation="REPEATABLE READ", read_only=True, local=memory)


def _of_path(connection: Connection, key: UniqueKey, relation: Relation, findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings about the search path; they are warnings if an existing index makes a build unnecessary."""
    problems = path_findings(connection, key, relation)
    if any(finding.id == "already-enforced" for finding in findings):
        return [replace(problem, severity="warning") for problem in problems]
    return problems


def _counted(
    connection: Connection, key: UniqueKey, rule: CleanupRule, *, accept: Collection[str], details: _Details
) -> DuplicateReport:
    """Return the report from the snapshot of the open transaction."""
    match = catalog.find(connection, key)
    if match is None:
        return DuplicateReport(key=key, counts=None, findings=(finding("table-missing", str(key)),))
    key, relation = match
    findings = catalog_findings(connection, key, relation, rule)
    if not countable(findings):
        return DuplicateReport(key=key, counts=None, findings=_sorted(findings, accept))
    if (managed := citus.find_citus(connection, relation.relid)) and managed.is_sharded:
        report = of_shards(connection, key, relation, rule)
        return replace(report, findings=_sorted([*findings, *report.findings], accept))
    fragments = catalog.fragments(connection, relation, key, rule)
    measure = measure_keys(connection, fragments)
    widest = widest_entry(connection, relation, key, rule) if key.include else measure.widest_key
    compute_order(connection, fragments, rule)
    compared = comparison(connection, relation, key, rule, fragments)
    counts, differences = count_groups(connection, fragments, measure, compared)
    references, reference_findings = count_references(connection, relation, fragments, counts, rule)
    examples = read_examples(connection, fragments) if details.show_keys and counts.groups else ()
    samples: tuple[Sample, ...] = ()
    if details.samples and counts.groups:
        columns = row_columns(connection, relation, rule)
        shown = columns if details.show_keys else without_key_values(columns, key)
        samples = read_samples(connection, shown, fragments, details.samples, show_keys=details.show_keys)
    restore_findings = uninsertable(connection, relation, key, fragments, counts)
    if rule.exact == "amend":  # no row leaves
        reference_findings = []
    findings += [
        *width_findings(widest),
        *duplicate_findings(key, rule, counts, differences),
        *restore_findings,
        *reference_findings,
    ]
    return DuplicateReport(
        key=key,
        counts=counts,
        estimates=estimate(relation, measure, counts),
        references=references,
        findings=_sorted(findings, accept),
        examples=examples,
        differs=differences.columns if differences else {},
        suggestion=differences.suggestion if differences else None,
        samples=samples,
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
    with step(connection):
        match = catalog.find(connection, key)
        if match is None:
            return [finding("table-missing", str(key))]
        key, relation = match
        # First, because Citus plans statements in its own way, and an expression is judged by its plan.
        findings = citus.obstacles(connection, key, relation, rule)
        findings = findings or _expressions(connection, key, relation, rule)
        findings = findings or catalog_findings(connection, key, relation, rule)
        if measure_width and countable(findings):
            findings += _measured(connection, key, relation, rule)
            if not any(finding.id == "expression-fails" for finding in findings):
                findings += _of_path(connection, key, relation, findings)
    return [finding for finding in _sorted(findings, accept) if key.name or finding.id != "invalid-index"]


def _expressions(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return what is wrong with the SQL of a key and of its rule."""
    return expression_findings(connection, key, relation, rule) or change_findings(connection, key, relation, rule)


def _measured(connection: Connection, key: UniqueKey, relation: Relation, rule: CleanupRule) -> list[Finding]:
    """Return the findings of one scan of the table: the key is too wide, or cannot be computed for some rows."""
    try:
        with transaction(connection, lock_timeout="5s", read_only=True):
            widest = widest_entry(connection, relation, key, rule)
            compute_order(connection, catalog.fragments(connection, relation, key, rule), rule)
    except DBAPIError as error:
        if not may_be_an_expression(error, key, rule):
            raise
        with _snapshot(connection, None):
            return require_failing(connection, key, relation, rule, error=error, show_keys=False)[0]
    return width_findings(widest)


def _sorted(findings: Iterable[Finding], accept: Collection[str]) -> tuple[Finding, ...]:
    """Return findings without repetition, the worst first; an accepted one becomes a warning."""
    judged = [
        replace(finding, severity="warning") if finding.id in accept and CATALOGUE[finding.id].acceptable else finding
        for finding in dict.fromkeys(findings)
    ]
    return tuple(sorted(judged, key=lambda finding: _ORDER[finding.severity]))
