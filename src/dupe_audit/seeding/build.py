"""Give every column of a table its source: a type's values, rows of parents, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.schema.facts import Index
from dupe_audit.seeding.plan import NULL, Plan, Source, allocate
from dupe_audit.seeding.satisfy import CannotFill, ask, satisfy
from dupe_audit.seeding.spec import Check, Column, ForeignKey, Key, Spec
from dupe_audit.seeding.values import Values
from dupe_audit.statements import ident

FEW = 50  #: parents, where no key asks for more

#: what became of a parent table: it has rows, it promises them for the end of the transaction, or it has none
Parent = Literal["filled", "promised", "empty"]


class Builder:
    """Makes the plan of one table, once its parents have rows."""

    def __init__(
        self,
        connection: Connection,
        spec: Spec,
        *,
        uniques: Sequence[Index],
        explicit: Collection[str] = (),
        relations: Sequence[Source] = (),
    ) -> None:
        self._connection = connection
        self.spec = spec
        #: the keys that rows have to keep, those to come among them
        self.keys = [*spec.keys, *(Key(columns=spec.written(one.uses), predicate=one.predicate) for one in uniques)]
        self._used = {name for one in uniques for name in spec.written(one.uses)}
        self.explicit = {*explicit, *self._used}
        self._compared = {name for one in uniques for name in one.columns if name is not None}
        self._sources = list(relations)  #: of children, whose parents somebody else chose
        self._broken = (
            {c.name for c in spec.columns if c.values and not self._works([c])} if not self._works() else set()
        )

    def _works(self, columns: Sequence[Column] | None = None) -> bool:
        """Return whether the server makes values of these types; xml, for one, can be missing from its build."""
        made = [c.values.at("0") for c in columns or self.spec.columns if c.values]
        return ask(self._connection, f"SELECT {', '.join(made) or 'NULL'}") is not None

    def follow(self, ensure: Callable[[ForeignKey, int], Parent], rows: int) -> None:
        """Fill the parents, and take the values of foreign keys from their rows.

        Raises:
            CannotFill: a row needs a parent, and there is none.
        """
        followed: list[ForeignKey] = []
        for fk in self.spec.foreign_keys:
            if self._has(fk.columns):
                continue
            if fk.parent == self.spec.oid:
                self._itself(fk)
                continue
            became = ensure(fk, self._wanted(fk, rows))
            if became == "filled":
                followed.append(fk)
            elif became == "promised":
                self.explicit.update(fk.columns)
            else:
                self._nothing(fk, followed)
        while followed:
            together = [followed.pop(0)]
            for fk in followed[:]:
                if any(set(fk.columns) & set(one.columns) for one in together):
                    together.append(fk)
                    followed.remove(fk)
            self._relate(together, rows)

    def promise(self, fk: ForeignKey, parent: Spec, first: int, rows: int) -> None:
        """Point the foreign key at rows that its parent will have when the transaction ends."""
        for name, referenced in zip(fk.columns, fk.referenced, strict=True):
            values = parent.column(referenced).values
            if values and not self._has([name]):
                self._sources.append(Source.single(name, Values(values.at(f"{first} + \x01 % {rows}"), None)))

    def plan(self, first: int, rows: int, require: Sequence[Check] = ()) -> tuple[Plan, int | None]:
        """Return the plan for so many rows from that number on, and how many its keys allow.

        Raises:
            CannotFill: a column's type is not known, or a check cannot be met.
        """
        taken = {name for source in self._sources for name in source.values}
        plan = Plan(spec=self.spec, sources=[*map(_copy, self._sources)])
        in_keys = {name for key in self.keys for name in key.columns}
        for column in self.spec.columns:
            if column.name in taken or column.generated is not None or column.always_identity:
                continue
            if column.counted and column.name in in_keys and column.name not in self.explicit:
                continue
            plan.sources += self._single(column, in_keys)
        checks = [*self.spec.checks, *require]
        satisfy(self._connection, plan, checks, first, rows)
        return plan, allocate(plan, self.keys)

    def _single(self, column: Column, in_keys: Collection[str]) -> list[Source]:
        if column.values and column.name not in self._broken:
            source = Source.single(column.name, column.values)
            source.sprinkle = not column.not_null and column.name not in in_keys
            return [source]
        if not column.not_null:
            return [Source.single(column.name, NULL)]
        if column.has_default:
            return []
        raise CannotFill(f"{self.spec.title}: no value of the type {column.type.written} of {column.name} can be made.")

    def _has(self, names: Collection[str]) -> bool:
        taken = {name for source in self._sources for name in source.values}
        return taken.issuperset(names)

    def _wanted(self, fk: ForeignKey, rows: int) -> int:
        """Return how many parents the keys ask for: as many as rows, where only parents tell rows apart."""
        wanted = min(rows, FEW)
        foreign = {name for one in self.spec.foreign_keys if one.parent != self.spec.oid for name in one.columns}
        for key in self.keys:
            if set(key.columns) & set(fk.columns) and all(self._is_narrow(name, foreign) for name in key.columns):
                involved = [one for one in self.spec.foreign_keys if set(one.columns) & set(key.columns)]
                wanted = max(wanted, min(rows, int(rows ** (1 / len(involved))) + 2))
        return wanted

    def _is_narrow(self, name: str, foreign: Collection[str]) -> bool:
        column = self.spec.column(name)
        checked = any(name in check.columns for check in self.spec.checks)
        return name in foreign or checked or (column.values is not None and (column.values.size or 10**9) < 1000)

    def _nothing(self, fk: ForeignKey, followed: Sequence[ForeignKey]) -> None:
        others = {name for one in followed for name in one.columns}
        free = [name for name in fk.columns if name not in others and not self.spec.column(name).not_null]
        if not free:
            raise CannotFill(f"{self.spec.title}: the foreign key {fk.name} needs rows that cannot be made first.")
        self._sources += [Source.single(name, NULL) for name in free if not self._has([name])]

    def _itself(self, fk: ForeignKey) -> None:
        """Let a row reference nothing, or itself where it must, or where a key to come would not see it else."""
        pairs = [pair for pair in zip(fk.columns, fk.referenced, strict=True) if pair[0] != pair[1]]
        must = all(self.spec.column(name).not_null for name, _ in pairs)
        if not must and not self._compared & {name for name, _ in pairs}:
            self._nothing(fk, [one for one in self.spec.foreign_keys if one.parent != self.spec.oid])
            return
        for name, referenced in pairs:
            column = self.spec.column(referenced)
            if column.values is None or column.always_identity:
                raise CannotFill(f"{self.spec.title}: a row cannot reference itself by {fk.name}.")
            self.explicit.add(referenced)
            self._sources.append(Source.single(name, column.values))

    def _relate(self, fks: Sequence[ForeignKey], rows: int) -> None:
        """Take the columns of foreign keys that share some from rows of their parents that fit together."""
        where: dict[str, str] = {}
        joins = []
        for number, fk in enumerate(fks):
            conditions = []
            for name, referenced in zip(fk.columns, fk.referenced, strict=True):
                cell = f"f{number}.{ident(referenced)}"
                conditions.append(f"{cell} = {where[name]}" if name in where else f"{cell} IS NOT NULL")
                where.setdefault(name, cell)
            joins.append((self._table(fk.parent), f"f{number}", " AND ".join(conditions)))
        (table, alias, filter_), *rest = joins
        tables = f"{table} AS {alias} " + " ".join(f"JOIN {t} AS {a} ON {on}" for t, a, on in rest)
        relation = numbered(f"SELECT DISTINCT {cells(where.values())} FROM {tables} WHERE {filter_}", len(where), rows)
        size = execute(self._connection, f"SELECT pg_catalog.count(*) FROM ({relation}) AS c").scalar_one()
        if size == 0:
            raise CannotFill(f"{self.spec.title}: no rows of its parents fit together for {fks[0].name}.")
        self._sources.append(related(where, relation, size))

    def _table(self, oid: int) -> str:
        return str(
            execute(self._connection, f"SELECT {oid}::pg_catalog.oid::pg_catalog.regclass::pg_catalog.text").scalar()
        )


def cells(expressions: Collection[str]) -> str:
    """Return expressions as the columns of a relation, which a source reads."""
    return ", ".join(f"{one} AS c{n}" for n, one in enumerate(expressions))


def numbered(query: str, width: int, limit: int) -> str:
    """Return the relation of a query: its rows in order, numbered from 0."""
    columns = ", ".join(f"q.c{n}" for n in range(width))
    return (
        f"SELECT pg_catalog.row_number() OVER (ORDER BY {columns}) - 1 AS i, {columns} FROM ({query}) AS q "
        f"ORDER BY i LIMIT {limit}"
    )


def related(names: Collection[str], relation: str, size: int) -> Source:
    """Return the source of columns that come from a relation."""
    return Source(values={name: Values(f"p.c{n}") for n, name in enumerate(names)}, size=size, relation=relation)


def _copy(source: Source) -> Source:
    return Source(values=dict(source.values), size=source.size, relation=source.relation)
