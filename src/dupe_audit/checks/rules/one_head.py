"""One head: with two, ``alembic upgrade head`` fails, and what was tested together is not what is deployed."""

from __future__ import annotations

from collections.abc import Iterator

from dupe_audit.checks.evidence import Evidence
from dupe_audit.checks.report import Place, ReportedFinding
from dupe_audit.findings import finding

RULE = "one-head"


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Report a history with several heads; the place is the newest head's file."""
    if len(evidence.heads) < 2:
        return
    ends = [revision for revision in evidence.revisions if revision.id in evidence.heads]
    place = ends[-1].place() if ends else Place()
    yield ReportedFinding(rule=RULE, finding=finding("several-heads", ", ".join(sorted(evidence.heads))), place=place)
