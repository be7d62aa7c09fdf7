"""The seeded round trip: up, proven, down, compared and up again, on tables that hold duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dupe_audit.checks.evidence import Evidence, Failure, Revision, Trip
from dupe_audit.checks.report import Found
from dupe_audit.findings import CheckId, finding, quantity
from dupe_audit.postgres.sqlstates import FEATURE_NOT_SUPPORTED, UNDEFINED_FILE, UNIQUE_VIOLATION

RULE = "round-trip"

#: feature_not_supported, and undefined_file before PostgreSQL 15
NOT_AVAILABLE = (FEATURE_NOT_SUPPORTED, UNDEFINED_FILE)


def check(evidence: Evidence) -> Iterator[Found]:
    """Find revisions that fail, lose rows, or do not make unique what they say."""
    for step in evidence.steps:
        if step.up:
            yield _hinted(_failed("upgrade-fails", step.revision, step.up), step.up)
        if step.up_again:
            yield _failed("second-upgrade-fails", step.revision, step.up_again)
    told: set[tuple[str, ...]] = {
        ("second-upgrade-fails", step.revision.id) for step in evidence.steps if step.up_again
    }
    for trip in evidence.trips:
        own = {one.table for one in evidence.trips if one.revision == trip.revision} - {trip.table}
        for found in (*_there(trip), *_and_back(trip, without=own)):
            # A revision makes a trip for each of its tables, and may fail for the same reason in all.
            once = (found.finding.id, str(found.place.revision))
            message = found.finding.message
            if found.finding.id in ("upgrade-fails-on-rows", "downgrade-fails-on-rows"):
                message = message.replace(trip.table, "")
            if once in told or (*once, message) in told:
                continue
            told.add((*once, message))
            yield found


def _there(trip: Trip) -> Iterator[Found]:
    if trip.not_filled:
        yield _found("not-seeded", trip, trip.not_filled)
    for refusal in trip.refused:
        yield _found("refused-as-told", trip, refusal.reason)
    if trip.up is None:
        if trip.unproven:
            yield _found("uniqueness-not-proven", trip, trip.unproven)
    elif trip.up.sqlstate == UNIQUE_VIOLATION:
        yield _stopped(trip, trip.up)
    else:
        yield _failed("upgrade-fails-on-rows", trip.revision, trip.up, table=trip.table)


def _and_back(trip: Trip, *, without: set[str]) -> Iterator[Found]:
    if trip.down:
        yield _failed("downgrade-fails-on-rows", trip.revision, trip.down, table=trip.table, downgrade=True)
    for table, (lost, gained) in sorted(trip.differs.items()):
        if table in without:
            continue  # which has a trip of its own, with more rows in it
        if lost == 0 and table != trip.table:
            # A trigger that keeps a log of the table does this, and every row that was there is back.
            told = finding("rows-gained", f"{gained:,} after the round trip of {trip.table}", table=table)
        else:
            subject = f"{quantity(lost, 'row')} lost, {gained:,} new or changed"
            told = finding("rows-lost", subject, table=table)
        yield Found(rule=RULE, finding=told, place=trip.revision.place(downgrade=True))
    if trip.up_again:
        yield _failed("second-upgrade-fails", trip.revision, trip.up_again)


def _stopped(trip: Trip, failure: Failure) -> Found:
    rows = quantity(trip.filled.rows if trip.filled else 0, "row")
    extras = f"{quantity(trip.extras, 'extra')} in {rows}" if trip.extras else f"the values that it gives to {rows}"
    told = finding("unique-over-duplicates", f"{extras}, key {trip.key}", table=trip.table)
    if trip.suggestion:
        told = replace(told, help=f"{told.help} Write: {trip.suggestion}")
    return Found(rule=RULE, finding=told, place=trip.revision.place(failure.line))


def _hinted(found: Found, failure: Failure) -> Found:
    """Say what to do about an extension that this server does not have."""
    if failure.sqlstate not in NOT_AVAILABLE or "extension" not in failure.reason:
        return found
    told = "The scratch server lacks this extension: name one that has it with --server URL."
    return replace(found, finding=replace(found.finding, help=told))


def _failed(
    id_: CheckId, revision: Revision, failure: Failure, *, table: str = "the table", downgrade: bool = False
) -> Found:
    return Found(
        rule=RULE,
        finding=finding(id_, failure.reason, table=table),
        place=revision.place(failure.line, downgrade=downgrade),
    )


def _found(id_: CheckId, trip: Trip, subject: str) -> Found:
    return Found(rule=RULE, finding=finding(id_, subject, table=trip.table), place=trip.revision.place())
