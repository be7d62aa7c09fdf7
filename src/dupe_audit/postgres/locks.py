"""Table lock modes (PostgreSQL documentation, 13.3.1 Table-Level Locks)."""

from __future__ import annotations

from collections.abc import Iterable

#: modes that other modules use by name, as SQL writes them
SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
SHARE = "SHARE"
ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

#: from the weakest to the strongest: as ``pg_locks`` writes them, and as SQL does
MODES = {
    "AccessShareLock": "ACCESS SHARE",
    "RowShareLock": "ROW SHARE",
    "RowExclusiveLock": "ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": SHARE_UPDATE_EXCLUSIVE,
    "ShareLock": SHARE,
    "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE",
    "AccessExclusiveLock": ACCESS_EXCLUSIVE,
}

_STRENGTH = {mode: strength for strength, mode in enumerate(MODES.values())}

#: modes that conflict with ROW EXCLUSIVE, so they block the application's writes (ACCESS EXCLUSIVE its reads too)
STRONG_MODES = tuple(mode for mode in MODES.values() if _STRENGTH[mode] >= _STRENGTH[SHARE])


def strongest(locks: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Return the strongest SQL mode held on each table, by its oid."""
    return dict(sorted(locks, key=lambda lock: _STRENGTH[lock[1]]))
