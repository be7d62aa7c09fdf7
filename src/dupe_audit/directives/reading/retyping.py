"""Whether values that differ still differ after a column gets another type."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

_NAMES = {
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "float4": "real",
    "float8": "double precision",
    "float": "double precision",
    "decimal": "numeric",
    "varchar": "character varying",
    "char": "character",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
_INTEGERS = ("smallint", "integer", "bigint")
_TEXTS = ("text", "character varying")
#: pairs of types between which no two values become equal, beside those that are compared below
_FAITHFUL = {
    ("smallint", "real"),
    ("smallint", "double precision"),
    ("integer", "double precision"),
    ("real", "double precision"),
    ("date", "timestamp without time zone"),
}
#: the most characters that values of a type have as text
_WIDTHS = {"smallint": 6, "integer": 11, "bigint": 20, "uuid": 36, "boolean": 5}
#: collations under which only equal texts are equal; of others, only the catalog knows
_DETERMINISTIC = re.compile(r'\s+COLLATE\s+(?:pg_catalog\.)?"(?:C|POSIX|default|ucs_basic)"\s*$', re.IGNORECASE)
_LABEL = 63  #: bytes of a label of an enum
_ANY = math.inf


@dataclass(frozen=True, slots=True)
class _Type:
    name: str
    modifiers: tuple[int, ...]
    is_enum: bool


def stays_distinct(old: str, new: str | None, using: str | None, column: str, enums: Collection[str]) -> bool:
    """Return whether no two different values of a column can become equal; False if that is not known.

    Args:
        old: its type, as ``format_type()`` writes it.
        new: as the revision writes it; None if it has no text.
        using: the expression of USING; only casts are understood.
        column: as the revision names it.
        enums: names of types that are enums.
    """
    if new is None or (steps := _casts(using, column) if using else []) is None:
        return False
    labelled = {each.lower().replace('"', "") for each in enums}
    before = _type(old, labelled)
    for step in steps:
        after = _type(step, labelled)
        if not _is_faithful(before, after):
            return False
        before = after
    return _is_assignable(before, _type(new, labelled))


def _casts(using: str, column: str) -> list[str] | None:
    """Return the types to which an expression casts a column, one after the other; None for another expression."""
    match = re.fullmatch(rf'\(?"?{re.escape(column)}"?\)?((?:\s*::[^:]+)*)', using.strip(), re.IGNORECASE)
    if match:
        return [each.strip() for each in match[1].split("::")[1:]]
    cast = re.fullmatch(rf'CAST\s*\(\s*"?{re.escape(column)}"?\s+AS\s+(.+)\)', using.strip(), re.IGNORECASE)
    return [cast[1]] if cast else None


def _type(text: str, enums: Collection[str]) -> _Type:
    words = " ".join(_DETERMINISTIC.sub("", text).lower().split())
    modifiers = re.search(r"\(([\d, ]+)\)", words)
    name = " ".join(re.sub(r"\s*\([\d, ]+\)", "", words).split())
    name = _NAMES.get(name, name).replace('"', "")
    return _Type(name, tuple(int(each) for each in modifiers[1].split(",")) if modifiers else (), name in enums)


def _is_assignable(old: _Type, new: _Type) -> bool:
    """Return whether a column's new type keeps values apart; an assignment does not cut a text that is too long."""
    is_text = old.is_enum or old.name in _TEXTS
    return (is_text and new.name in _TEXTS) or _is_faithful(old, new)


def _is_faithful(old: _Type, new: _Type) -> bool:
    if old == new or (old.name, new.name) in _FAITHFUL:
        return True
    if new.is_enum:
        return old.is_enum or old.name in _TEXTS  # only a label is accepted
    if new.name in _TEXTS:
        return _width(old) <= (new.modifiers[0] if new.modifiers else _ANY)
    if new.name in ("numeric", *_INTEGERS):
        return _scale(old) <= _scale(new)
    # Without a number, it has as many characters or digits as it can.
    return old.name == new.name and (old.modifiers or (_ANY,)) <= (new.modifiers or (_ANY,))


def _width(type_: _Type) -> float:
    """Return how many characters the values of a type have as text at most; not a number for another type."""
    if type_.is_enum:
        return _LABEL
    if type_.name in ("character", *_TEXTS):
        return type_.modifiers[0] if type_.modifiers else _ANY
    return _WIDTHS.get(type_.name, math.nan)


def _scale(type_: _Type) -> float:
    """Return how many digits after the point the values of a type have; not a number for another type."""
    if type_.name == "numeric":
        return (*type_.modifiers, 0)[1] if type_.modifiers else _ANY
    return 0 if type_.name in _INTEGERS else math.nan
