"""Create and drop a unique constraint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations

from dupe_audit.directives.arguments import (
    Element,
    ManySchemas,
    column_names,
    initial_mode,
    many_schemas,
    plain_columns,
)
from dupe_audit.directives.registration import directive
from dupe_audit.model import (
    BUILD_ATTEMPTS,
    GIVE_UP_AFTER,
    LOCK_TIMEOUT,
    BuildRule,
    Schemas,
    UniqueKey,
    check_boolean,
    check_identifier,
)

#: placeholder for the columns of a key that is known by its constraint's name alone
UNKNOWN = "?"


@directive("create_unique_constraint_online")
class CreateUniqueConstraintOnlineOp(MigrateOperation):
    """Build a unique index concurrently and attach it as a constraint."""

    def __init__(self, key: UniqueKey, rule: BuildRule, schemas: Schemas | None = None) -> None:
        self.key = key
        self.rule = rule
        self.schemas = schemas

    @classmethod
    def create_unique_constraint_online(
        cls,
        operations: Operations,
        name: str,
        table: str,
        columns: Sequence[Element],
        *,
        schema: str | None = None,
        schemas: ManySchemas = None,
        nulls_not_distinct: bool = False,
        include: Sequence[str] | None = None,
        deferrable: bool | None = None,
        initially: str | None = None,
        comment: str | None = None,
        lock_timeout: str = LOCK_TIMEOUT,
        give_up_after: str = GIVE_UP_AFTER,
        build_attempts: int = BUILD_ATTEMPTS,
    ) -> None:
        """Create a unique constraint while the application reads and writes, and verify it.

        If a duplicate arrives during the build, it is archived by the rule of ``archive_duplicates``, and the index
        is built again. Durations are written as in PostgreSQL: ``500ms``, ``2s``, ``10min``.

        Args:
            name: name of the constraint and of its index, at most 63 bytes.
            table: name as in the catalog, unquoted.
            columns: columns of the key, in the order of the index.
            schema: schema of the table; None searches the search path.
            schemas: schemas that have the table: a list of names, or a query that returns them (``sa.text``). Excludes
                *schema*.
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
        operations.invoke(cls(key, rule, many_schemas(schemas, schema)))

    def reverse(self) -> DropUniqueConstraintOnlineOp:
        """Return the operation that drops the constraint."""
        return DropUniqueConstraintOnlineOp(self.key, self.rule, self.schemas)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("create_unique_constraint_online", self.key.name, str(self.key))


@directive("drop_unique_constraint_online")
class DropUniqueConstraintOnlineOp(MigrateOperation):
    """Drop a constraint without making the application queue behind the lock."""

    def __init__(self, key: UniqueKey, rule: BuildRule, schemas: Schemas | None = None) -> None:
        self.key = key
        self.rule = rule
        self.schemas = schemas

    @classmethod
    def drop_unique_constraint_online(
        cls,
        operations: Operations,
        name: str,
        table: str,
        *,
        schema: str | None = None,
        schemas: ManySchemas = None,
        lock_timeout: str = LOCK_TIMEOUT,
        give_up_after: str = GIVE_UP_AFTER,
    ) -> None:
        """Drop a unique constraint and its index with a short lock timeout.

        An unfinished index that an interrupted upgrade left behind is dropped too. If neither exists, nothing happens.

        Args:
            name: name of the constraint.
            table: name as in the catalog, unquoted.
            schema: schema of the table; None searches the search path.
            schemas: schemas that have the table: a list of names, or a query that returns them (``sa.text``). Excludes
                *schema*.
            lock_timeout: limit of one wait for the lock, as PostgreSQL writes durations.
            give_up_after: limit of the total wait for the lock, over all attempts.

        Raises:
            CommandError: the constraint could not be dropped; the message says what to do.
            WrongUsage: an argument can never work: a name that PostgreSQL cannot store, a value out of range.
        """
        check_identifier("constraint", name)
        key = UniqueKey(table=table, columns=(UNKNOWN,), schema=schema, name=name)
        rule = BuildRule(lock_timeout=lock_timeout, give_up_after=give_up_after)
        operations.invoke(cls(key, rule, many_schemas(schemas, schema)))

    def reverse(self) -> CreateUniqueConstraintOnlineOp:
        """Return the operation that creates the constraint again.

        Raises:
            ValueError: the columns are not known, because the operation was written by hand.
        """
        if self.key.columns == (UNKNOWN,):
            raise ValueError(
                f"drop_unique_constraint_online({self.key.name!r}) has no columns, so it cannot be reversed"
            )
        return CreateUniqueConstraintOnlineOp(self.key, self.rule, self.schemas)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("drop_unique_constraint_online", self.key.name, self.key.table)
