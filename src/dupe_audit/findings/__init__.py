"""The catalogue of findings: what is wrong and what to do, for all commands. One page each in the docs.

A step may replace the help where it knows more about the table, such as the command that creates a missing constraint.

``{subject}`` is what the finding is about: a name, a quantity, a pid. ``{table}`` is the qualified table.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from dupe_audit.findings.check import CHECK
from dupe_audit.findings.comments import accepted
from dupe_audit.findings.entry import Entry, Finding, Severity
from dupe_audit.findings.ids import CheckId, FindingId, StepId
from dupe_audit.findings.steps import STEPS
from dupe_audit.findings.wording import (
    describe_session,
    done_to_rows,
    quantity,
    similar,
    without_addresses,
    without_passwords,
)

__all__ = [
    "CATALOGUE",
    "CHECK",
    "STEPS",
    "CheckId",
    "Entry",
    "Finding",
    "FindingId",
    "Severity",
    "StepId",
    "accepted",
    "describe_session",
    "done_to_rows",
    "finding",
    "finding_id",
    "missing_column",
    "quantity",
    "similar",
    "without_addresses",
    "without_passwords",
]

CATALOGUE: dict[FindingId, Entry] = STEPS | CHECK

_IDS: dict[str, FindingId] = {id_: id_ for id_ in CATALOGUE}


def finding_id(name: str) -> FindingId:
    """Return the id that a row of SQL names, such as one of ``blockers.sql``.

    Raises:
        KeyError: the catalogue has no such finding.
    """
    return _IDS[name]


def finding(id_: FindingId, subject: object = "", *, table: str = "the table") -> Finding:
    """Return the finding with that id about *subject*."""
    entry = CATALOGUE[id_]
    values = {"subject": subject, "table": table}
    return Finding(
        id=id_,
        severity=entry.severity,
        message=entry.message.format(**values),
        help=entry.help.format(**values),
    )


def missing_column(name: str, names: Collection[str], *, table: str) -> Finding:
    """Return the finding that a table lacks a column, with those of its columns that have a similar name."""
    missing = finding("column-missing", name, table=table)
    return replace(missing, help=similar(name, names) + missing.help)
