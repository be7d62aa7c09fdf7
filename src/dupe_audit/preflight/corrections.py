"""What to correct in an expression that the server cannot read, for common mistakes."""

from __future__ import annotations

import re
from typing import Literal

from sqlalchemy.exc import DBAPIError

from dupe_audit.postgres.sqlstates import OVER_SEVERAL_ROWS, reason, sqlstate

#: what an expression is for
Part = Literal["element", "predicate", "order"]

_DIRECTION = re.compile(r"\s+(ASC|DESC|NULLS\s+(FIRST|LAST))\s*$", re.IGNORECASE)
_OPERATOR_CLASS = re.compile(r"\s+\w+_ops\s*$", re.IGNORECASE)
_OTHER_KEYS = "docs/howto/other-keys.md#descending-order-or-another-operator-class"

#: our own words after an expression, which the server's message can quote
_AFTER = re.compile(r""" at or near (?:"(END|\))"|"('.*)")$""", re.DOTALL)


def server_reason(sql: str, error: DBAPIError) -> str:
    """Return the server's reason without the words of the statement around the expression."""
    text = re.sub(r" are not allowed in \w+$", " are not allowed", reason(error))
    text = text.replace("argument of WHERE must be", "it must be")
    if text.startswith("column no_row."):
        return "it has more than one value"
    quoted = _AFTER.search(text)
    if quoted and (quoted[1] or quoted[2]) not in sql:
        return f"{text[: quoted.start()]} at its end"
    return text


def correction(sql: str, part: Part, error: DBAPIError) -> str:
    """Return what to do about an expression that the server cannot read; empty if nothing is known."""
    state = sqlstate(error) or ""
    if state in OVER_SEVERAL_ROWS or "set-returning" in reason(error):
        return (
            "Use the columns of one row only: no aggregate, no window function, and nothing that returns several rows."
        )
    for pattern, text in _MISTAKES[part]:
        if pattern.search(sql):
            return text
    return ""


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_COMMON = [
    (_pattern(r";\s*$"), "Leave the semicolon out."),
    (_pattern(r"--|/\*"), "Leave the comment out, or write it in Python."),
    (_pattern(r"(?<!:):\w"), "Write the value into the SQL: there are no bound parameters."),
    (_pattern(r"%s|%\(\w+\)s|\$\d"), "Write the value into the SQL: there are no bound parameters."),
    (_pattern(r"%%"), "Write a single %."),
]
_NO_MATTER = f"it does not matter for uniqueness. To have it in the index as well, see {_OTHER_KEYS}."
_KEY_ONLY = [
    (_DIRECTION, f"Leave the direction out: {_NO_MATTER}"),
    (_OPERATOR_CLASS, f"Leave the operator class out: {_NO_MATTER}"),
]
_PREDICATE_ONLY = [
    (_pattern(r"^\s*WHERE\b"), "Leave the word WHERE out."),
    (_pattern(r"\b(ORDER\s+BY|GROUP\s+BY|LIMIT)\b"), "Give the condition alone, as after WHERE."),
    (_pattern(r"=="), "Write = for equality, and IS NULL for a missing value."),
    (_pattern(r"\bIS\s+(NOT\s+)?NONE\b"), "Write IS NULL or IS NOT NULL."),
    (_pattern(r'=\s*"'), "Write text in single quotes: double quotes make it the name of a column."),
]
_ORDER_ONLY = [
    (_pattern(r"^\s*ORDER\s+BY\b"), "Leave the words ORDER BY out."),
    (_pattern(r"^\s*SELECT\b"), "Put the subquery in parentheses: (SELECT …)."),
    (_pattern(r"\bUSING\b"), "Write DESC, or nothing, as the direction."),
    (_pattern(r"\s(ASC|DESC)\s*,|,"), "Give each part of the order separately, in a list: [sa.text('a DESC'), 'b']."),
]
_ELEMENT_ONLY = [
    (_pattern(r"^\s*SELECT\b"), "Use the columns of the row: an index cannot contain a subquery."),
    (_pattern(r","), "Check the parentheses, and give each element of the key separately, in a list."),
]
_MISTAKES: dict[Part, list[tuple[re.Pattern[str], str]]] = {
    "element": [*_KEY_ONLY, *_COMMON, *_ELEMENT_ONLY],
    "predicate": [*_PREDICATE_ONLY, *_COMMON],
    "order": [*_ORDER_ONLY, *_COMMON],
}
