"""What a finding is, and what the catalogue holds about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from dupe_audit.findings.ids import FindingId

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something to know before or after the change, with what to do about it."""

    id: FindingId  #: stable; each has a page under docs/reference/findings
    severity: Severity
    message: str  #: what is wrong, and where
    help: str  #: what to do next: a command or SQL that can be pasted


class Entry(NamedTuple):
    """The severity and the texts of one finding; ``{subject}`` and ``{table}`` are filled in."""

    severity: Severity
    message: str
    help: str
    acceptable: bool = False  #: a person may take responsibility and continue
