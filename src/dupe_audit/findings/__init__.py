"""The catalogue of findings: what is wrong and what to do, once for every door. One page each in the docs.

``{subject}`` is what the finding is about: a name, a number, a pid. ``{table}`` is the table.
"""

from __future__ import annotations

from dupe_audit.findings.check import CHECK
from dupe_audit.findings.entry import Entry, Finding, Severity
from dupe_audit.findings.steps import STEPS

__all__ = ["CATALOGUE", "CHECK", "STEPS", "Entry", "Finding", "Severity", "finding"]

CATALOGUE: dict[str, Entry] = STEPS | CHECK


def finding(id_: str, subject: object = "", *, table: str = "the table") -> Finding:
    """Return the finding of that id about *subject*."""
    entry = CATALOGUE[id_]
    values = {"subject": subject, "table": table}
    return Finding(
        id=id_,
        severity=entry.severity,
        message=entry.message.format(**values),
        help=entry.help.format(**values),
    )
