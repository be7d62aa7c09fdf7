"""What could satisfy a CHECK: values made from the literals in its text, which the server then judges."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dupe_audit.seeding.pattern import matching
from dupe_audit.seeding.plan import NULL
from dupe_audit.seeding.spec import Column
from dupe_audit.seeding.values import HOLE as N
from dupe_audit.seeding.values import Values
from dupe_audit.statements import literal

MANY = 1000  #: texts that match a regular expression, so that they can tell rows apart
_STRING = re.compile(r"'((?:[^']|'')*)'")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
_DATES = {"date": "1 day", "timestamp": "1 second", "timestamptz": "1 second", "time": "1 second", "timetz": "1 second"}
_LETTERS = f"pg_catalog.translate(({N})::pg_catalog.text, '0123456789', 'abcdefghij')"
_MD5 = f"pg_catalog.md5(({N})::pg_catalog.text)"
_KNOWN_FORMS = (
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
    """What stands in the text of conditions."""

    strings: tuple[str, ...]
    numbers: tuple[str, ...]
    unknown: bool  #: NULL is spoken of

    @classmethod
    def of(cls, expressions: Sequence[str]) -> Literals:
        """Read the literals out of conditions as the server writes them."""
        strings: dict[str, None] = {}
        numbers: dict[str, None] = {}
        for text in expressions:
            quoted = [one.replace("''", "'") for one in _STRING.findall(text)]
            numeric = [one for one in quoted if re.fullmatch(r"-?\d+(\.\d+)?", one)]
            strings.update(dict.fromkeys(quoted))
            numbers.update(dict.fromkeys([*_NUMBER.findall(_STRING.sub("''", text)), *numeric]))
        return cls(tuple(strings), tuple(numbers), any("NULL" in text for text in expressions))

    @property
    def lengths(self) -> list[int]:
        """The numbers that can be a length, and their neighbours."""
        whole = {int(one) + more for one in self.numbers if re.fullmatch(r"\d{1,4}", one) for more in (0, 1, -1)}
        return sorted(one for one in whole if 0 < one <= 1000)


def families(column: Column, literals: Literals) -> list[Values]:
    """Return ways to make different values without end, the likeliest first."""
    found = [column.values] if column.values else []
    if not column.not_null and literals.unknown:
        found.append(NULL)
    if column.values and column.type.category != "B":
        found += [Values(column.values.at(f"{N} + {shift}"), column.values.size) for shift in (1, 2)]
    found += _of_type(column, literals)
    if not column.not_null:
        found.append(NULL)
    return list(dict.fromkeys(found))


def _of_type(column: Column, literals: Literals) -> list[Values]:
    category, name = column.type.category, column.type.name
    if name in _DATES:
        return _dates(column, literals)
    if name in ("json", "jsonb"):
        return _documents(literals)
    if name == "bytea":
        return [Values(f"pg_catalog.decode({_hex(2 * length)}, 'hex')") for length in literals.lengths[:9]]
    if name == "interval":
        return [Values(f"({literal(one)}::interval + (1 + {N}) * interval '1 ms')") for one in literals.strings[:8]]
    return _BY_CATEGORY[category](column, literals) if category in _BY_CATEGORY else []


def _hex(length: int) -> str:
    return f"pg_catalog.lpad(pg_catalog.to_hex(({N})::pg_catalog.int8), {length}, '0')"


def _dates(column: Column, literals: Literals) -> list[Values]:
    starts = [*(f"{literal(one)}::{column.type.written}" for one in _dated(literals)), "timestamp '2100-01-01'"]
    step = f"(1 + {N}) * interval '{_DATES[column.type.name]}'"
    return [Values(f"({start} {sign} {step})") for start in starts[:8] for sign in ("+", "-")]


def _documents(literals: Literals) -> list[Values]:
    keys = [one for one in literals.strings if re.fullmatch(r"\w+", one)][:6]
    listed = ", ".join(f"{literal(key)}, {N}" for key in keys)
    calls = (f"jsonb_build_array({N})", f"to_jsonb({N})", f"to_jsonb('v' || {N})", f"jsonb_build_object({listed})")
    return [*(Values(f"pg_catalog.{call}") for call in calls), Values("'{}'", 1), Values("'[]'", 1)]


def _arrays(column: Column) -> list[Values]:
    if column.values is None:
        return []
    found, values = [column.values], column.values
    for _ in range(4):
        found.append(Values(f"pg_catalog.array_cat({found[-1].sql}, {values.sql})", values.size))
    return [*found, Values("'{}'", 1)]


def _dated(literals: Literals) -> list[str]:
    return [one for one in literals.strings if re.match(r"\d+[-:]\d\d", one)]


def _numbers(literals: Literals) -> list[Values]:
    found = []
    for one in (*literals.numbers[:8], "0"):
        found += [Values(f"({one} + {more} {sign} {N})") for more in (0, 1, -1) for sign in ("+", "-")]
        found += [
            Values(f"({one} {sign} (1 + {N})::pg_catalog.numeric / {10**scale})") for scale in (8, 4) for sign in "+-"
        ]
        found.append(Values(f"({one} * (1 + {N}))"))
    return found


def _texts(literals: Literals) -> list[Values]:
    found = [Values(one) for one in _KNOWN_FORMS]
    found += [made for made in map(matching, literals.strings) if made and (made.size or 0) >= MANY]
    for length in literals.lengths[:9]:
        found += [
            Values(f"pg_catalog.{call}(({made})::pg_catalog.text, {length}, {literal(filler)})")
            for call, made, filler in (("lpad", N, "0"), ("rpad", f"'v' || {N}", "_"), ("lpad", _LETTERS, "a"))
        ]
        found.append(Values(f"pg_catalog.upper(pg_catalog.lpad({_LETTERS}, {length}, 'a'))"))
    for one in literals.strings[:10]:
        plain = literal(re.sub(r"^[\^%]+|[$%]+$", "", one))
        found += [Values(f"({plain} || {N})"), Values(f"({N} || {plain})"), Values(f"('v' || {N} || {plain} || {N})")]
    return found


_BY_CATEGORY: dict[str, Callable[[Column, Literals], list[Values]]] = {
    "N": lambda _column, literals: _numbers(literals),
    "S": lambda _column, literals: _texts(literals),
    "B": lambda _column, _literals: [Values("true", 1), Values("false", 1)],
    "A": lambda column, _literals: _arrays(column),
}


def singles(column: Column, literals: Literals) -> list[str]:
    """Return single values as SQL, the likeliest first; some may be none of the type."""
    found = [] if column.values is None else [column.values.at(str(n)) for n in range(5)]
    if not column.not_null:
        found.insert(2, "NULL")
    if column.type.labels:
        found += [literal(label) for label in column.type.labels]
    if column.type.category == "B":
        found += ["true", "false"]
    plain = [*literals.strings, *(re.sub(r"^[\^%]+|[$%]+$", "", one) for one in literals.strings)]
    found += [literal(one) for one in plain]
    for one in literals.numbers:
        found += [f"({one} + {step})" for step in (0, 1, -1, *range(2, 30))] + [f"({one} + 0.5)"]
    if column.type.name in _DATES:
        unit = "1 minute" if column.type.name in ("time", "timetz") else "1 day"
        for one in _dated(literals):
            found += [f"({literal(one)}::{column.type.written} + {n} * interval '{unit}')" for n in range(-3, 28)]
    if column.type.category == "S":
        few = [made for made in map(matching, literals.strings) if made and (made.size or 0) < MANY]
        found += [made.at(str(n)) for made in few for n in range(min(made.size or 1, 40))]
        for length in literals.lengths[:30]:
            found += [f"pg_catalog.repeat('{letter}', {length})" for letter in "a01A"]
    found += [family.at("1") for family in families(column, literals)]
    found += [] if column.values is None else [column.values.at(str(n)) for n in range(5, 40)]
    return list(dict.fromkeys(found))
