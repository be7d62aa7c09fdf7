"""``dupe-audit demo``: the whole change on its own temporary PostgreSQL, with live writers, each promise measured.

``story`` has the scenes, ``seed`` fills the table, ``traffic`` is the process of one writer, ``writers`` starts and
stops those processes, ``ending`` judges what they saw, ``screen`` prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def demo(*, rows: int = 200_000, extras: int = 3_745, writers: int = 4, console: Console) -> bool:
    """Play the demo on *console*; return whether every promise was kept.

    Args:
        rows: rows in the table before the writers start, extras included.
        extras: seeded rows whose key another row already has; at most half of *rows*.
        writers: processes that write during the demo; the first two use the old pattern, which races.

    Raises:
        WrongUsage: numbers that cannot be seeded, or fewer than two writers.
        Interrupted: Ctrl-C; no process of the demo keeps running.
        DupeAuditError: the temporary server or a writer could not be started.
    """
    # Every writer's process imports this package too, and does not need Alembic or rich.
    from dupe_audit.demo.story import play

    return play(rows, extras, writers, console)
