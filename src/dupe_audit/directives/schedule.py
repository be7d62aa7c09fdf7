"""The order of work, which can differ from the order of lines: a new key is enforced before the old one is dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from alembic.operations import MigrateOperation

from dupe_audit.directives.effects import effect
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.recording import Item, PlainStatement
from dupe_audit.directives.schemas import Elsewhere
from dupe_audit.model import UniqueKey

log = logging.getLogger("alembic.dupe_audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A directive to execute."""

    operation: MigrateOperation
    retiring: tuple[DropUniqueConstraintOnlineOp, ...] = ()  #: of a create: constraints to drop once it is enforced
    created: CreateUniqueConstraintOnlineOp | None = None  #: of a restore: what this revision enforces again


def schedule(items: Sequence[Item], table_of: Callable[[UniqueKey], Hashable]) -> dict[int, tuple[Task, ...]]:
    """Return what to execute when each directive is called, by its position among the directives.

    A drop written before a create on the same table is executed after it. If a restore is written between them, as in
    the downgrade of a changed key, the create is executed first: the restored rows obey the old key.

    Args:
        items: of the revision, in the order of its lines.
        table_of: identifies the table of a key.
    """
    positions = [number for number, item in enumerate(items) if isinstance(item, MigrateOperation)]
    work: dict[int, list[Task]] = {number: [Task(operation=items[number])] for number in positions}  # type: ignore[arg-type]
    for number in positions:
        drop = items[number]
        if isinstance(drop, DropUniqueConstraintOnlineOp):
            _reorder(items, work, number, drop, table_of)
    return {position: tuple(work[number]) for position, number in enumerate(positions)}


def _reorder(
    items: Sequence[Item],
    work: dict[int, list[Task]],
    number: int,
    drop: DropUniqueConstraintOnlineOp,
    table_of: Callable[[UniqueKey], Hashable],
) -> None:
    table = table_of(drop.key)
    later = [
        (position, item)
        for position, item in enumerate(items)
        if position > number
        and isinstance(item, MigrateOperation)
        and not isinstance(item, Elsewhere)
        and table_of(item.key) == table  # type: ignore[attr-defined]
    ]
    creates = [position for position, item in later if isinstance(item, CreateUniqueConstraintOnlineOp)]
    if not creates:
        return
    last = creates[-1]
    if any(_changes(item, drop.key) for item in items[number + 1 : last]):
        log.info(
            "constraint %s is dropped before the new key is enforced: a statement between them can depend on that",
            drop.key.name,
        )
        return
    for slot, tasks in work.items():
        work[slot] = [_retiring(task, drop) if _is_one_of(task, items, creates) else task for task in tasks]
    if not work[last]:
        return  # another drop of this table has brought the creates forward already
    between = [item for position, item in later if position < last]
    if not any(isinstance(item, RestoreDuplicatesOp) for item in between):
        work[last].append(Task(operation=drop))
        work[number] = []
    elif not any(isinstance(item, ArchiveDuplicatesOp) for item in between):
        work[number] = [*(task for position in creates for task in work[position]), *work[number]]
        for position in creates:
            work[position] = []
        for position, item in later:
            if position < last and isinstance(item, RestoreDuplicatesOp):
                created = _same_columns(item.key, items, creates)
                work[position] = [replace(task, created=created) for task in work[position]]
    else:
        log.info("constraint %s is dropped before the new key is enforced: rows are restored first", drop.key.name)


def _is_one_of(task: Task, items: Sequence[Item], positions: Sequence[int]) -> bool:
    return any(task.operation is items[position] for position in positions)


def _changes(item: Item, key: UniqueKey) -> bool:
    return isinstance(item, PlainStatement) and effect(item.construct).concerns(key.schema, key.table)


def _retiring(task: Task, drop: DropUniqueConstraintOnlineOp) -> Task:
    return replace(task, retiring=(*task.retiring, drop))


def _same_columns(
    key: UniqueKey, items: Sequence[Item], creates: Sequence[int]
) -> CreateUniqueConstraintOnlineOp | None:
    for position in creates:
        item = items[position]
        if isinstance(item, CreateUniqueConstraintOnlineOp) and item.key.scope == key.scope:
            return item
    return None
