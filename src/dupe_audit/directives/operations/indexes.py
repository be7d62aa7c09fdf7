"""Create and drop a unique index, for any key; apart from their names, both work as those of a constraint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from alembic.operations import Operations

from dupe_audit.directives.arguments import (
    Element,
    ManySchemas,
    Predicate,
    column_names,
    elements,
    many_schemas,
    predicate,
)
from dupe_audit.directives.operations.constraints import (
    UNKNOWN,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
)
from dupe_audit.directives.registration import directive
from dupe_audit.model import (
    BUILD_ATTEMPTS,
    DROP_LOCK_TIMEOUT,
    GIVE_UP_AFTER,
    LOCK_TIMEOUT,
    BuildRule,
    UniqueKey,
    check_identifier,
)


@directive("create_unique_index_online")
class CreateUniqueIndexOnlineOp(CreateUniqueConstraintOnlineOp):
    """Build a unique index concurrently, for any key, without attaching it as a constraint."""

    @classmethod
    def create_unique_index_online(
        cls,
        operations: Operations,
        name: str,
        table: str,
        columns: Sequence[Element],
        *,
        schema: str | None = None,
        schemas: ManySchemas = None,
        where: Predicate = None,
        nulls_not_distinct: bool = False,
        include: Sequence[str] | None = None,
        comment: str | None = None,
        lock_timeout: str = LOCK_TIMEOUT,
        give_up_after: str = GIVE_UP_AFTER,
        build_attempts: int = BUILD_ATTEMPTS,
    ) -> None:
        """Create a unique index while the application reads and writes, and verify it.

        Only an index can enforce a key with an expression or a predicate. The rest is as in
        ``create_unique_constraint_online``.

        Args:
            name: name of the index, at most 63 bytes.
            table: name as in the catalog, unquoted.
            columns: elements of the key, in the order of the index: names of columns, and immutable expressions
                (``sa.text``), which may have ``COLLATE``.
            schema: schema of the table; None searches the search path.
            schemas: schemas that have the table: a list of names, or a query that returns them (``sa.text``). Excludes
                *schema*.
            where: predicate; the key covers the rows for which it is true. None: all rows.
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
        operations.invoke(cls(key, rule, many_schemas(schemas, schema)))

    def reverse(self) -> DropUniqueIndexOnlineOp:
        """Return the operation that drops the index."""
        return DropUniqueIndexOnlineOp(self.key, replace(self.rule, lock_timeout=DROP_LOCK_TIMEOUT), self.schemas)

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
        schemas: ManySchemas = None,
        lock_timeout: str = DROP_LOCK_TIMEOUT,
        give_up_after: str = GIVE_UP_AFTER,
    ) -> None:
        """Drop a unique index concurrently. If it does not exist, nothing happens.

        Args:
            name: name of the index.
            table: name as in the catalog, unquoted.
            schema: schema of the table; None searches the search path.
            schemas: schemas that have the table: a list of names, or a query that returns them (``sa.text``). Excludes
                *schema*.
            lock_timeout: limit of one attempt, at most 1 minute. It waits for transactions that use the table; the
                application does not wait meanwhile.
            give_up_after: limit of all attempts together.

        Raises:
            CommandError: the index could not be dropped; the message says what to do.
            WrongUsage: an argument can never work: a name that PostgreSQL cannot store, a value out of range.
        """
        check_identifier("index", name)
        key = UniqueKey(table=table, columns=(UNKNOWN,), schema=schema, name=name, form="index")
        rule = BuildRule(lock_timeout=lock_timeout, give_up_after=give_up_after)
        operations.invoke(cls(key, rule, many_schemas(schemas, schema)))

    def reverse(self) -> CreateUniqueIndexOnlineOp:
        """Return the operation that creates the index again.

        Raises:
            ValueError: the elements are not known, because the operation was written by hand.
        """
        if self.key.columns == (UNKNOWN,):
            raise ValueError(f"drop_unique_index_online({self.key.name!r}) has no columns, so it cannot be reversed")
        rule = replace(self.rule, lock_timeout=LOCK_TIMEOUT)
        return CreateUniqueIndexOnlineOp(self.key, rule, self.schemas)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("drop_unique_index_online", self.key.name, self.key.table)
