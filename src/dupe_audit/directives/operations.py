"""What a revision asks for: six Alembic operations, each with its reverse. ``online`` and ``offline`` execute them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from alembic.operations import MigrateOperation, Operations

from dupe_audit.directives.arguments import (
    Element,
    Predicate,
    column_names,
    directive,
    elements,
    initial_mode,
    plain_columns,
    predicate,
)
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey, check_boolean, check_identifier

#: placeholder for the columns of a key that is known by its constraint's name alone
UNKNOWN = "?"


@directive("archive_duplicates")
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
        columns: Sequence[Element],
        *,
        schema: str | None = None,
        where: Predicate = None,
        keep: Literal["first", "last"] = "first",
        order_by: Sequence[Element] | None = None,
        nulls_not_distinct: bool = False,
        divergent: Literal["refuse", "archive"] = "refuse",
        references: Literal["refuse", "repoint"] = "refuse",
        ignore: Sequence[str] = (),
        batch_size: int = 5000,
        pause: float = 0,
        max_replica_lag: float | None = None,
    ) -> None:
        """Move every row but one of each group of duplicates into a private archive, while the application writes.

        After any interruption, the same ``alembic upgrade`` continues where it stopped.

        Args:
            table: name as in the catalog, unquoted.
            columns: elements of the key, in any order: names of columns, and expressions (``sa.text``).
            schema: schema of the table; None searches the search path.
            where: predicate; the key is about the rows for which it is true. None: all rows.
            keep: which row of a group survives, in the order of ``order_by``.
            order_by: columns that define the order, whose NULLs sort last, and SQL (``sa.text``), which may have a
                direction and a subquery that uses the table by its name; the primary key breaks ties.
            nulls_not_distinct: whether two NULLs are equal (PostgreSQL 15 and later).
            divergent: ``refuse`` stops if the rows of a group carry different data; ``archive`` keeps one of them.
            references: ``refuse`` stops if a foreign key references an extra; ``repoint`` points it at the survivor.
            ignore: columns in which the rows of a group may differ and still be exact duplicates.
            batch_size: rows per transaction, 1 to 100,000; with ``repoint``, extras and their children together.
            pause: seconds between two batches.
            max_replica_lag: seconds; a batch waits while a standby's replay is further behind.

        Raises:
            CommandError: the table or its duplicates cannot be cleaned safely; the message says what to do.
            WrongUsage: an argument can never work: a name that PostgreSQL cannot store, a value out of range.
        """
        rule = CleanupRule(
            keep=keep,
            order_by=elements("order_by", () if order_by is None else order_by),
            divergent=divergent,
            references=references,
            ignore=column_names("ignore", ignore),
            batch_size=batch_size,
            pause=pause,
            max_replica_lag=max_replica_lag,
        )
        key = UniqueKey(
            table=table,
            columns=elements("columns", columns),
            schema=schema,
            where=predicate("where", where),
            nulls_not_distinct=nulls_not_distinct,
        )
        operations.invoke(cls(key, rule))

    def reverse(self) -> RestoreDuplicatesOp:
        """Return the operation that puts the rows back."""
        return RestoreDuplicatesOp(self.key, rule=self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("archive_duplicates", str(self.key))


@directive("restore_duplicates")
class RestoreDuplicatesOp(MigrateOperation):
    """Put the archived rows of a key back."""

    def __init__(self, key: UniqueKey, *, rule: CleanupRule | None = None) -> None:
        self.key = key
        self.rule = rule or CleanupRule()

    @classmethod
    def restore_duplicates(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[Element],
        *,
        schema: str | None = None,
        where: Predicate = None,
    ) -> None:
        """Put back, byte for byte, the rows that the newest run of ``archive_duplicates`` for these columns removed.

        Drop the constraint first. After any interruption, the same ``alembic downgrade`` continues where it stopped.
        If the run was purged, a warning is logged; if nothing was ever archived, nothing happens.

        Args:
            table: name as in the catalog, unquoted.
            columns: elements of the key, in any order, as ``archive_duplicates`` has them.
            schema: schema of the table; None searches the search path.
            where: predicate of the key.

        Raises:
            CommandError: rows could not be put back, which stay in the archive with the reason; or the archive is
                missing, or the table has lost a column that was archived.
            WrongUsage: a name is not one that PostgreSQL can store, or the columns are empty or repeated.
        """
        key = UniqueKey(
            table=table, columns=elements("columns", columns), schema=schema, where=predicate("where", where)
        )
        operations.invoke(cls(key))

    def reverse(self) -> ArchiveDuplicatesOp:
        """Return the operation that archives the rows again."""
        return ArchiveDuplicatesOp(self.key, self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("restore_duplicates", str(self.key))


@directive("create_unique_constraint_online")
class CreateUniqueConstraintOnlineOp(MigrateOperation):
    """Build a unique index concurrently and attach it as a constraint."""

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
        """Create a unique constraint while the application reads and writes, and verify it.

        If a duplicate arrives during the build, it is archived by the rule of ``archive_duplicates``, and the index
        is built again. Durations are written as in PostgreSQL: ``500ms``, ``2s``, ``10min``.

        Args:
            name: name of the constraint and of its index, at most 63 bytes.
            table: name as in the catalog, unquoted.
            columns: columns of the key, in the order of the index.
            schema: schema of the table; None searches the search path.
            nulls_not_distinct: whether two NULLs are equal (PostgreSQL 15 and later).
            include: columns that the index stores but does not compare.
            deferrable: whether the constraint can be checked at the end of a transaction.
            initially: ``IMMEDIATE`` or ``DEFERRED``.
            comment: comment on the constraint in the catalog.
            lock_timeout: limit of one wait for a lock, which is also the longest that the application waits behind it.
            give_up_after: limit of the total wait for one lock, over all attempts, and of the rounds of cleaning and
                building while new duplicates arrive.
            build_attempts: concurrent builds that new duplicates have to stop before the writers of a small table are
                held for one build; also the least number before it gives up.

        Raises:
            CommandError: the constraint could not be created or verified; the message says what to do.
            WrongUsage: an argument can never work: a name that PostgreSQL cannot store, a value out of range.
        """
        check_identifier("constraint", name)
        if deferrable is not None:
            check_boolean("deferrable", deferrable)
        key = UniqueKey(
            table=table,
            columns=plain_columns(columns),
            schema=schema,
            name=name,
            nulls_not_distinct=nulls_not_distinct,
            include=column_names("include", () if include is None else include),
            deferrable=bool(deferrable),
            initially=initial_mode(initially),
        )
        rule = BuildRule(
            lock_timeout=lock_timeout, give_up_after=give_up_after, build_attempts=build_attempts, comment=comment
        )
        operations.invoke(cls(key, rule))

    def reverse(self) -> DropUniqueConstraintOnlineOp:
        """Return the operation that drops the constraint."""
        return DropUniqueConstraintOnlineOp(self.key, self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("create_unique_constraint_online", self.key.name, str(self.key))


@directive("drop_unique_constraint_online")
class DropUniqueConstraintOnlineOp(MigrateOperation):
    """Drop a constraint without making the application queue behind the lock."""

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
        """Drop a unique constraint and its index with a short lock timeout.

        An unfinished index that an interrupted upgrade left behind is dropped too. If neither exists, nothing happens.

        Args:
            name: name of the constraint.
            table: name as in the catalog, unquoted.
            schema: schema of the table; None searches the search path.
            lock_timeout: limit of one wait for the lock, as PostgreSQL writes durations.
            give_up_after: limit of the total wait for the lock, over all attempts.

        Raises:
            CommandError: the constraint could not be dropped; the message says what to do.
            WrongUsage: an argument can never work: a name that PostgreSQL cannot store, a value out of range.
        """
        check_identifier("constraint", name)
        key = UniqueKey(table=table, columns=(UNKNOWN,), schema=schema, name=name)
        operations.invoke(cls(key, BuildRule(lock_timeout=lock_timeout, give_up_after=give_up_after)))

    def reverse(self) -> CreateUniqueConstraintOnlineOp:
        """Return the operation that creates the constraint again.

        Raises:
            ValueError: the columns are not known, because the operation was written by hand.
        """
        if self.key.columns == (UNKNOWN,):
            raise ValueError(
                f"drop_unique_constraint_online({self.key.name!r}) has no columns, so it cannot be reversed"
            )
        return CreateUniqueConstraintOnlineOp(self.key, self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("drop_unique_constraint_online", self.key.name, self.key.table)


@directive("create_unique_index_online")
class CreateUniqueIndexOnlineOp(CreateUniqueConstraintOnlineOp):
    """Build a unique index concurrently, over any key; it becomes no constraint."""

    @classmethod
    def create_unique_index_online(
        cls,
        operations: Operations,
        name: str,
        table: str,
        columns: Sequence[Element],
        *,
        schema: str | None = None,
        where: Predicate = None,
        nulls_not_distinct: bool = False,
        include: Sequence[str] | None = None,
        comment: str | None = None,
        lock_timeout: str = "500ms",
        give_up_after: str = "10min",
        build_attempts: int = 5,
    ) -> None:
        """Create a unique index while the application reads and writes, and verify it.

        A key with an expression or a predicate can be an index only. Otherwise as ``create_unique_constraint_online``.

        Args:
            name: name of the index, at most 63 bytes.
            table: name as in the catalog, unquoted.
            columns: elements of the key, in the order of the index: names of columns, and immutable expressions
                (``sa.text``), which may have ``COLLATE``.
            schema: schema of the table; None searches the search path.
            where: predicate; the key is about the rows for which it is true. None: all rows.
            nulls_not_distinct: whether two NULLs are equal (PostgreSQL 15 and later).
            include: columns that the index stores but does not compare.
            comment: comment on the index in the catalog.
            lock_timeout: limit of one wait for a lock, which is also the longest that the application waits behind it.
            give_up_after: limit of the total wait for one lock, and of the rounds of cleaning and building.
            build_attempts: concurrent builds that new duplicates have to stop before the writers are held, or before
                it gives up.

        Raises:
            CommandError: the index could not be created or verified; the message says what to do.
            WrongUsage: an argument can never work: a name that PostgreSQL cannot store, a value out of range.
        """
        check_identifier("index", name)
        key = UniqueKey(
            table=table,
            columns=elements("columns", columns),
            schema=schema,
            name=name,
            where=predicate("where", where),
            nulls_not_distinct=nulls_not_distinct,
            include=column_names("include", () if include is None else include),
            form="index",
        )
        rule = BuildRule(
            lock_timeout=lock_timeout, give_up_after=give_up_after, build_attempts=build_attempts, comment=comment
        )
        operations.invoke(cls(key, rule))

    def reverse(self) -> DropUniqueIndexOnlineOp:
        """Return the operation that drops the index."""
        return DropUniqueIndexOnlineOp(self.key, self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("create_unique_index_online", self.key.name, str(self.key))


@directive("drop_unique_index_online")
class DropUniqueIndexOnlineOp(DropUniqueConstraintOnlineOp):
    """Drop a unique index while the application reads and writes."""

    @classmethod
    def drop_unique_index_online(
        cls,
        operations: Operations,
        name: str,
        table: str,
        *,
        schema: str | None = None,
        lock_timeout: str = "500ms",
        give_up_after: str = "10min",
    ) -> None:
        """Drop a unique index concurrently. If it does not exist, nothing happens.

        Args:
            name: name of the index.
            table: name as in the catalog, unquoted.
            schema: schema of the table; None searches the search path.
            lock_timeout: limit of one wait for a lock, as PostgreSQL writes durations.
            give_up_after: limit of the total wait for the lock, over all attempts.

        Raises:
            CommandError: the index could not be dropped; the message says what to do.
            WrongUsage: an argument can never work: a name that PostgreSQL cannot store, a value out of range.
        """
        check_identifier("index", name)
        key = UniqueKey(table=table, columns=(UNKNOWN,), schema=schema, name=name, form="index")
        operations.invoke(cls(key, BuildRule(lock_timeout=lock_timeout, give_up_after=give_up_after)))

    def reverse(self) -> CreateUniqueIndexOnlineOp:
        """Return the operation that creates the index again.

        Raises:
            ValueError: the elements are not known, because the operation was written by hand.
        """
        if self.key.columns == (UNKNOWN,):
            raise ValueError(f"drop_unique_index_online({self.key.name!r}) has no columns, so it cannot be reversed")
        return CreateUniqueIndexOnlineOp(self.key, self.rule)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("drop_unique_index_online", self.key.name, self.key.table)
