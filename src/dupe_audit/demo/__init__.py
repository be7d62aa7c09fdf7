"""``dupe-audit demo``: the whole story on a temporary PostgreSQL of its own, with live writers, each promise measured.

``story`` tells it step by step, ``seed`` makes the table, ``traffic`` is one writer's process, ``writers`` starts and
stops those, ``screen`` prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def demo(*, rows: int = 200_000, extras: int = 3_745, writers: int = 4, console: Console) -> bool:
    """Tell the story on *console*; return whether every promise was kept.

    Args:
        rows: rows of the table before the writers start, the extras among them.
        extras: rows to seed whose key another row already has; at most half of *rows*.
        writers: processes that write the whole time; the first two are the racy old pattern.

    Raises:
        WrongUsage: numbers that cannot be seeded, or fewer than two writers.
        Interrupted: Ctrl-C; nothing of the demo is left running.
        DupeAuditError: the temporary server or a writer could not be started.
    """
    # Every writer's process imports this package too, and none of them needs Alembic or rich.
    from dupe_audit.demo.story import tell

    return tell(rows, extras, writers, console)
