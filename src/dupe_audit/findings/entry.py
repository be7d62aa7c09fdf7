"""The words of one finding."""

from __future__ import annotations

from typing import NamedTuple

from dupe_audit.model import Severity


class Entry(NamedTuple):
    """What is wrong and what to do; ``{subject}`` and ``{table}`` are filled in."""

    severity: Severity
    message: str
    help: str
    acceptable: bool = False  #: a person may take responsibility and go on
