"""Fill the templates of the writer's statements for one target.

Here statements do have parameters, ``$1`` to ``$n``, a row's values: they are data, not names, and a writer's
transaction ends with its batch, so no snapshot is left open (see ``dupe_audit.statements``).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dupe_audit.statements import ident, statement
from dupe_audit.writer.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Statements:
    """The statements that write to a target as it is now."""

    insert: str  #: one row, with the conflict clause that the arbiter allows
    insert_alone: str  #: one row, so that a conflict is an error that names its index
    create_stage: str
    copy_stage: str
    insert_staged: str  #: the empty text where keys cannot be looked up


def compose(target: Target) -> Statements:
    """Return the statements for *target*."""
    parts = _Parts(target)
    alone = {**parts.into, "values": parts.values}
    looks = bool(target.operators)
    return Statements(
        insert=parts.insert() if looks else statement("write_unguarded_row", **alone, conflict=parts.conflict),
        insert_alone=statement("write_unguarded_row", **alone, conflict=""),
        create_stage=statement("create_write_stage", stage=parts.stage, stage_columns=parts.stage_columns),
        copy_stage=f"COPY {parts.stage} FROM STDIN",
        insert_staged=parts.insert_staged() if looks else "",
    )


def _cast(value: str, *types: str) -> str:
    for before, type_ in zip(("", *types), types, strict=False):
        value += f"::{type_}" if type_ != before else ""
    return value


class _Parts:
    """The pieces of SQL that the templates are filled with. ``t`` is the table, ``v`` the stage."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.column = {column.name: column for column in target.columns}
        self.place = {column.name: n for n, column in enumerate(target.columns, 1)}
        self.values = ", ".join(self.sent(name) for name in self.column)
        self.stage_columns = ", ".join(
            f"c{n} {target.columns[n - 1].compared_as}{target.columns[n - 1].collation}" for n in self.place.values()
        )
        # One name for each shape, so that a table that was altered meets no stage of its former shape.
        self.stage = ident(f"dupe_audit_write_{zlib.crc32(self.stage_columns.encode()):08x}")
        self.into = {
            "table": target.table,
            "columns": ", ".join(ident(name) for name in self.column),
            "identity": ", ".join(f"t.{ident(name)} AS i{n}" for n, name in enumerate(target.identity, 1)),
        }

    def sent(self, name: str) -> str:
        """Return a value of the row as it is sent."""
        return _cast(f"${self.place[name]}", self.column[name].taken_as)

    def staged(self, name: str) -> str:
        """Return a value of the row as it is staged."""
        return f"v.c{self.place[name]}"

    def insert(self) -> str:
        """Return the statement for one row."""
        return statement(
            "write_row",
            **self.into,
            values=self.values,
            same=self.same(self.sent),
            match=self.match(
                lambda n: f"t.{ident(self.target.key[n])}",
                lambda n: _cast(self.sent(self.target.key[n]), self.column[self.target.key[n]].compared_as),
            ),
            conflict=self.conflict,
            old_identity=self.identity_of("old"),
        )

    def insert_staged(self) -> str:
        """Return the statement for a staged batch."""
        payload = f"ROW({', '.join(self.staged(name) for name in self.target.payload)})"
        key = self.target.key
        return statement(
            "write_stage",
            **self.into,
            stage=self.stage,
            staged=", ".join(self.staged(name) for name in self.column),
            staged_payload=payload,
            staged_key=", ".join(self.staged(name) for name in key),
            same=self.same(self.staged),
            match=self.match(lambda n: f"t.{ident(key[n])}", lambda n: self.staged(key[n])),
            matches_new=self.match(lambda n: f"new.k{n}", lambda n: self.staged(key[n])),
            key_as_k=", ".join(f"t.{ident(name)} AS k{n}" for n, name in enumerate(key)),
            conflict=self.conflict,
            old_identity=self.identity_of("old"),
            new_identity=self.identity_of("new"),
        )

    @property
    def conflict(self) -> str:
        """The conflict clause that the arbiter allows.

        Without a target it passes over any unique index, so it is for the time without a constraint only; and where
        a constraint of the table is deferrable, even that is an error.
        """
        if not self.target.arbiter.enforced:
            return "" if self.target.deferrable else "ON CONFLICT DO NOTHING"
        if self.target.constraint:
            return f"ON CONFLICT ON CONSTRAINT {ident(self.target.constraint)} DO NOTHING"
        return f"ON CONFLICT ({', '.join(ident(name) for name in self.target.key)}) DO NOTHING"

    def identity_of(self, alias: str) -> str:
        """Return the identity's columns of a subquery."""
        return ", ".join(f"{alias}.i{n}" for n in range(1, len(self.target.identity) + 1))

    def match(self, left: Callable[[int], str], right: Callable[[int], str]) -> str:
        """Return the condition that two keys are equal as the arbiter's index sees it."""
        terms = []
        for n, operator in enumerate(self.target.operators):
            equal = f"{left(n)} {operator} {right(n)}"
            if self.target.nulls_not_distinct:
                equal = f"({equal} OR ({left(n)} IS NULL AND {right(n)} IS NULL))"
            terms.append(equal)
        return " AND ".join(terms)

    def same(self, value: Callable[[str], str]) -> str:
        """Return the condition that the stored row holds the same data, byte for byte, as in a cleanup."""
        if not self.target.payload:
            return "true"
        stored = ", ".join(f"t.{ident(name)}" for name in self.target.payload)
        given = ", ".join(
            _cast(value(name), self.column[name].compared_as, self.column[name].stored_as)
            for name in self.target.payload
        )
        return " AND ".join((f"pg_catalog.record_image_eq(ROW({stored}), ROW({given}))", *self.uncut(value)))

    def uncut(self, value: Callable[[str], str]) -> Iterator[str]:
        """Yield that the cast which pads a text did not cut it; blanks at its end are cut by an assignment, too."""
        for name in self.target.payload:
            column = self.column[name]
            if column.cut:
                given = _cast(value(name), column.compared_as)
                was, is_ = (
                    f'pg_catalog.rtrim(({text})::pg_catalog.text) COLLATE pg_catalog."C"'
                    for text in (given, _cast(value(name), column.compared_as, column.stored_as))
                )
                yield f"{was} IS NOT DISTINCT FROM {is_}"
