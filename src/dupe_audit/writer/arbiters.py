"""The arbiters of a key with expressions or a predicate: the server finds them, by planning an INSERT.

Nothing here is executed on a row. The server compares expressions and predicates in its own form, so a key may be
written differently from its index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from dupe_audit.errors import WrongUsage
from dupe_audit.model import UniqueKey
from dupe_audit.postgres.elements import same_value_sql, says_same
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.statements import ident, statement
from dupe_audit.writer.arguments import collated


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexElement:
    """A column or an expression of an index, and how the index compares it."""

    column: str | None
    expression: str | None  #: as the catalog writes it; None for a column
    collation: str  #: a COLLATE clause, or empty
    operator: str  #: equality


@dataclass(frozen=True, slots=True, kw_only=True)
class ArbiterIndex:
    """A unique index that ON CONFLICT infers; the key of an existing row is looked up in it."""

    elements: tuple[IndexElement, ...]
    predicate: str | None  #: as the catalog writes it; None: it covers all rows
    nulls_not_distinct: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyIndexes:
    """The unique indexes that matter to a key with expressions or a predicate."""

    arbiters: tuple[ArbiterIndex, ...]  #: a partial one only if no other rejects the same rows
    names: frozenset[str]  #: of all arbiters
    of_key: frozenset[str]  #: over the key's elements and perhaps more, whatever their predicate, valid or not
    rejecting: tuple[str, ...]  #: definitions of those that reject a duplicate of the key without being its arbiter
    definitions: tuple[str, ...]  #: of all unique indexes of the table


def key_indexes(
    connection: psycopg.Connection[Any], relid: int, table: str, key: UniqueKey, columns: Sequence[Mapping[str, Any]]
) -> KeyIndexes:
    """Read the indexes of a key.

    Args:
        connection: where the table is.
        relid: its oid.
        table: its name, qualified and quoted.
        key: a key with an expression or a predicate.
        columns: rows of ``write_columns``, one for each column that is written.

    Raises:
        WrongUsage: the server cannot read an expression or the predicate, or an expression needs a column that is not
            written.
        psycopg.Error: as the server reports.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        indexes = cursor.execute(statement("write_indexes", relid=str(relid)).encode()).fetchall()
    wanted, elements = _comparable(connection, table, key, indexes)
    _require_computable(connection, table, key, columns)
    names = frozenset(_inferred(connection, table, key))
    inferred = [_arbiter(index) for index in indexes if index["own"] and index["name"] in names]
    full = [(arbiter.elements, arbiter.nulls_not_distinct) for arbiter in inferred if arbiter.predicate is None]
    kept = [a for a in inferred if a.predicate is None or (a.elements, a.nulls_not_distinct) not in full]
    own = [(index, parts) for index, parts in zip(indexes, elements, strict=True) if index["own"]]
    return KeyIndexes(
        arbiters=tuple(dict.fromkeys(kept)),
        names=names,
        of_key=frozenset(index["name"] for index, parts in zip(indexes, elements, strict=True) if parts >= wanted),
        rejecting=tuple(index["definition"] for index, parts in own if index["ready"] and parts == wanted),
        definitions=tuple(index["definition"] for index, _parts in own),
    )


def arbiters_sql(table: str, key: UniqueKey) -> str:
    """Return the EXPLAIN that names the indexes which can be the arbiter; *table* is qualified and quoted."""
    return statement("write_arbiters", table=table, alias=ident(key.table), conflict_target=conflict_target(key))


def arbiters_in(plans: Any) -> list[str]:
    """Return the arbiters that a plan names; none if a rule replaces the INSERT."""
    return [name for plan in plans for name in plan.get("Plan", {}).get("Conflict Arbiter Indexes", [])]


def conflict_target(key: UniqueKey) -> str:
    """Return the elements and the predicate by which ON CONFLICT infers the arbiter."""
    elements = ", ".join(
        ident(name) if name is not None else "".join(collated(text))
        for name, text in zip(key.names, key.elements, strict=True)
    )
    return f"({elements})" + (f" WHERE ({key.where})" if key.where is not None else "")


