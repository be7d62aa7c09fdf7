"""Table lock modes (PostgreSQL documentation, 13.3.1 Table-Level Locks)."""

from __future__ import annotations

from collections.abc import Iterable

#: from the weakest to the strongest: as ``pg_locks`` writes them, and as SQL does
MODES = {
    "AccessShareLock": "ACCESS SHARE",
    "RowShareLock": "ROW SHARE",
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE",
    "ShareLock": "SHARE",
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}

#: modes that conflict with ROW EXCLUSIVE, so they block the application's writes (ACCESS EXCLUSIVE its reads too)
STRONG_MODES = ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")

_STRENGTH = {mode: strength for strength, mode in enumerate(MODES.values())}


def strongest(locks: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Return the strongest SQL mode held on each table, by its oid."""
    return dict(sorted(locks, key=lambda lock: _STRENGTH[lock[1]]))
