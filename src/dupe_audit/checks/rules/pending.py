"""Pending revisions, and the duplicates that will stop them, in the database that ``--against`` names."""

from __future__ import annotations

from collections.abc import Iterator

from dupe_audit.checks.evidence import Evidence
from dupe_audit.checks.report import ReportedFinding
from dupe_audit.findings import finding, quantity

RULE = "pending"


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Report revisions that are not applied there, and tables whose duplicates would stop one of them."""
    if evidence.target is None:
        return
    for revision in evidence.revisions:
        if revision.id in evidence.target.pending:
            yield ReportedFinding(rule=RULE, finding=finding("revision-pending", revision.id), place=revision.place())
    for waiting in evidence.target.waiting:
        place = evidence.revision(waiting.revision).place()
        extras = f"{quantity(waiting.extras, 'extra')} under the key {waiting.key}"
        yield ReportedFinding(
            rule=RULE, finding=finding("duplicates-in-wait", extras, table=waiting.table), place=place
        )
