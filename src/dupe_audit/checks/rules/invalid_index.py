"""Invalid indexes: a failed concurrent build leaves one behind, which no query uses and every write maintains."""

from __future__ import annotations

from collections.abc import Iterator

from dupe_audit.checks.evidence import Evidence
from dupe_audit.checks.report import ReportedFinding
from dupe_audit.findings import finding

RULE = "invalid-index"


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Report indexes that are invalid after a revision, and were valid or did not exist before it."""
    before = {trip.revision.id: trip.before for trip in evidence.empty_trips}
    reported: set[tuple[str, str]] = set()
    schemas = [(trip.revision, trip.after) for trip in evidence.empty_trips]
    schemas += [(trip.revision, trip.after) for trip in evidence.seeded_trips]
    for revision, after in schemas:
        invalid_before = {(index.schema, index.name) for index in before[revision.id].indexes if not index.valid}
        for index in after.indexes if after else ():
            if index.valid or (index.schema, index.name) in invalid_before or (revision.id, index.name) in reported:
                continue
            reported.add((revision.id, index.name))
            yield ReportedFinding(
                rule=RULE,
                finding=finding("invalid-index-left", index.name, table=index.table),
                place=revision.place(),
            )
