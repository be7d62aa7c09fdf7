"""The names that PostgreSQL itself gives to constraints and indexes."""

from __future__ import annotations

from collections.abc import Iterable

from dupe_audit.model import MAX_IDENTIFIER


def default_name(table: str, columns: Iterable[str], label: str) -> str:
    """Return the name of a constraint or index that was created without one: ``orders_customer_number_key``.

    The rule is ``makeObjectName`` of PostgreSQL's ``indexcmds.c``: where the name would be longer than an identifier
    may be, the longer of its first two parts is cut, byte by byte, and never inside a character.

    Args:
        columns: their names; none for a primary key.
        label: what the object is, such as ``key``, ``idx`` or ``fkey``, and perhaps a number.
    """
    parts = [part for part in (table, "_".join(columns)) if part]
    sizes = [min(len(part.encode()), MAX_IDENTIFIER) for part in parts]
    room = MAX_IDENTIFIER - len(label.encode()) - len(parts)  # an underscore follows each part
    while sum(sizes) > room:
        _, longest = max((size, position) for position, size in enumerate(sizes))
        sizes[longest] -= 1
    return "_".join([*map(truncate_name, parts, sizes), label])


def truncate_name(name: str, size: int) -> str:
    """Return the beginning of a name that has at most *size* bytes, cut between two characters."""
    return name.encode()[:size].decode(errors="ignore")
