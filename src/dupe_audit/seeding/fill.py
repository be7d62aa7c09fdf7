"""Fill a table with generated rows, its parents before and its children after it, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.schema.facts import Index, Table
from dupe_audit.seeding import count
from dupe_audit.seeding.build import Builder, Parent, numbered, related
from dupe_audit.seeding.duplicates import ALL, Batch, Chooser, Shape, batches
from dupe_audit.seeding.facts import Filled
from dupe_audit.seeding.plan import Plan, insert, numbers
from dupe_audit.seeding.satisfy import CannotFill, ask
from dupe_audit.seeding.spec import ForeignKey, Key, Spec, conjuncts, foreign_keys, read
from dupe_audit.seeding.values import Types
from dupe_audit.statements import ident

CHILDREN = 20  #: foreign keys whose tables get rows that reference extras
ENOUGH = 20  #: rows that a table gets at least, if asked for, though its new key has fewer values


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
    """Fill *table*, as it is before the revision, with about so many rows that *uniques* shall meet.

    Raises:
        CannotFill: a column, a type or a constraint is in the way; nothing was changed.
    """
    try:
        execute(connection, "BEGIN")
        execute(connection, "SET LOCAL TimeZone = 'UTC'")
        # What would be refused at the end is refused where it can be undone.
        execute(connection, "SET CONSTRAINTS ALL IMMEDIATE")
        filled = _Filler(connection, seed).table(table, uniques, rows, revision, shapes)
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
        self._begun: dict[int, tuple[Spec, int, int]] = {}  # tables on the way: first number and rows
        self._promised: dict[int, set[str]] = {}  # columns that others count on
        self._touched: dict[str, None] = {}

    def table(
        self, table: Table, uniques: Sequence[Index], rows: int, revision: str, shapes: frozenset[Shape]
    ) -> Filled:
        spec = read(self._connection, self._types, table.oid)
        met = [one for one in uniques if self._is_possible(spec, one)]
        self._rows(spec, rows, met, shapes)
        children = foreign_keys(self._connection, spec.oid, side="c.confrelid")
        if "referenced" in shapes and met:
            for fk in children[:CHILDREN]:
                self._child(spec, fk, met)
        for name in self._touched:
            execute(self._connection, f"ANALYZE {name}")
        counted = count.counted(self._connection, spec, met, children)
        if rows and not counted.rows:
            raise CannotFill(f"{table}: no row arrived; a trigger or a rule kept them all away.")
        return Filled(
            revision=revision,
            table=str(table),
            rows=counted.rows,
            exact=counted.exact,
            divergent=counted.divergent,
            null_keys=counted.null_keys,
            referenced=counted.referenced,
        )

    def _is_possible(self, spec: Spec, index: Index) -> bool:
        """Return whether the index can be asked about already: the revision may add columns, functions or labels."""
        there = {column.name for column in spec.columns}.issuperset(index.uses)
        return there and ask(self._connection, count.trial(spec, index)) is not None

    def _rows(self, spec: Spec, rows: int, met: Sequence[Index], shapes: frozenset[Shape]) -> None:
        builder, first = self._builder(spec, rows, met)
        plan, capacity = builder.plan(first, rows)
        # A key of two values is met by two plain rows; duplicates among a few more.
        total = rows if capacity is None else min(rows, max(capacity, ENOUGH))
        chooser = Chooser(self._seed, spec.name, first, total)
        kinds = 3 * len(met)
        chosen = []
        for index in met:
            variant, keys = self._meeting(builder, plan, index, first, rows)
            others = [*keys, *(_key(spec, one) for one in met if one is not index and not _within(one, index))]
            chosen += [(variant, batch) for batch in batches(variant, index, others, shapes, chooser, kinds)]
        plain = total if capacity is None else min(total, capacity)
        wanted = numbers(first, plain, chooser.taken)
        missing = plain - len([n for n in chooser.taken if n < first + plain]) - self._insert(plan, wanted)
        if missing > 0 and (partial := [key.predicate for key in spec.keys if key.predicate]):
            self._outside(builder, partial, first + total, missing)
        for variant, batch in chosen:
            self._insert_batch(variant, batch)

    def _builder(
        self, spec: Spec, rows: int, met: Sequence[Index] = (), relations: Sequence[tuple[ForeignKey, str, int]] = ()
    ) -> tuple[Builder, int]:
        """Return what makes the table's plan, with its parents filled, and the first number for its rows."""
        first = self._count(spec)
        sources = [related(fk.columns, relation, size) for fk, relation, size in relations]
        explicit = self._promised.setdefault(spec.oid, set())
        builder = Builder(self._connection, spec, uniques=met, explicit=explicit, relations=sources)
        self._begun[spec.oid] = (spec, first, rows)
        try:
            builder.follow(lambda fk, wanted: self._parent(builder, fk, wanted), rows)
        finally:
            del self._begun[spec.oid]
        builder.explicit |= explicit
        return builder, first

    def _parent(self, builder: Builder, fk: ForeignKey, wanted: int) -> Parent:
        """Fill the table that a foreign key leads to."""
        optional = any(not builder.spec.column(name).not_null for name in fk.columns)
        if fk.parent in self._begun:
            spec, first, rows = self._begun[fk.parent]
            if optional or not fk.deferrable:
                return "empty"
            self._promised[fk.parent].update(fk.referenced)
            builder.promise(fk, spec, first, rows)
            execute(self._connection, f"SET CONSTRAINTS {fk.name} DEFERRED")
            return "promised"
        spec = read(self._connection, self._types, fk.parent)
        if (there := self._count(spec)) >= wanted:
            return "filled"
        try:
            with self._savepoint():
                self._rows(spec, wanted - there, (), frozenset())
        except CannotFill:
            if not optional and not there:
                raise
        return "filled" if self._count(spec) else "empty"

    def _meeting(self, builder: Builder, plan: Plan, index: Index, first: int, rows: int) -> tuple[Plan, Sequence[Key]]:
        """Return the plan of rows that the index sees, and the keys that they have to keep.

        A partial key can forbid duplicates, or exact ones, so the rows stay out of its sight where they can.
        """
        spec, used = builder.spec, set(builder.spec.written(index.uses))
        partial = [key for key in spec.keys if key.predicate]
        within = [key for key in partial if used.issuperset(key.columns)]
        seen = [f"{ident(name)} IS NOT NULL" for name in index.columns if name] if partial else []
        seen += [index.predicate] if index.predicate else []
        for avoided in (partial, within, []):
            conditions = [*seen, *(f"({key.predicate}) IS NOT TRUE" for key in avoided)]
            require = [spec.check(index.name, part, strict=True) for one in conditions for part in conjuncts(one)]
            try:
                met = builder.plan(first, rows, require)[0] if require else plan
            except CannotFill:
                continue
            return met, [key for key in spec.keys if key not in avoided]
        return plan, spec.keys

    def _outside(self, builder: Builder, predicates: Sequence[str], first: int, count: int) -> None:
        """Make up for rows that partial keys did not take by others that those do not see."""
        unseen = [f"({one}) IS NOT TRUE" for one in predicates]
        require = [builder.spec.check("partial keys", one, strict=True) for one in unseen]
        try:
            self._insert(builder.plan(first, count, require)[0], numbers(first, count))
        except CannotFill:
            return  # fewer rows will do

    def _child(self, spec: Spec, fk: ForeignKey, met: Sequence[Index]) -> None:
        """Fill a few rows of a table that references this one: to every row of some groups, and to others."""
        relation = numbered(count.referable(spec, fk.referenced, met), len(fk.columns), 1000)
        size = execute(self._connection, f"SELECT pg_catalog.count(*) FROM ({relation}) AS c").scalar_one()
        child = read(self._connection, self._types, fk.child)
        try:
            with self._savepoint():
                keys = met if fk.child == spec.oid else ()
                builder, first = self._builder(child, size, keys, [(fk, relation, size)])
                plan, _ = builder.plan(first, size)
                self._insert(plan, numbers(first, size))
        except CannotFill:
            return  # no row of it references anything, and the count says so

    def _insert(self, plan: Plan, rows: str) -> int:
        """Insert rows, and return how many arrived."""
        try:
            arrived = execute(self._connection, insert(plan, rows)).rowcount
        except DBAPIError as error:
            raise CannotFill(f"{plan.spec.title}: {reason(error)}.") from error
        self._touched[plan.spec.name] = None
        return arrived

    def _insert_batch(self, plan: Plan, batch: Batch) -> None:
        for copying in batch.ways if batch.rows else ():
            try:
                with self._savepoint():
                    execute(self._connection, insert(plan, batch.rows, copying))
            except (DBAPIError, CannotFill):
                continue
            return

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        execute(self._connection, "SAVEPOINT dupe_audit_seed")
        try:
            yield
        except BaseException:
            tidy(self._connection, "ROLLBACK TO SAVEPOINT dupe_audit_seed")
            raise
        finally:
            tidy(self._connection, "RELEASE SAVEPOINT dupe_audit_seed")

    def _count(self, spec: Spec) -> int:
        return int(execute(self._connection, f"SELECT pg_catalog.count(*) FROM {spec.name}").scalar_one())


def _key(spec: Spec, index: Index) -> Key:
    return Key(columns=spec.written(index.uses))


def _within(inner: Index, outer: Index) -> bool:
    """Return whether rows that share the outer key share the inner one too, so that both are violated at once."""
    return set(inner.uses) <= set(outer.uses)
