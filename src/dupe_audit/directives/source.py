"""The text of a revision's file: whether it can declare uniqueness at all."""

from __future__ import annotations

import re
from ast import Import, ImportFrom, parse, walk
from pathlib import Path

from alembic.script import Script

from dupe_audit.directives.calls import KNOWN_PACKAGES

#: words without which the code of a revision cannot declare uniqueness, and what could hide them
_UNIQUENESS = re.compile(
    r"unique|primary|exclude|duplicates|create_all|getattr|invoke|exec\(|eval\(|open\(|read_text|import_module|__import__",
    re.IGNORECASE,
)


def may_declare(source: str) -> bool:
    """Return whether the code of a revision mentions uniqueness, or calls code that may do so."""
    if _UNIQUENESS.search(source):
        return True
    try:
        nodes = list(walk(parse(source)))
    except SyntaxError:
        return True
    modules = [alias.name for node in nodes if isinstance(node, Import) for alias in node.names]
    modules += [node.module or "" for node in nodes if isinstance(node, ImportFrom)]
    return any(module.partition(".")[0] not in KNOWN_PACKAGES for module in modules)


def source_of(revision: Script) -> str:
    """Return the text of a revision's file."""
    return Path(revision.path).read_text("utf-8", errors="replace")
