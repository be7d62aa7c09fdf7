"""The seeded round trip: up, verified, down, compared and up again, on tables that hold duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dupe_audit.checks.evidence import Evidence, Failure, Revision, SeededTrip
from dupe_audit.checks.report import ReportedFinding
from dupe_audit.findings import CheckId, finding, quantity
from dupe_audit.postgres.sqlstates import FEATURE_NOT_SUPPORTED, UNDEFINED_FILE, UNIQUE_VIOLATION

RULE = "round-trip"

#: SQLSTATEs of an extension that the server lacks: feature_not_supported, and undefined_file before PostgreSQL 15
NOT_AVAILABLE = (FEATURE_NOT_SUPPORTED, UNDEFINED_FILE)


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Report revisions that fail, lose rows, or do not add the uniqueness that they declare."""
    reported: set[tuple[str, ...]] = set()
    for empty_trip in evidence.empty_trips:
        revision = empty_trip.revision
        if failure := empty_trip.upgrade_failure:
            yield _failed("upgrade-fails", revision, _hinted(failure))
        if failure := empty_trip.second_upgrade_failure:
            reported.add(("second-upgrade-fails", revision.id))
            yield _failed("second-upgrade-fails", revision, failure)
    for trip in evidence.seeded_trips:
        other_tables = {
            other.table
            for other in evidence.seeded_trips
            if other.revision == trip.revision and other.table != trip.table
        }
        for result in (*_upgraded(trip), *_downgraded(trip, except_for=other_tables)):
            # A revision makes one trip per table, and can fail for the same reason in each of them.
            kind = (result.finding.id, str(result.place.revision))
            message = result.finding.message
            if result.finding.id in ("upgrade-fails-on-rows", "downgrade-fails-on-rows"):
                message = message.replace(trip.table, "")
            if kind in reported or (*kind, message) in reported:
                continue
            reported.add((*kind, message))
            yield result


def _upgraded(trip: SeededTrip) -> Iterator[ReportedFinding]:
    if trip.not_filled:
        yield _result("not-seeded", trip, trip.not_filled)
    for refusal in trip.refusals:
        yield _result("refused-as-configured", trip, refusal.reason)
    failure = trip.upgrade_failure
    if failure is None:
        if trip.unproven:
            yield _result("uniqueness-not-proven", trip, trip.unproven)
        # A directive that refused extras has found some.
        for key in () if trip.refusals else trip.untried:
            yield _result("uniqueness-not-tried", trip, key)
    elif failure.sqlstate == UNIQUE_VIOLATION:
        yield _stopped_by_duplicates(trip, failure)
    else:
        yield _failed("upgrade-fails-on-rows", trip.revision, failure, table=trip.table)


def _downgraded(trip: SeededTrip, *, except_for: set[str]) -> Iterator[ReportedFinding]:
    if trip.downgrade_failure:
        yield _failed(
            "downgrade-fails-on-rows", trip.revision, trip.downgrade_failure, table=trip.table, downgrade=True
        )
    for table, (lost, gained) in sorted(trip.row_changes.items()):
        if table in except_for:
            continue  # it has its own trip, with more rows in it
        if lost == 0 and table != trip.table:
            # For example, a trigger logs changes of the table into another one; every row that existed is back.
            details = finding("rows-gained", f"{gained:,} after the round trip of {trip.table}", table=table)
        else:
            subject = f"{quantity(lost, 'row')} lost, {gained:,} new or changed"
            details = finding("rows-lost", subject, table=table)
        yield ReportedFinding(rule=RULE, finding=details, place=trip.revision.place(downgrade=True))
    if trip.second_upgrade_failure:
        yield _failed("second-upgrade-fails", trip.revision, trip.second_upgrade_failure)


def _stopped_by_duplicates(trip: SeededTrip, failure: Failure) -> ReportedFinding:
    rows = quantity(trip.filled.rows if trip.filled else 0, "row")
    # Without extras before the upgrade, the revision itself writes values that are not unique.
    duplicates = (
        f"{quantity(trip.extras, 'extra')} in {rows}" if trip.extras else f"the values that it writes to {rows}"
    )
    details = finding("unique-over-duplicates", f"{duplicates}, key {trip.key}", table=trip.table)
    if trip.suggestion:
        details = replace(details, help=f"{details.help} Write: {trip.suggestion}")
    return ReportedFinding(rule=RULE, finding=details, place=trip.revision.place(failure.line))


def _hinted(failure: Failure) -> Failure:
    """Add what to do if the server lacks an extension."""
    if failure.sqlstate not in NOT_AVAILABLE or "extension" not in failure.reason:
        return failure
    return replace(failure, help="The scratch server lacks this extension: name one that has it with --server URL.")


def _failed(
    id_: CheckId, revision: Revision, failure: Failure, *, table: str = "the table", downgrade: bool = False
) -> ReportedFinding:
    details = finding(id_, failure.reason, table=table)
    return ReportedFinding(
        rule=RULE,
        finding=replace(details, help=failure.help or details.help),
        place=revision.place(failure.line, downgrade=downgrade),
    )


def _result(id_: CheckId, trip: SeededTrip, subject: str) -> ReportedFinding:
    return ReportedFinding(rule=RULE, finding=finding(id_, subject, table=trip.table), place=trip.revision.place())
