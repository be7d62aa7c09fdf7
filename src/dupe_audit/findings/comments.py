"""Comments in which a person takes responsibility for a finding."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"(?:#|--)\s*dupe-audit:\s*accept\s+([\w-]+(?:\s*,\s*[\w-]+)*)")


def accepted(text: str) -> frozenset[str]:
    """Return the finding ids in comments such as ``# dupe-audit: accept rows-lost, no-way-back - reason``."""
    return frozenset(name.strip() for comment in _COMMENT.finditer(text) for name in comment[1].split(","))
