"""Comments in which a person takes responsibility for a finding."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"(?:#|--)\s*dupe-audit:\s*accept\s+([\w-]+(?:\s*,\s*[\w-]+)*)")


def accepted(text: str) -> frozenset[str]:
    """Return the ids in the comments of a text: ``# dupe-audit: accept rows-lost, no-way-back - why``."""
    return frozenset(name.strip() for found in _COMMENT.finditer(text) for name in found[1].split(","))
