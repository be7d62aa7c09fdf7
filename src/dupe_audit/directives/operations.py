"""What a revision asks for: four Alembic operations, each with its way back. How it is done is in ``ops``.

A revision can be read without running it: inside ``recording()`` the operations are collected instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from alembic.operations import MigrateOperation, Operations

from dupe_audit.model import BuildRule, CleanupRule, UniqueKey

_recorded: ContextVar[list[MigrateOperation] | None] = ContextVar("dupe_audit_recorded", default=None)


@contextmanager
def recording() -> Iterator[list[MigrateOperation]]:
    """Collect the operations that are asked for inside the block, and run none of them."""
    collected: list[MigrateOperation] = []
    token = _recorded.set(collected)
    try:
        yield collected
    finally:
        _recorded.reset(token)


def _ask(operations: Operations, operation: MigrateOperation) -> None:
    collected = _recorded.get()
    if collected is None:
        operations.invoke(operation)
    else:
        collected.append(operation)


@Operations.register_operation("archive_duplicates")
class ArchiveDuplicatesOp(MigrateOperation):
    """Move the extras of a key into an archive."""

    def __init__(self, key: UniqueKey, rule: CleanupRule) -> None:
        self.key = key
        self.rule = rule

    @classmethod
    def archive_duplicates(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[str],
        *,
        schema: str | None = None,
        keep: Literal["first", "last"] = "first",
        order_by: Sequence[str] | None = None,
        nulls_not_distinct: bool = False,
        divergent: Literal["refuse", "archive"] = "refuse",
        references: Literal["refuse", "repoint"] = "refuse",
        ignore: Sequence[str] = (),
        batch_size: int = 5000,
        pause: float = 0,
        max_replica_lag: float | None = None,
    ) -> None:
        """Move every row but one of each group into a private archive, in batches, while the application writes.

        Args:
            table: name, unquoted.
            columns: the key.
            schema: None for the search path's.
            keep: which row survives, by ``order_by``.
            order_by: columns; ties end in the primary key.
            nulls_not_distinct: whether two NULLs are equal (PostgreSQL 15+).
            divergent: what to do with groups whose rows carry different data.
            references: what to do with extras that other tables reference.
            ignore: columns in which copies may differ and still be exact.
            batch_size: rows per transaction.
            pause: seconds of rest between batches.
            max_replica_lag: seconds; batches wait while a standby is further behind.
        """
        rule = CleanupRule(
            keep=keep,
            order_by=_names(order_by or ()),
            divergent=divergent,
            references=references,
            ignore=_names(ignore),
            batch_size=batch_size,
            pause=pause,
            max_replica_lag=max_replica_lag,
        )
        key = UniqueKey(table=table, columns=_names(columns), schema=schema, nulls_not_distinct=nulls_not_distinct)
        _ask(operations, cls(key, rule))

    def reverse(self) -> RestoreDuplicatesOp:
        """Return the operation that puts the rows back."""
        return RestoreDuplicatesOp(self.key, rule=self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("archive_duplicates", str(self.key))


@Operations.register_operation("restore_duplicates")
class RestoreDuplicatesOp(MigrateOperation):
    """Put the archived rows of a key back."""

    def __init__(self, key: UniqueKey, *, rule: CleanupRule | None = None) -> None:
        self.key = key
        self.rule = rule or CleanupRule()

    @classmethod
    def restore_duplicates(
        cls, operations: Operations, table: str, columns: Sequence[str], *, schema: str | None = None
    ) -> None:
        """Put back, byte for byte, what ``archive_duplicates`` removed; run it again after any interruption."""
        _ask(operations, cls(UniqueKey(table=table, columns=_names(columns), schema=schema)))

    def reverse(self) -> ArchiveDuplicatesOp:
        """Return the operation that archives the rows again."""
        return ArchiveDuplicatesOp(self.key, self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("restore_duplicates", str(self.key))


@Operations.register_operation("create_unique_constraint_online")
class CreateUniqueConstraintOnlineOp(MigrateOperation):
    """Build a unique index concurrently and adopt it as a constraint."""

    def __init__(self, key: UniqueKey, rule: BuildRule) -> None:
        self.key = key
        self.rule = rule

    @classmethod
    def create_unique_constraint_online(
        cls,
        operations: Operations,
        name: str,
        table: str,
        columns: Sequence[str],
        *,
        schema: str | None = None,
        nulls_not_distinct: bool = False,
        include: Sequence[str] | None = None,
        deferrable: bool | None = None,
        initially: str | None = None,
        comment: str | None = None,
        lock_timeout: str = "500ms",
        give_up_after: str = "10min",
        build_attempts: int = 5,
    ) -> None:
        """Make a key a unique constraint while the application reads and writes, and verify it.

        Args:
            name: of the constraint and its index.
            table: name, unquoted.
            columns: the key, in the index's order.
            schema: None for the search path's.
            nulls_not_distinct: whether two NULLs are equal (PostgreSQL 15+).
            include: columns that the index carries but does not compare.
            deferrable: whether the check can wait until the end of a transaction.
            initially: ``IMMEDIATE`` or ``DEFERRED``.
            comment: what the catalog shall say about the constraint.
            lock_timeout: what a statement of the application may wait behind ours.
            give_up_after: total wait for one lock, all tries together.
            build_attempts: rounds of cleaning and building while new duplicates arrive.
        """
        key = UniqueKey(
            table=table,
            columns=_names(columns),
            schema=schema,
            name=name,
            nulls_not_distinct=nulls_not_distinct,
            include=_names(include or ()),
            deferrable=bool(deferrable),
            initially="DEFERRED" if (initially or "").upper() == "DEFERRED" else "IMMEDIATE",
        )
        rule = BuildRule(
            lock_timeout=lock_timeout, give_up_after=give_up_after, build_attempts=build_attempts, comment=comment
        )
        _ask(operations, cls(key, rule))

    def reverse(self) -> DropUniqueConstraintOnlineOp:
        """Return the operation that drops the constraint."""
        return DropUniqueConstraintOnlineOp(self.key, self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("create_unique_constraint_online", self.key.name, str(self.key))


@Operations.register_operation("drop_unique_constraint_online")
class DropUniqueConstraintOnlineOp(MigrateOperation):
    """Drop a constraint without queueing the application behind the lock."""

    def __init__(self, key: UniqueKey, rule: BuildRule) -> None:
        self.key = key
        self.rule = rule

    @classmethod
    def drop_unique_constraint_online(
        cls,
        operations: Operations,
        name: str,
        table: str,
        *,
        schema: str | None = None,
        lock_timeout: str = "500ms",
        give_up_after: str = "10min",
    ) -> None:
        """Drop the constraint and its index with a short lock timeout, tried until *give_up_after*."""
        key = UniqueKey(table=table, columns=(UNKNOWN,), schema=schema, name=name)
        _ask(operations, cls(key, BuildRule(lock_timeout=lock_timeout, give_up_after=give_up_after)))

    def reverse(self) -> CreateUniqueConstraintOnlineOp:
        """Return the operation that makes the constraint again.

        Raises:
            ValueError: the operation was written by hand, and only its name is known.
        """
        if self.key.columns == (UNKNOWN,):
            raise ValueError(f"the columns of {self.key.name} are not known, so dropping it cannot be reversed")
        return CreateUniqueConstraintOnlineOp(self.key, self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("drop_unique_constraint_online", self.key.name, self.key.table)


#: stands for the columns of a key of which only the constraint's name is known
UNKNOWN = "?"


def _names(columns: Sequence[str]) -> tuple[str, ...]:
    """Return column names as a tuple; one bare string is one column, not its letters."""
    return (columns,) if isinstance(columns, str) else tuple(columns)
