"""A finding, and the words of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a person has to know before (or after) the change, with the way out."""

    id: str  #: stable; each has a page under docs/reference/findings
    severity: Severity
    message: str  #: what is wrong
    help: str  #: what to do: a command or SQL that can be pasted


class Entry(NamedTuple):
    """What is wrong and what to do; ``{subject}`` and ``{table}`` are filled in."""

    severity: Severity
    message: str
    help: str
    acceptable: bool = False  #: a person may take responsibility and go on
