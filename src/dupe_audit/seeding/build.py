"""Give every column of a table its source: the formula of its type, rows of parents, or NULL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from sqlalchemy import Connection

from dupe_audit.schema.facts import Index
from dupe_audit.seeding.plan import NULL, ColumnSource, Plan, allocate
from dupe_audit.seeding.satisfy import CannotFill, satisfy, try_query
from dupe_audit.seeding.spec import CheckSpec, ColumnSpec, ForeignKeySpec, KeySpec, TableSpec, count_rows, table_name
from dupe_audit.seeding.values import Formula, N
from dupe_audit.statements import ident, statement

FEW = 50  #: parents, unless a key asks for more

#: a parent table has rows, will have them when the transaction ends, or has none
ParentState = Literal["filled", "promised", "empty"]


class Builder:
    """Builds the plan of one table, once its parents have rows."""

    def __init__(
        self,
        connection: Connection,
        spec: TableSpec,
        *,
        uniques: Sequence[Index],
        explicit: Collection[str] = (),
        relations: Sequence[ColumnSource] = (),
    ) -> None:
        self._connection = connection
        self.spec = spec
        #: the keys that rows must not violate, including the new ones
        self.keys = [
            *spec.keys,
            *(KeySpec(columns=spec.inputs(index.reads), predicate=index.predicate) for index in uniques),
        ]
        #: columns whose values are inserted, though a sequence could number them
        self.explicit = {*explicit, *(name for index in uniques for name in spec.inputs(index.reads))}
        self._compared = {name for index in uniques for name in index.columns if name is not None}
        self._sources = list(relations)
        self._broken = (
            {c.name for c in spec.columns if c.formula and not self._works([c])} if not self._works() else set()
        )

    def _works(self, columns: Sequence[ColumnSpec] | None = None) -> bool:
        """Return whether the server can evaluate the formulas; it may have been built without a type such as xml."""
        values = [c.formula.at("0") for c in columns or self.spec.columns if c.formula]
        return try_query(self._connection, f"SELECT {', '.join(values) or 'NULL'}") is not None

    def follow_foreign_keys(self, ensure_parent: Callable[[ForeignKeySpec, int], ParentState], rows: int) -> None:
        """Have the parents filled, and take the values of foreign keys from their rows.

        Args:
            ensure_parent: fills the parent of a foreign key with at least that number of rows, if it can.
            rows: rows that the table itself will get.

        Raises:
            CannotFill: a row needs a parent, and there is none.
        """
        followed: list[ForeignKeySpec] = []
        for fk in self.spec.foreign_keys:
            if self._has_sources(fk.columns):
                continue
            if fk.parent == self.spec.oid:
                self._reference_itself(fk)
                continue
            state = ensure_parent(fk, self._parents_wanted(fk, rows))
            if state == "filled":
                followed.append(fk)
            elif state == "promised":
                self.explicit.update(fk.columns)
            else:
                self._set_null(fk, followed)
        while followed:
            overlapping = [followed.pop(0)]
            for fk in followed[:]:
                if any(set(fk.columns) & set(other.columns) for other in overlapping):
                    overlapping.append(fk)
                    followed.remove(fk)
            self._take_from_parents(overlapping, rows)

    def promise(self, fk: ForeignKeySpec, parent: TableSpec, first: int, rows: int) -> None:
        """Point the foreign key at rows that its parent will have when the transaction ends."""
        for name, referenced in zip(fk.columns, fk.referenced, strict=True):
            formula = parent.column(referenced).formula
            if formula and not self._has_sources([name]):
                promised = Formula(formula.at(f"{first} + {N} % {rows}"), None)
                self._sources.append(ColumnSource.single(name, promised))

    def plan(self, first: int, rows: int, require: Sequence[CheckSpec] = ()) -> tuple[Plan, int | None]:
        """Return the plan for *rows* rows numbered from *first* on, and how many rows its keys allow.

        Args:
            first: number of the first row.
            rows: number of rows.
            require: conditions that the rows have to satisfy beyond the table's own checks.

        Raises:
            CannotFill: a column's type is unknown, or no value satisfies a check.
        """
        sourced = self._sourced()
        plan = Plan(spec=self.spec, sources=[*map(_copy, self._sources)])
        in_keys = {name for key in self.keys for name in key.columns}
        for column in self.spec.columns:
            if column.name in sourced or column.generated is not None or column.always_identity:
                continue
            if column.from_sequence and column.name in in_keys and column.name not in self.explicit:
                continue
            plan.sources += self._own_source(column, in_keys)
        checks = [*self.spec.checks, *require]
        satisfy(self._connection, plan, checks, first, rows)
        return plan, allocate(plan, self.keys)

    def _own_source(self, column: ColumnSpec, in_keys: Collection[str]) -> list[ColumnSource]:
        """Return the source of a column that depends on no other table, or nothing if it gets its default."""
        if column.formula and column.name not in self._broken:
            source = ColumnSource.single(column.name, column.formula)
            source.sprinkle_nulls = not column.not_null and column.name not in in_keys
            return [source]
        if not column.not_null:
            return [ColumnSource.single(column.name, NULL)]
        if column.has_default:
            return []
        raise CannotFill(
            f"{self.spec.title}: no value can be generated for {column.name}, of type {column.type.formatted}."
        )

    def _sourced(self) -> set[str]:
        return {name for source in self._sources for name in source.formulas}

    def _has_sources(self, names: Collection[str]) -> bool:
        return self._sourced().issuperset(names)

    def _parents_wanted(self, fk: ForeignKeySpec, rows: int) -> int:
        """Return how many parents the keys ask for: as many as rows, if only parents distinguish the rows."""
        wanted = min(rows, FEW)
        foreign = {name for other in self.spec.foreign_keys if other.parent != self.spec.oid for name in other.columns}
        for key in self.keys:
            if set(key.columns) & set(fk.columns) and all(self._is_narrow(name, foreign) for name in key.columns):
                involved = [other for other in self.spec.foreign_keys if set(other.columns) & set(key.columns)]
                wanted = max(wanted, min(rows, int(rows ** (1 / len(involved))) + 2))
        return wanted

    def _is_narrow(self, name: str, foreign: Collection[str]) -> bool:
        """Return whether the column has few values, or none but those of parents."""
        column = self.spec.column(name)
        checked = any(name in check.columns for check in self.spec.checks)
        return name in foreign or checked or (column.formula is not None and (column.formula.size or 10**9) < 1000)

    def _set_null(self, fk: ForeignKeySpec, followed: Sequence[ForeignKeySpec]) -> None:
        shared = {name for other in followed for name in other.columns}
        free = [name for name in fk.columns if name not in shared and not self.spec.column(name).not_null]
        if not free:
            raise CannotFill(
                f"{self.spec.title}: the foreign key {fk.name} needs parent rows that cannot be inserted first."
            )
        self._sources += [ColumnSource.single(name, NULL) for name in free if not self._has_sources([name])]

    def _reference_itself(self, fk: ForeignKeySpec) -> None:
        """Let a row reference nothing; or itself, if it must or if a new key does not see rows with NULL."""
        pairs = [pair for pair in zip(fk.columns, fk.referenced, strict=True) if pair[0] != pair[1]]
        required = all(self.spec.column(name).not_null for name, _ in pairs)
        if not required and not self._compared & {name for name, _ in pairs}:
            self._set_null(fk, [other for other in self.spec.foreign_keys if other.parent != self.spec.oid])
            return
        for name, referenced in pairs:
            column = self.spec.column(referenced)
            if column.formula is None or column.always_identity:
                raise CannotFill(f"{self.spec.title}: a row cannot reference itself through {fk.name}.")
            self.explicit.add(referenced)
            self._sources.append(ColumnSource.single(name, column.formula))

    def _take_from_parents(self, fks: Sequence[ForeignKeySpec], rows: int) -> None:
        """Take the columns of foreign keys that overlap from parent rows that agree on the shared columns."""
        cells: dict[str, str] = {}
        joins = []
        for number, fk in enumerate(fks):
            conditions = []
            for name, referenced in zip(fk.columns, fk.referenced, strict=True):
                cell = f"f{number}.{ident(referenced)}"
                conditions.append(f"{cell} = {cells[name]}" if name in cells else f"{cell} IS NOT NULL")
                cells.setdefault(name, cell)
            joins.append((table_name(self._connection, fk.parent), f"f{number}", " AND ".join(conditions)))
        (table, alias, condition), *more = joins
        tables = f"{table} AS {alias} " + " ".join(f"JOIN {t} AS {a} ON {on}" for t, a, on in more)
        listed = ", ".join(f"{cell} AS c{n}" for n, cell in enumerate(cells.values()))
        relation = numbered_sql(f"SELECT DISTINCT {listed} FROM {tables} WHERE {condition}", len(cells), rows)
        size = count_rows(self._connection, f"({relation}) AS c")
        if size == 0:
            raise CannotFill(f"{self.spec.title}: no combination of parent rows satisfies {fks[0].name}.")
        self._sources.append(relation_source(cells, relation, size))


def numbered_sql(query: str, width: int, limit: int) -> str:
    """Return the relation of a query with *width* columns c0, c1…: its rows in order, numbered ``i`` from 0."""
    columns = ", ".join(f"q.c{n}" for n in range(width))
    return statement("scratch/seed_numbered", columns=columns, query=query, limit=str(limit))


def relation_source(names: Collection[str], relation: str, size: int) -> ColumnSource:
    """Return the source of columns whose values come from the rows of a relation."""
    formulas = {name: Formula(f"p.c{n}") for n, name in enumerate(names)}
    return ColumnSource(formulas=formulas, size=size, relation=relation)


def _copy(source: ColumnSource) -> ColumnSource:
    return ColumnSource(formulas=dict(source.formulas), size=source.size, relation=source.relation)
