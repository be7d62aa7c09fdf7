"""The names that PostgreSQL itself gives to constraints and indexes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from dupe_audit.model import MAX_IDENTIFIER


def default_name(table: str, columns: Iterable[str], label: Literal["key", "fkey"]) -> str:
    """Return the name of a constraint or index that was created without one: ``orders_customer_number_key``.

    The rule is ``makeObjectName`` of PostgreSQL's ``indexcmds.c``: where the name would be longer than an identifier
    may be, the longer of its two parts is cut, byte by byte, and never inside a character.
    """
    parts = [table.encode(), "_".join(columns).encode()]
    ending = f"_{label}".encode()
    lengths = [len(part) for part in parts]
    while sum(lengths) + 1 + len(ending) > MAX_IDENTIFIER:
        lengths[0 if lengths[0] > lengths[1] else 1] -= 1
    cut = (part[:length].decode(errors="ignore") for part, length in zip(parts, lengths, strict=True))
    return f"{'_'.join(cut)}_{label}"
