"""Fill a table with generated rows, its parents before it and its children after it, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.schema.facts import Index, Table
from dupe_audit.seeding.build import Builder, ParentState, numbered_sql, relation_source
from dupe_audit.seeding.count import count_duplicates, probe_sql, referable_sql
from dupe_audit.seeding.duplicates import ALL, DuplicateBatch, RowChooser, Shape, duplicate_batches, is_within
from dupe_audit.seeding.facts import Filled
from dupe_audit.seeding.leaves import leaf_plans
from dupe_audit.seeding.plan import Plan, insert_sql, row_numbers
from dupe_audit.seeding.satisfy import CannotFill, savepoint, try_query
from dupe_audit.seeding.spec import ForeignKeySpec, KeySpec, TableSpec, conjuncts, count_rows, foreign_keys, read
from dupe_audit.seeding.stricter import add_extras
from dupe_audit.seeding.values import Types
from dupe_audit.statements import ident

CHILDREN = 20  #: foreign keys, at most, whose tables get rows that reference extras
ENOUGH = 20  #: rows that a table gets even if its new key has fewer values, unless fewer rows are requested


def fill(
    connection: Connection,
    table: Table,
    uniques: Sequence[Index],
    *,
    rows: int,
    seed: int,
    revision: str,
    shapes: frozenset[Shape] = ALL,
) -> Filled:
    """Fill *table*, as it is before the revision, with rows that violate the new *uniques*.

    Args:
        connection: autocommit.
        table: the table to fill.
        uniques: the unique indexes that the revision adds, with the table's names from before it.
        rows: number of rows, approximately.
        seed: the same seed gives the same rows.
        revision: id of the revision, for the result.
        shapes: the kinds of duplicates to generate.

    Raises:
        CannotFill: a column, type or constraint prevents it; nothing was changed.
    """
    try:
        execute(connection, "BEGIN")
        execute(connection, "SET LOCAL TimeZone = 'UTC'")
        # A violation is reported while it can still be undone, not at COMMIT.
        execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        filled = _Filler(connection, seed).fill(table, uniques, rows, revision, shapes)
        execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        execute(connection, "COMMIT")
    except DBAPIError as error:
        tidy(connection, "ROLLBACK")
        raise CannotFill(f"{table}: {reason(error)}.") from error
    except BaseException:
        tidy(connection, "ROLLBACK")
        raise
    return filled


class _Filler:
    def __init__(self, connection: Connection, seed: int) -> None:
        self._connection = connection
        self._types = Types(connection)
        self._seed = seed
        self._in_progress: dict[int, tuple[TableSpec, int, int]] = {}  # by oid; with the first row's number, and rows
        self._promised: dict[int, set[str]] = {}  # by oid: columns whose values other tables already reference
        self._touched: dict[str, None] = {}

    def fill(
        self, table: Table, uniques: Sequence[Index], rows: int, revision: str, shapes: frozenset[Shape]
    ) -> Filled:
        spec = read(self._connection, self._types, table.oid)
        uniques = [index for index in uniques if self._can_evaluate(spec, index)]
        self._fill_rows(spec, rows, uniques, shapes)
        children = foreign_keys(self._connection, spec.oid, side="c.confrelid")
        if "referenced" in shapes and uniques:
            for fk in children[:CHILDREN]:
                self._fill_child(spec, fk, uniques)
        for name in self._touched:
            execute(self._connection, f"ANALYZE {name}")
        counts = count_duplicates(self._connection, spec, uniques, children)
        if rows and not counts.rows:
            raise CannotFill(f"{table}: no row was inserted; a trigger or a rule suppressed all of them.")
        return Filled(revision=revision, table=str(table), **asdict(counts))

    def _can_evaluate(self, spec: TableSpec, index: Index) -> bool:
        """Return whether the index's keys can be evaluated; the revision may add columns, functions or labels first."""
        exist = {column.name for column in spec.columns}.issuperset(index.reads)
        return exist and try_query(self._connection, probe_sql(spec, index)) is not None

    def _fill_rows(self, spec: TableSpec, rows: int, uniques: Sequence[Index], shapes: frozenset[Shape]) -> None:
        builder, first = self._builder(spec, rows, uniques)
        plan, capacity = builder.plan(first, rows)
        # A key with two values allows two plain rows; the duplicates need a few rows more.
        total = rows if capacity is None else min(rows, max(capacity, ENOUGH))
        chooser = RowChooser(self._seed, spec.name, first, total)
        kinds = 3 * len(uniques)
        batches, plans = [], []
        for index in uniques:
            seen_plan, keys = self._plan_seen_by(index, builder, plan, first, rows)
            plans.append((index, seen_plan, keys))
            different = [other for other in uniques if other is not index and not is_within(other, index)]
            other_keys = [*keys, *(KeySpec(columns=spec.inputs(other.reads)) for other in different)]
            batches += [
                (seen_plan, batch) for batch in duplicate_batches(seen_plan, index, other_keys, shapes, chooser, kinds)
            ]
        plain = total if capacity is None else min(total, capacity)
        wanted = row_numbers(first, plain, chooser.taken)
        missing = plain - len([n for n in chooser.taken if n < first + plain]) - self._insert(plan, wanted)
        if missing > 0 and (partial := [key.predicate for key in spec.keys if key.predicate]):
            self._insert_unseen_by(partial, builder, first + total, missing)
        for seen_plan, batch in batches:
            self._insert_batch(seen_plan, batch)
        if rows >= ENOUGH:
            self._fill_leaves(builder, uniques, shapes, first + 10 * max(total, 1000))
        for position, (index, seen_plan, keys) in enumerate(plans if rows >= ENOUGH else (), 3):
            add_extras(self._connection, seen_plan, index, keys, shapes, first + position * max(total, 1000))

    def _fill_leaves(self, builder: Builder, uniques: Sequence[Index], shapes: frozenset[Shape], number: int) -> None:
        """Insert a few rows into each leaf of the table, some of them duplicates."""
        for leaf, plan, first, count in leaf_plans(self._connection, builder, number, empty=not uniques):
            chooser = RowChooser(self._seed, leaf, first, count)
            for index in uniques:
                others = [KeySpec(columns=builder.spec.inputs(each.reads)) for each in uniques if each is not index]
                keys = [*builder.spec.keys, *others]
                for batch in duplicate_batches(plan, index, keys, shapes, chooser, 3 * len(uniques)):
                    self._insert_batch(plan, batch)
            with suppress(CannotFill), savepoint(self._connection):
                self._insert(plan, row_numbers(first, count, chooser.taken))

    def _builder(
        self,
        spec: TableSpec,
        rows: int,
        uniques: Sequence[Index] = (),
        relations: Sequence[tuple[ForeignKeySpec, str, int]] = (),
    ) -> tuple[Builder, int]:
        """Return the builder of the table's plan, with the parents filled, and the number of its first row."""
        first = count_rows(self._connection, spec.name)
        sources = [relation_source(fk.columns, relation, size) for fk, relation, size in relations]
        explicit = self._promised.setdefault(spec.oid, set())
        builder = Builder(self._connection, spec, uniques=uniques, explicit=explicit, relations=sources)
        self._in_progress[spec.oid] = (spec, first, rows)
        try:
            builder.follow_foreign_keys(lambda fk, wanted: self._ensure_parent(builder, fk, wanted), rows)
        finally:
            del self._in_progress[spec.oid]
        builder.explicit |= explicit
        return builder, first

    def _ensure_parent(self, builder: Builder, fk: ForeignKeySpec, wanted: int) -> ParentState:
        """Fill the table that a foreign key references, unless it has *wanted* rows."""
        optional = any(not builder.spec.column(name).not_null for name in fk.columns)
        if fk.parent in self._in_progress:
            spec, first, rows = self._in_progress[fk.parent]
            if optional or not fk.deferrable:
                return "empty"
            self._promised[fk.parent].update(fk.referenced)
            builder.promise(fk, spec, first, rows)
            execute(self._connection, f"SET CONSTRAINTS {fk.name} DEFERRED")
            return "promised"
        spec = read(self._connection, self._types, fk.parent)
        if (existing := count_rows(self._connection, spec.name)) >= wanted:
            return "filled"
        try:
            with savepoint(self._connection):
                self._fill_rows(spec, wanted - existing, (), frozenset())
        except CannotFill:
            if not optional and not existing:
                raise
        return "filled" if count_rows(self._connection, spec.name) else "empty"

    def _plan_seen_by(
        self, index: Index, builder: Builder, plan: Plan, first: int, rows: int
    ) -> tuple[Plan, Sequence[KeySpec]]:
        """Return the plan for rows that the index sees, and the keys that those rows must not violate.

        An existing partial key can forbid duplicates, or exact ones; so its predicate is made false if possible.
        """
        spec, used = builder.spec, set(builder.spec.inputs(index.reads))
        partial = [key for key in spec.keys if key.predicate]
        within = [key for key in partial if used.issuperset(key.columns)]
        visible = [f"{ident(name)} IS NOT NULL" for name in index.columns if name] if partial else []
        visible += [index.predicate] if index.predicate else []
        for avoided in (partial, within, []):
            conditions = [*visible, *(f"({key.predicate}) IS NOT TRUE" for key in avoided)]
            parts = [part for condition in conditions for part in conjuncts(condition)]
            require = [spec.check(index.name, part, strict=True) for part in parts]
            try:
                seen_plan = builder.plan(first, rows, require)[0] if require else plan
            except CannotFill:
                continue
            return seen_plan, [key for key in spec.keys if key not in avoided]
        return plan, spec.keys

    def _insert_unseen_by(self, predicates: Sequence[str], builder: Builder, first: int, count: int) -> None:
        """Replace rows that partial keys did not allow with rows that those keys do not see."""
        conditions = [f"({predicate}) IS NOT TRUE" for predicate in predicates]
        require = [builder.spec.check("partial keys", condition, strict=True) for condition in conditions]
        try:
            self._insert(builder.plan(first, count, require)[0], row_numbers(first, count))
        except CannotFill:
            return  # fewer rows are enough

    def _fill_child(self, spec: TableSpec, fk: ForeignKeySpec, uniques: Sequence[Index]) -> None:
        """Insert a few rows that reference this table: every row of some groups, and some rows in no group."""
        relation = numbered_sql(referable_sql(spec, fk.referenced, uniques), len(fk.columns), 1000)
        size = count_rows(self._connection, f"({relation}) AS c")
        child = read(self._connection, self._types, fk.child)
        try:
            with savepoint(self._connection):
                child_uniques = uniques if fk.child == spec.oid else ()
                builder, first = self._builder(child, size, child_uniques, [(fk, relation, size)])
                plan, _ = builder.plan(first, size)
                self._insert(plan, row_numbers(first, size))
        except CannotFill:
            return  # the extras that it would have referenced are not counted as referenced

    def _insert(self, plan: Plan, rows: str) -> int:
        """Insert rows, and return how many were inserted."""
        try:
            inserted = execute(self._connection, insert_sql(plan, rows)).rowcount
        except DBAPIError as error:
            raise CannotFill(f"{plan.spec.title}: {reason(error)}.") from error
        self._touched[plan.spec.name] = None
        return inserted

    def _insert_batch(self, plan: Plan, batch: DuplicateBatch) -> None:
        for variation in batch.variations if batch.rows else ():
            try:
                with savepoint(self._connection):
                    execute(self._connection, insert_sql(plan, batch.rows, variation))
            except (DBAPIError, CannotFill):
                continue
            return
