"""The key that a writer is given: a ``UniqueKey``, or the elements of one beside its table and its predicate."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sqlalchemy import TextClause

from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression, UniqueKey

#: a column's name, or an expression such as ``sa.text("lower(email)")``
Element: TypeAlias = str | Expression | TextClause

#: the collation at the end of an expression
_NAME = r"(?:\"(?:[^\"]|\"\")+\"|\w+)"
_COLLATE = re.compile(rf"(.*?)\s+(COLLATE\s+(?:{_NAME}\s*\.\s*)?{_NAME})", re.DOTALL | re.IGNORECASE)

#: a name or a call, to all of which a COLLATE after it applies
_PRIMARY = re.compile(rf"{_NAME}(?:\s*\.\s*{_NAME})*\s*|(?:{_NAME}(?:\s*\.\s*{_NAME})*)?\s*(?=\()")


def key_of(
    key: UniqueKey | Sequence[Element], *, table: str | None, schema: str | None, where: str | TextClause | None
) -> UniqueKey:
    """Return the key with its predicate.

    Raises:
        WrongUsage: elements have no table, a ``UniqueKey`` is given with another table or predicate, or an element is
            neither a name nor an expression.
    """
    predicate = _sql("where", where) if isinstance(where, TextClause) else where
    if isinstance(key, UniqueKey):
        if table is not None or schema is not None:
            raise WrongUsage("A UniqueKey names its table itself: leave table and schema out.")
        if predicate is None or predicate == key.where:
            return key
        if key.where is not None and predicate.strip() != key.where:
            raise WrongUsage(
                f"where={predicate!r} contradicts the key's own predicate {key.where!r}. Give the predicate once."
            )
        return replace(key, where=predicate)
    if table is None:
        raise WrongUsage("A key given as a list of elements needs its table: table='users'.")
    if isinstance(key, str | Expression | TextClause):
        key = (key,)
    if not isinstance(key, list | tuple):
        raise WrongUsage(f"key must be a UniqueKey, or a list of column names and sa.text(…), not {key!r}.")
    columns = tuple(_element(element) for element in key)
    return UniqueKey(table=table, schema=schema, columns=columns, where=predicate)


def _element(element: object) -> str | Expression:
    if isinstance(element, TextClause):
        return Expression(_sql("key", element))
    if isinstance(element, str | Expression):
        return element
    raise WrongUsage(f"key must be a list of column names and sa.text(…); {element!r} is neither.")


def _sql(option: str, clause: TextClause) -> str:
    # sa.text() reads :name as a parameter.
    if names := ", ".join(f":{name}" for name in clause._bindparams):  # noqa: SLF001 - there is no public way
        raise WrongUsage(
            f"{option} has the bound parameter {names} in {clause.text!r}. Write its value into the SQL. If the "
            "colon does not begin a parameter, write it as \\: in a raw string."
        )
    return re.sub(r"\\(:)", r"\1", clause.text)


def sort_keys(key: UniqueKey, columns: Sequence[str]) -> Callable[[Sequence[Sequence[Any]]], list[Any]]:
    """Return the function whose results rows are sorted by, so that two writers insert equal keys in the same order.

    Rows are compared by the texts of the key's columns. For an expression, these are the columns that it names, without
    regard to case.
    """
    names = [columns.index(name) for name in key.names if name is not None]
    words = {word for text in key.expressions if text is not None for word in re.findall(r"\w+", text)}
    read = [position for position, column in enumerate(columns) if column in words]
    of_text = operator.itemgetter(*names) if names and not read else None

    def keys(rows: Sequence[Sequence[Any]]) -> list[Any]:
        if of_text and all({str} == {type(row[position]) for row in rows} for position in names):
            return list(map(of_text, rows))
        return [
            [*(str(row[position]) for position in names), *(str(row[position]).casefold() for position in read)]
            for row in rows
        ]

    return keys


def collated(expression: str) -> tuple[str, str]:
    """Return an expression in parentheses, and the COLLATE clause that applies to all of it, or an empty one.

    An index keeps the collation apart from its expression. So must ON CONFLICT, or it would find no index: a COLLATE
    inside parentheses is a part of the expression.
    """
    text = _without_parentheses(expression)
    if match := _COLLATE.fullmatch(text):
        operand = match[1].strip()
        primary = _PRIMARY.match(operand)
        if primary and (primary.end() == len(operand) or _is_enclosed(operand[primary.end() :])):
            return f"({operand})", f" {match[2]}"
    return f"({text})", ""


def _without_parentheses(text: str) -> str:
    text = text.strip()
    while text.startswith("(") and _is_enclosed(text):
        text = text[1:-1].strip()
    return text


def _is_enclosed(text: str) -> bool:
    """Return whether the parenthesis that opens a text is closed by its last character."""
    depth = 0
    unquoted = re.sub(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"", lambda quoted: "q" * len(quoted[0]), text)
    for position, character in enumerate(unquoted):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position == len(unquoted) - 1 and character == ")"
    return False
