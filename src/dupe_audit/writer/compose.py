"""Fill the templates of the writer's statements for one target.

Unlike all others, these statements have bound parameters, ``$1`` to ``$n``: the values of a row. A writer's transaction
ends with its batch, so they leave no snapshot open (see ``dupe_audit.statements``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dupe_audit.statements import ident, statement
from dupe_audit.writer.arbiters import ArbiterIndex
from dupe_audit.writer.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """The statements that write to a target in its present state."""

    insert: str  #: one row, with the conflict clause that the arbiter allows
    insert_alone: str  #: one row, without a conflict clause: a conflict is an error that names its index
    #: empty if keys cannot be looked up, or have an expression or a predicate, or a value would be read otherwise
    insert_batch: str
    looks_up: bool  #: the insert looks the key up


def compose(target: Target) -> Statements:
    """Return the statements for *target*."""
    parts = _Parts(target)
    can_look_up = bool(target.operators or target.lookups)
    insert = parts.insert() if target.where is None else parts.insert_in_part(target.where)
    together = target.operators and not any(column.own_cast for column in target.columns)
    return Statements(
        insert=insert if can_look_up else parts.insert_unguarded(parts.conflict),
        insert_alone=parts.insert_unguarded(conflict=""),
        insert_batch=parts.insert_batch() if together else "",
        looks_up=can_look_up,
    )


def _cast(value: str, *types: str) -> str:
    """Return the value with a cast to each type in turn, repeated types once."""
    for previous, type_ in zip(("", *types), types, strict=False):
        value += f"::{type_}" if type_ != previous else ""
    return value


def _equal(left: str, operator: str, right: str, *, nulls_not_distinct: bool) -> str:
    equal = f"{left} {operator} {right}"
    return f"({equal} OR ({left} IS NULL AND {right} IS NULL))" if nulls_not_distinct else equal


class _Parts:
    """The pieces of SQL that fill the templates. ``v`` is the batch.

    The table is ``t``, or has its own name if the key has expressions, in which it may be named.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.columns = {column.name: column for column in target.columns}
        self.positions = {column.name: n for n, column in enumerate(target.columns, 1)}
        self.values = ", ".join(self.sent(name) for name in self.columns)
        self.into = {
            "table": target.table,
            "columns": ", ".join(ident(name) for name in self.columns),
            "identity": ", ".join(f"{self.table_column(name)} AS i{n}" for n, name in enumerate(target.identity, 1)),
        }
        self.alias = {"alias": target.alias}

    def table_column(self, name: str) -> str:
        """Return a column of the table."""
        return f"{self.target.alias}.{ident(name)}"

    def sent(self, name: str) -> str:
        """Return the parameter for a column of the row."""
        return _cast(f"${self.positions[name]}", self.columns[name].sent_as)

    def in_batch(self, name: str) -> str:
        """Return the batch's column for a column of the row."""
        return f"v.c{self.positions[name]}"

    def insert(self) -> str:
        """Return the statement for one row that looks its key up first."""
        return statement("write_row", **self.one_row())

    def insert_in_part(self, where: str) -> str:
        """Return the statement for one row of a key with a predicate.

        It looks the key up after the INSERT: only the server knows whether the row will be in the predicate, after
        defaults and triggers. A row outside of it conflicts with nothing.
        """
        return statement("write_part_row", **self.one_row(), where=where)

    def one_row(self) -> dict[str, str]:
        """Return the values of the holes that the statements for one row share."""
        key = self.target.key
        return {
            **self.into,
            **self.alias,
            "values": self.values,
            "same": self.same(self.sent),
            "match": " OR ".join(map(self.match_in, self.target.lookups))
            or self.match(lambda n: self.table_column(key[n]), lambda n: self.compared(key[n])),
            "conflict": self.conflict,
            "old_identity": self.identity_of("old"),
        }

    def insert_unguarded(self, conflict: str) -> str:
        """Return the statement for one row that does not look its key up first."""
        return statement("write_unguarded_row", **self.into, **self.alias, values=self.values, conflict=conflict)

    def insert_batch(self) -> str:
        """Return the statement for a batch, whose parameters are arrays of text: one per column of the row."""
        columns = list(enumerate(self.target.columns, 1))
        payload = f"ROW({', '.join(map(self.compared_in_batch, self.target.payload))})"
        key = self.target.key
        in_key = list(map(self.compared_in_batch, key))
        return statement(
            "write_batch",
            **self.into,
            arrays=", ".join(f"pg_catalog.unnest(${n}::pg_catalog.text[])" for n, _ in columns),
            texts=", ".join(f"c{n}" for n, _ in columns),
            typed=", ".join(f"u.c{n}::{column.sent_as}{column.collation} AS c{n}" for n, column in columns),
            values=", ".join(map(self.in_batch, self.columns)),
            sent_payload=payload,
            sent_key=", ".join(in_key),
            same=self.same(self.in_batch),
            match=self.match(lambda n: self.table_column(key[n]), in_key.__getitem__),
            matches_new=self.match(lambda n: f"new.k{n}", in_key.__getitem__),
            key_as_k=", ".join(f"t.{ident(name)} AS k{n}" for n, name in enumerate(key)),
            conflict=self.conflict,
            old_identity=self.identity_of("old"),
            new_identity=self.identity_of("new"),
        )

    @property
    def conflict(self) -> str:
        """The conflict clause that the arbiter allows.

        A clause without a target skips conflicts with every unique index, so it is used only while there is no valid
        constraint. If some constraint of the table is deferrable, even that clause is an error, and there is none.
        """
        if not self.target.arbiter.enforced:
            return "" if self.target.deferrable else "ON CONFLICT DO NOTHING"
        if self.target.constraint:
            return f"ON CONFLICT ON CONSTRAINT {ident(self.target.constraint)} DO NOTHING"
        target = self.target.conflict_target or f"({', '.join(map(ident, self.target.key))})"
        return f"ON CONFLICT {target} DO NOTHING"

    def identity_of(self, alias: str) -> str:
        """Return the columns of a subquery that hold the identity."""
        return ", ".join(f"{alias}.i{n}" for n in range(1, len(self.target.identity) + 1))

    def match(self, left: Callable[[int], str], right: Callable[[int], str]) -> str:
        """Return the condition that two keys are equal by the operators of the arbiter's index."""
        return " AND ".join(
            _equal(left(n), operator, right(n), nulls_not_distinct=self.target.nulls_not_distinct)
            for n, operator in enumerate(self.target.operators)
        )

    def match_in(self, index: ArbiterIndex) -> str:
        """Return the condition that an existing row conflicts with the row to insert by a unique index.

        It is in the catalog's words, whose columns are named without their table.
        """
        terms = [] if index.predicate is None else [f"({index.predicate})"]
        for element in index.elements:
            if element.column is not None:
                left, right = self.table_column(element.column), self.compared(element.column)
            else:
                left, right = f"({element.expression})", self.computed(str(element.expression))
            terms.append(
                _equal(left + element.collation, element.operator, right, nulls_not_distinct=index.nulls_not_distinct)
            )
        return f"({' AND '.join(terms)})"

    def compared(self, name: str) -> str:
        """Return the parameter for a column of the row as a stored value is compared with it."""
        return _cast(self.sent(name), self.columns[name].compared_as)

    def compared_in_batch(self, name: str) -> str:
        """Return the same for the batch's column."""
        column = self.columns[name]
        return self.in_batch(name) + (f"::{column.compared_as}" if column.compared_as != column.sent_as else "")

    def computed(self, expression: str) -> str:
        """Return an expression over the row to insert, as the index computes it.

        OFFSET 0 prevents the planner from computing it for a row that is outside of the index, where it may fail.
        """
        row = ", ".join(
            f"{_cast(self.sent(name), column.compared_as, column.stored_as)}{column.collation} AS {ident(name)}"
            for name, column in self.columns.items()
        )
        return f"(SELECT {expression} FROM (SELECT {row} OFFSET 0) AS {self.target.alias})"

    def same(self, value: Callable[[str], str]) -> str:
        """Return the condition that the stored row holds the same data, compared byte for byte, as in a cleanup."""
        if not self.target.payload:
            return "true"
        stored = ", ".join(map(self.table_column, self.target.payload))
        written = ", ".join(
            _cast(value(name), self.columns[name].compared_as, self.columns[name].stored_as)
            for name in self.target.payload
        )
        return " AND ".join((f"pg_catalog.record_image_eq(ROW({stored}), ROW({written}))", *self.not_truncated(value)))

    def not_truncated(self, value: Callable[[str], str]) -> Iterator[str]:
        """Yield the condition that a cast truncated no text; blanks at the end do not count, as in an assignment."""
        for name in self.target.payload:
            column = self.columns[name]
            if column.truncates:
                before, after = (
                    f'pg_catalog.rtrim(({text})::pg_catalog.text) COLLATE pg_catalog."C"'
                    for text in (
                        _cast(value(name), column.compared_as),
                        _cast(value(name), column.compared_as, column.stored_as),
                    )
                )
                yield f"{before} IS NOT DISTINCT FROM {after}"
