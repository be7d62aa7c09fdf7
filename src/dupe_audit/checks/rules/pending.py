"""Pending revisions, and the duplicates that wait for them in the database that ``--against`` names."""

from __future__ import annotations

from collections.abc import Iterator

from dupe_audit.checks.evidence import Evidence
from dupe_audit.checks.report import Found
from dupe_audit.findings import finding, quantity

RULE = "pending"


def check(evidence: Evidence) -> Iterator[Found]:
    """Find revisions that are not applied there, and tables that one of them cannot make unique as they are."""
    if evidence.against is None:
        return
    for revision in evidence.revisions:
        if revision.id in evidence.against.pending:
            yield Found(rule=RULE, finding=finding("revision-pending", revision.id), place=revision.place())
    for one in evidence.against.waiting:
        revision = evidence.revision(one.revision)
        told = finding(
            "duplicates-in-wait", f"{quantity(one.extras, 'extra')} under the key {one.key}", table=one.table
        )
        yield Found(rule=RULE, finding=told, place=revision.place())
