"""A way back: every revision has a downgrade that works, or says explicitly that it has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dupe_audit.checks.evidence import EmptyTrip, Evidence, Revision
from dupe_audit.checks.report import ReportedFinding
from dupe_audit.findings import CheckId, finding
from dupe_audit.schema.snapshot import differences

RULE = "way-back"

#: maximum number of objects that one finding names
SHOWN = 5


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Report revisions that cannot be undone, and downgrades that fail or leave something behind."""
    for revision in evidence.revisions:
        if revision.refuses_downgrade:
            yield _result("irreversible", revision, revision.id)
        elif revision.empty_downgrade and not revision.empty_upgrade:
            yield _result("no-way-back", revision, revision.id)
    for trip in evidence.empty_trips:
        yield from _downgraded(trip)


def _downgraded(trip: EmptyTrip) -> Iterator[ReportedFinding]:
    revision, failure = trip.revision, trip.downgrade_failure
    if failure and failure.not_implemented:
        yield _result("irreversible", revision, revision.id)
    elif failure:
        result = _result("downgrade-fails", revision, failure.reason, line=failure.line)
        yield replace(result, finding=replace(result.finding, help=failure.help or result.finding.help))
    elif trip.after_downgrade:
        changes = differences(trip.before, trip.after_downgrade)
        if changes:
            more = f", and {len(changes) - SHOWN:,} more" if len(changes) > SHOWN else ""
            yield _result("downgrade-differs", revision, ", ".join(changes[:SHOWN]) + more)


def _result(id_: CheckId, revision: Revision, subject: str, *, line: int | None = None) -> ReportedFinding:
    return ReportedFinding(rule=RULE, finding=finding(id_, subject), place=revision.place(line, downgrade=True))