def _inferred(connection: psycopg.Connection[Any], table: str, key: UniqueKey) -> list[str]:
    """Return the unique indexes that the server infers from the key and its predicate."""
    try:
        row = connection.execute(arbiters_sql(table, key).encode()).fetchone()
    except psycopg.errors.InvalidColumnReference:
        return []  # no index fits
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
        raise
    except psycopg.ProgrammingError as error:
        raise WrongUsage(f"where={key.where!r} is not a valid condition on {table}: {reason(error)}.") from error
    return arbiters_in(row[0] if row else [])


def _comparable(
    connection: psycopg.Connection[Any], table: str, key: UniqueKey, indexes: Sequence[Mapping[str, Any]]
) -> tuple[frozenset[Any], list[frozenset[Any]]]:
    """Return the elements of the key, and those of each index, in a form in which equal ones are equal."""
    of_key = [
        ident(name) if name is not None else collated(text)[0]
        for name, text in zip(key.names, key.elements, strict=True)
    ]
    of_indexes = [
        [
            ident(name) if name is not None else f"({text})"
            for name, text in zip(index["columns"], index["expressions"], strict=True)
        ]
        for index in indexes
    ]
    if None not in key.names:
        return frozenset(of_key), [frozenset(parts) for parts in of_indexes]
    _forms(connection, table, key, of_key)  # apart, because only the caller's own expressions can be wrong
    every = list(dict.fromkeys([*of_key, *(part for parts in of_indexes for part in parts)]))
    forms = _forms(connection, table, key, every)
    return frozenset(map(forms.__getitem__, of_key)), [frozenset(map(forms.__getitem__, parts)) for parts in of_indexes]


def _forms(
    connection: psycopg.Connection[Any], table: str, key: UniqueKey, expressions: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Return each expression in a form that equal ones share: the planner's text, and the first that equals it."""
    source = f"ONLY {table} AS {ident(key.table)}"

    def explained(query: str) -> Any:
        try:
            row = connection.execute(query.encode()).fetchone()
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedTable):
            raise
        except psycopg.ProgrammingError as error:
            raise WrongUsage(f"{table} cannot have the key ({', '.join(key.elements)}): {reason(error)}.") from error
        return row[0] if row else []

    plans = explained(statement("write_same", expressions=", ".join(expressions), source=source))
    forms: dict[str, tuple[str, str]] = {}
    for expression, text in zip(expressions, plans[0]["Plan"]["Output"] if plans else [], strict=True):
        alike = [other for shown, other in dict.fromkeys(forms.values()) if shown == text]
        first = next((other for other in alike if _is_equal(explained, source, other, expression)), expression)
        forms[expression] = (text, first)
    return forms


def _is_equal(explained: Callable[[str], Any], source: str, first: str, second: str) -> bool:
    """Return whether two expressions with the same text of the planner are equal: it shows no collation."""
    if "collate" not in f"{first} {second}".lower():
        return True
    return says_same(explained(same_value_sql(source, first, second)))


def _require_computable(
    connection: psycopg.Connection[Any], table: str, key: UniqueKey, columns: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse an expression that needs a column which is not written: its default is not known before the INSERT.

    Raises:
        WrongUsage: there is one.
    """
    expressions = ["".join(collated(text)) for text in key.expressions if text is not None]
    if not expressions:
        return
    nulls = ", ".join(
        f"NULL::{column['stored_as']}{column['collation']} AS {ident(column['name'])}" for column in columns
    )
    query = statement("write_values", expressions=", ".join(expressions), nulls=nulls, alias=ident(key.table))
    try:
        connection.execute(query.encode())
    except psycopg.ProgrammingError as error:
        raise WrongUsage(
            f"The key ({', '.join(key.elements)}) of {table} cannot be computed from the columns that are written "
            f"({', '.join(column['name'] for column in columns)}): {reason(error)}. Write every column that its "
            "expressions read."
        ) from error


def _arbiter(index: Mapping[str, Any]) -> ArbiterIndex:
    fields = zip(index["columns"], index["expressions"], index["collations"], index["operators"], strict=True)
    return ArbiterIndex(
        elements=tuple(
            IndexElement(column=column, expression=expression, collation=collation, operator=operator)
            for column, expression, collation, operator in fields
        ),
        predicate=index["predicate"],
        nulls_not_distinct=index["nulls_not_distinct"],
    )
