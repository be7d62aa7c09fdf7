"""A way back: every revision has a downgrade that works, or says on its face that it has none."""

from __future__ import annotations

from collections.abc import Iterator

from dupe_audit.checks.evidence import Evidence, Revision, Step
from dupe_audit.checks.report import Found
from dupe_audit.findings import CheckId, finding
from dupe_audit.schema.snapshot import differences

RULE = "way-back"

#: objects that one finding names
SHOWN = 5


def check(evidence: Evidence) -> Iterator[Found]:
    """Find revisions that cannot be undone, and downgrades that fail or leave something behind."""
    for revision in evidence.revisions:
        if revision.says_irreversible:
            yield _found("irreversible", revision, revision.id)
        elif revision.empty_downgrade and not revision.empty_upgrade:
            yield _found("no-way-back", revision, revision.id)
    for step in evidence.steps:
        yield from _walked(step)


def _walked(step: Step) -> Iterator[Found]:
    revision = step.revision
    if step.down and step.down.not_implemented:
        yield _found("irreversible", revision, revision.id)
    elif step.down:
        yield _found("downgrade-fails", revision, step.down.reason, line=step.down.line)
    elif step.returned:
        left = differences(step.before, step.returned)
        if left:
            more = f", and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
            yield _found("downgrade-differs", revision, ", ".join(left[:SHOWN]) + more)


def _found(id_: CheckId, revision: Revision, subject: str, *, line: int | None = None) -> Found:
    return Found(rule=RULE, finding=finding(id_, subject), place=revision.place(line, downgrade=True))
