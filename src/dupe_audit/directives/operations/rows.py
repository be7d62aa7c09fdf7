"""Move the extras of a key into an archive, and put them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from alembic.operations import MigrateOperation, Operations

from dupe_audit.directives.arguments import (
    Element,
    ManySchemas,
    Predicate,
    column_names,
    elements,
    many_schemas,
    predicate,
)
from dupe_audit.directives.outcome_arguments import NewValue, WayToMerge, changes, merges
from dupe_audit.directives.registration import directive
from dupe_audit.model import BATCH_SIZE, CleanupRule, Schemas, UniqueKey


@directive("archive_duplicates")
class ArchiveDuplicatesOp(MigrateOperation):
    """Move the extras of a key into an archive."""

    def __init__(self, key: UniqueKey, rule: CleanupRule, schemas: Schemas | None = None) -> None:
        self.key = key
        self.rule = rule
        self.schemas = schemas

    @classmethod
    def archive_duplicates(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[Element],
        *,
        schema: str | None = None,
        schemas: ManySchemas = None,
        where: Predicate = None,
        keep: Literal["first", "last"] = "first",
        order_by: Sequence[Element] | None = None,
        nulls_not_distinct: bool = False,
        divergent: Literal["refuse", "archive", "amend"] = "refuse",
        references: Literal["refuse", "repoint"] = "refuse",
        ignore: Sequence[str] = (),
        merge: Mapping[str, WayToMerge] | None = None,
        set_: Mapping[str, NewValue] | None = None,
        batch_size: int = BATCH_SIZE,
        pause: float = 0,
        max_replica_lag: float | None = None,
    ) -> None:
        """Move every row but one of each group of duplicates into a private archive, while the application writes.

        After any interruption, the same ``alembic upgrade`` continues where it stopped.

        Args:
            table: name as in the catalog, unquoted.
            columns: elements of the key, in any order: names of columns, and expressions (``sa.text``).
            schema: schema of the table; None searches the search path.
            schemas: schemas that have the table: a list of names, or a query that returns them (``sa.text``). Excludes
                *schema*.
            where: predicate; the key covers the rows for which it is true. None: all rows.
            keep: which row of a group survives, in the order of ``order_by``.
            order_by: columns that define the order, whose NULLs sort last, and SQL (``sa.text``), which may have a
                direction and a subquery that uses the table by its name; the primary key breaks ties.
            nulls_not_distinct: whether two NULLs are equal (PostgreSQL 15 and later).
            divergent: ``refuse`` stops if the rows of a group carry different data; ``archive`` keeps one of them;
                ``amend`` archives exact copies, and changes the others by ``set_``.
            references: ``refuse`` stops if a foreign key references an extra; ``repoint`` points it at the survivor.
            ignore: columns in which the rows of a group may differ and still be exact duplicates.
            merge: columns whose values the survivor takes over, each with how: ``sum``, ``min``, ``max``, ``coalesce``
                (the first that is not NULL, in the order of the group), ``bool_or``, ``bool_and``, ``jsonb_merge``
                (the survivor's keys win), or an aggregate over the rows of the group (``sa.text``). Groups may differ
                in these columns.
            set_: what ``divergent="amend"`` changes; see ``amend_duplicates``.
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
            merges=merges("merge", merge),
            changes=() if set_ is None else changes("set_", set_),
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
        operations.invoke(ArchiveDuplicatesOp(key, rule, many_schemas(schemas, schema)))

    def reverse(self) -> RestoreDuplicatesOp:
        """Return the operation that puts the rows back."""
        return RestoreDuplicatesOp(self.key, rule=self.rule, schemas=self.schemas)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("archive_duplicates", str(self.key))


@directive("amend_duplicates")
class AmendDuplicatesOp(ArchiveDuplicatesOp):
    """Change the extras of a key so that they are no longer duplicates."""

    @classmethod
    def amend_duplicates(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[Element],
        set_: Mapping[str, NewValue],
        *,
        schema: str | None = None,
        schemas: ManySchemas = None,
        where: Predicate = None,
        keep: Literal["first", "last"] = "first",
        order_by: Sequence[Element] | None = None,
        nulls_not_distinct: bool = False,
        batch_size: int = BATCH_SIZE,
        pause: float = 0,
        max_replica_lag: float | None = None,
    ) -> None:
        """Change every row but one of each group so that it is no longer a duplicate; all rows stay in the table.

        The archive keeps each row as it was; ``restore_duplicates`` changes it back if it is still as it was left.
        After any interruption, the same ``alembic upgrade`` continues where it stopped.

        Args:
            table: name as in the catalog, unquoted.
            columns: elements of the key, in any order: names of columns, and expressions (``sa.text``).
            set_: columns with their new values: literals, or SQL (``sa.text``), which can use the row's own columns,
                ``survivor.column``, and ``duplicate.number``: 2 for the first extra of a group, then 3, and so on.
            schema: schema of the table; None searches the search path.
            schemas: schemas that have the table: a list of names, or a query that returns them (``sa.text``). Excludes
                *schema*.
            where: predicate; the key covers the rows for which it is true. None: all rows.
            keep: which row of a group survives, in the order of ``order_by``.
            order_by: as in ``archive_duplicates``.
            nulls_not_distinct: whether two NULLs are equal (PostgreSQL 15 and later).
            batch_size: rows per transaction, 1 to 100,000.
            pause: seconds between two batches.
            max_replica_lag: seconds; a batch waits while a standby's replay is further behind.

        Raises:
            CommandError: the table or its duplicates cannot be changed safely, or a changed row would still be a
                duplicate; the message says what to do.
            WrongUsage: an argument can never work: a name that PostgreSQL cannot store, a value out of range.
        """
        rule = CleanupRule(
            keep=keep,
            order_by=elements("order_by", () if order_by is None else order_by),
            exact="amend",
            divergent="amend",
            changes=changes("set_", set_),
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
        operations.invoke(cls(key, rule, many_schemas(schemas, schema)))

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("amend_duplicates", str(self.key))


@directive("restore_duplicates")
class RestoreDuplicatesOp(MigrateOperation):
    """Put the archived rows of a key back."""

    def __init__(self, key: UniqueKey, *, rule: CleanupRule | None = None, schemas: Schemas | None = None) -> None:
        self.key = key
        self.rule = rule or CleanupRule()
        self.schemas = schemas

    @classmethod
    def restore_duplicates(
        cls,
        operations: Operations,
        table: str,
        columns: Sequence[Element],
        *,
        schema: str | None = None,
        schemas: ManySchemas = None,
        where: Predicate = None,
    ) -> None:
        """Put back, byte for byte, the rows that the newest run of ``archive_duplicates`` for this key removed.

        Drop the constraint or the index first. After any interruption, the same ``alembic downgrade`` continues where
        it stopped. If the run was purged, a warning is logged; if nothing was ever archived, nothing happens.

        Args:
            table: name as in the catalog, unquoted.
            columns: elements of the key, in any order, as ``archive_duplicates`` has them.
            schema: schema of the table; None searches the search path.
            schemas: schemas that have the table: a list of names, or a query that returns them (``sa.text``). Excludes
                *schema*.
            where: predicate of the key.

        Raises:
            CommandError: rows could not be put back and stay in the archive with the reason; or the archive is
                missing, or the table has lost a column that was archived.
            WrongUsage: a name is not one that PostgreSQL can store, or the columns are empty or repeated.
        """
        key = UniqueKey(
            table=table, columns=elements("columns", columns), schema=schema, where=predicate("where", where)
        )
        operations.invoke(cls(key, schemas=many_schemas(schemas, schema)))

    def reverse(self) -> ArchiveDuplicatesOp:
        """Return the operation that archives or amends the rows again."""
        kind = AmendDuplicatesOp if self.rule.exact == "amend" else ArchiveDuplicatesOp
        return kind(self.key, self.rule, self.schemas)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what ``alembic check`` prints."""
        return ("restore_duplicates", str(self.key))
