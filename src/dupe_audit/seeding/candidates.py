"""Candidates that could satisfy a CHECK, made from the literals in its text; the server judges them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dupe_audit.seeding.pattern import matching
from dupe_audit.seeding.plan import NULL
from dupe_audit.seeding.spec import ColumnSpec
from dupe_audit.seeding.values import Formula, N
from dupe_audit.statements import literal

MANY = 1000  #: texts that match a regular expression; with fewer, they are tried as single values
_STRING = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_DATES = {"date": "1 day", "timestamp": "1 second", "timestamptz": "1 second", "time": "1 second", "timetz": "1 second"}
_LETTERS = f"pg_catalog.translate(({N})::pg_catalog.text, '0123456789', 'abcdefghij')"
_MD5 = f"pg_catalog.md5(({N})::pg_catalog.text)"
_COMMON_TEXTS = (
    f"('v' || {N} || '@example.com')",
    f"('https://example.com/' || {N})",
    _LETTERS,
    f"pg_catalog.upper({_LETTERS})",
    f"({N})::pg_catalog.text",
    f"(1 + {N})::pg_catalog.text",
    f"('V' || {N})",
    _MD5,
    f"({_MD5} || {_MD5})",
    f"({_MD5}::pg_catalog.uuid)::pg_catalog.text",
    f"('+1' || pg_catalog.lpad(({N})::pg_catalog.text, 10, '0'))",
    f"('v-' || {N})",
    f"('v' || {N} || '.txt')",
    f"('1.0.' || {N})",
)


@dataclass(frozen=True, slots=True)
class Literals:
    """The literals in the text of conditions."""

    strings: tuple[str, ...]
    numbers: tuple[str, ...]  #: as SQL
    mentions_null: bool

    @classmethod
    def of(cls, expressions: Sequence[str]) -> Literals:
        """Read the literals from conditions as the server writes them."""
        strings: dict[str, None] = {}
        numbers: dict[str, None] = {}
        for text in expressions:
            quoted = [string.replace("''", "'") for string in _STRING.findall(text)]
            numeric = [string for string in quoted if re.fullmatch(r"-?\d+(\.\d+)?", string)]
            strings.update(dict.fromkeys(quoted))
            numbers.update(dict.fromkeys([*_NUMBER.findall(_STRING.sub("''", text)), *numeric]))
        return cls(tuple(strings), tuple(numbers), any("NULL" in text for text in expressions))

    @property
    def lengths(self) -> list[int]:
        """The numbers that can be a length, and their neighbours."""
        small = [int(number) for number in self.numbers if re.fullmatch(r"\d{1,4}", number)]
        neighbours = {number + step for number in small for step in (0, 1, -1)}
        return sorted(length for length in neighbours if 0 < length <= 1000)

    @property
    def dates(self) -> list[str]:
        """The strings that look like a date or a time."""
        return [string for string in self.strings if re.match(r"\d+[-:]\d\d", string)]


def formulas(column: ColumnSpec, literals: Literals) -> list[Formula]:
    """Return formulas for many distinct values of the column, the likeliest to satisfy its checks first."""
    candidates = [column.formula] if column.formula else []
    if not column.not_null and literals.mentions_null:
        candidates.append(NULL)
    if column.formula and column.type.category != "B":
        candidates += [Formula(column.formula.at(f"{N} + {shift}"), column.formula.size) for shift in (1, 2)]
    candidates += _typed_formulas(column, literals)
    if not column.not_null:
        candidates.append(NULL)
    return list(dict.fromkeys(candidates))


def _typed_formulas(column: ColumnSpec, literals: Literals) -> list[Formula]:
    category, name = column.type.category, column.type.name
    if name in _DATES:
        return _dates(column, literals)
    if name in ("json", "jsonb"):
        return _documents(literals)
    if name == "bytea":
        return [Formula(f"pg_catalog.decode({_hex(2 * length)}, 'hex')") for length in literals.lengths[:9]]
    if name == "interval":
        starts = [f"{literal(string)}::interval" for string in literals.strings[:8]]
        return [Formula(f"({start} + (1 + {N}) * interval '1 ms')") for start in starts]
    return _BY_CATEGORY[category](column, literals) if category in _BY_CATEGORY else []


def _hex(length: int) -> str:
    return f"pg_catalog.lpad(pg_catalog.to_hex(({N})::pg_catalog.int8), {length}, '0')"


def _dates(column: ColumnSpec, literals: Literals) -> list[Formula]:
    starts = [*(f"{literal(date)}::{column.type.formatted}" for date in literals.dates), "timestamp '2100-01-01'"]
    step = f"(1 + {N}) * interval '{_DATES[column.type.name]}'"
    return [Formula(f"({start} {sign} {step})") for start in starts[:8] for sign in ("+", "-")]


def _documents(literals: Literals) -> list[Formula]:
    keys = [string for string in literals.strings if re.fullmatch(r"\w+", string)][:6]
    pairs = ", ".join(f"{literal(key)}, {N}" for key in keys)
    calls = (f"jsonb_build_array({N})", f"to_jsonb({N})", f"to_jsonb('v' || {N})", f"jsonb_build_object({pairs})")
    return [*(Formula(f"pg_catalog.{call}") for call in calls), Formula("'{}'", 1), Formula("'[]'", 1)]


def _arrays(column: ColumnSpec) -> list[Formula]:
    if column.formula is None:
        return []
    candidates, element = [column.formula], column.formula
    for _ in range(4):
        candidates.append(Formula(f"pg_catalog.array_cat({candidates[-1].sql}, {element.sql})", element.size))
    return [*candidates, Formula("'{}'", 1)]


def _numbers(literals: Literals) -> list[Formula]:
    candidates = []
    for number in (*literals.numbers[:8], "0"):
        candidates += [Formula(f"({number} + {step} {sign} {N})") for step in (0, 1, -1) for sign in ("+", "-")]
        candidates += [
            Formula(f"({number} {sign} (1 + {N})::pg_catalog.numeric / {10**scale})")
            for scale in (8, 4)
            for sign in "+-"
        ]
        candidates.append(Formula(f"({number} * (1 + {N}))"))
    return candidates


def _texts(literals: Literals) -> list[Formula]:
    candidates = [Formula(sql) for sql in _COMMON_TEXTS]
    patterns = map(matching, literals.strings)
    candidates += [formula for formula in patterns if formula and (formula.size or 0) >= MANY]
    for length in literals.lengths[:9]:
        candidates += [
            Formula(f"pg_catalog.{call}(({text})::pg_catalog.text, {length}, {literal(filler)})")
            for call, text, filler in (("lpad", N, "0"), ("rpad", f"'v' || {N}", "_"), ("lpad", _LETTERS, "a"))
        ]
        candidates.append(Formula(f"pg_catalog.upper(pg_catalog.lpad({_LETTERS}, {length}, 'a'))"))
    for string in literals.strings[:10]:
        plain = literal(_without_anchors(string))
        candidates += [Formula(f"({plain} || {N})"), Formula(f"({N} || {plain})")]
        candidates.append(Formula(f"('v' || {N} || {plain} || {N})"))
    return candidates


def _without_anchors(pattern: str) -> str:
    """Return a pattern of LIKE or of a regular expression without what anchors it, or lets more precede or follow."""
    return re.sub(r"^[\^%]+|[$%]+$", "", pattern)


_BY_CATEGORY: dict[str, Callable[[ColumnSpec, Literals], list[Formula]]] = {
    "N": lambda _column, literals: _numbers(literals),
    "S": lambda _column, literals: _texts(literals),
    "B": lambda _column, _literals: [Formula("true", 1), Formula("false", 1)],
    "A": lambda column, _literals: _arrays(column),
}


def single_values(column: ColumnSpec, literals: Literals) -> list[str]:
    """Return single values as SQL, the likeliest to satisfy the column's checks first.

    Some may not be valid for the column's type.
    """
    values = [] if column.formula is None else [column.formula.at(str(n)) for n in range(5)]
    if not column.not_null:
        values.insert(2, "NULL")
    if column.type.labels:
        values += [literal(label) for label in column.type.labels]
    if column.type.category == "B":
        values += ["true", "false"]
    values += [literal(string) for string in literals.strings]
    values += [literal(_without_anchors(string)) for string in literals.strings]
    for number in literals.numbers:
        values += [f"({number} + {step})" for step in (0, 1, -1, *range(2, 30))] + [f"({number} + 0.5)"]
    if column.type.name in _DATES:
        unit = "1 minute" if column.type.name in ("time", "timetz") else "1 day"
        starts = [f"{literal(date)}::{column.type.formatted}" for date in literals.dates]
        values += [f"({start} + {n} * interval '{unit}')" for start in starts for n in range(-3, 28)]
    if column.type.category == "S":
        patterns = [formula for formula in map(matching, literals.strings) if formula and (formula.size or 0) < MANY]
        values += [pattern.at(str(n)) for pattern in patterns for n in range(min(pattern.size or 1, 40))]
        for length in literals.lengths[:30]:
            values += [f"pg_catalog.repeat('{letter}', {length})" for letter in "a01A"]
    values += [formula.at("1") for formula in formulas(column, literals)]
    values += [] if column.formula is None else [column.formula.at(str(n)) for n in range(5, 40)]
    return list(dict.fromkeys(values))
