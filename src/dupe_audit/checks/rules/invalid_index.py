"""No invalid index: a concurrent build that failed leaves one behind, which no query uses and every write maintains."""

from __future__ import annotations

from collections.abc import Iterator

from dupe_audit.checks.evidence import Evidence
from dupe_audit.checks.report import Found
from dupe_audit.findings import finding


def check(evidence: Evidence) -> Iterator[Found]:
    """Find the revision after which an index is invalid that was not there, or was valid, before it."""
    before = {step.revision.id: step.before for step in evidence.steps}
    seen: set[tuple[str, str]] = set()
    looked = [(step.revision, step.after) for step in evidence.steps]
    looked += [(trip.revision, trip.after) for trip in evidence.trips]
    for revision, after in looked:
        known = {(one.schema, one.name) for one in before[revision.id].indexes if not one.valid}
        for index in after.indexes if after else ():
            if index.valid or (index.schema, index.name) in known or (revision.id, index.name) in seen:
                continue
            seen.add((revision.id, index.name))
            yield Found(
                rule="invalid-index",
                finding=finding("invalid-index-left", index.name, table=index.table),
                place=revision.place(),
            )
