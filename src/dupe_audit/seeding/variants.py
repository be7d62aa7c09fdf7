"""Values of one column that a stricter key may consider equal: other case, other blanks, the same day.

The list is wide rather than clever. The server decides which of the values a key confuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from dupe_audit.seeding.candidates import Literals, single_values
from dupe_audit.seeding.spec import ColumnSpec
from dupe_audit.statements import literal

MOST = 150  #: values per column
GENERAL = 40  #: of them, values that do not start from the given one
LITERALS = 8  #: strings and numbers of the key's definition that are used
STEPS = ("1 microsecond", "1 second", "1 minute", "1 hour", "13 hours", "1 day", "8 days", "31 days", "1 year")
_STARTS = ("year", "month", "day")


def variants(column: ColumnSpec, value: str, samples: Sequence[str], literals: Literals) -> list[str]:
    """Return values as SQL, the likeliest to be confused first; some may not be valid for the column's type.

    Args:
        column: the column that they are for.
        value: one value of it, as SQL with its type.
        samples: more values of it.
        literals: the literals in the definition of the key.
    """
    name, category = column.type.name, column.type.category
    special = _BY_NAME.get(name) or _BY_CATEGORY.get(category)
    values = [value, *samples, *(special(value, literals) if special else [])]
    if not column.not_null:
        values.insert(1, "NULL")
    values += single_values(column, literals)[:GENERAL]
    return list(dict.fromkeys(values))[:MOST]


def _texts(value: str, literals: Literals) -> list[str]:
    text = f"({value})::pg_catalog.text"
    letters = f"pg_catalog.translate({text}, '0123456789', 'abcdefghij')"
    cases = [f"pg_catalog.{case}({of})" for of in (letters, text) for case in ("lower", "upper", "initcap")]
    short = f"pg_catalog.left({text}, -1)"  # leaves room for a blank where the length is limited
    padded = [padded for of in (text, short) for padded in (of, f"(' ' || {of})", f"({of} || ' ')")]
    padded += [f"({text} || pg_catalog.chr({code}))" for code in (9, 160)]
    # An accented letter, the same one in two characters, and the letter without its accent.
    accents = [f"({text} || {end})" for end in ("pg_catalog.chr(233)", "('e' || pg_catalog.chr(769))", "'e'")]
    # Equal parts: before or after a character, and the first or last characters.
    parts = [f"({text} || {literal(end)})" for end in (".", "-", "@a", "@b", "+a@x", "+b@x")]
    parts += [f"({literal(start)} || {text})" for start in ("a@", "b@", "-", "0")]
    for string in literals.strings[:LITERALS]:
        quoted = literal(string)
        parts += [f"({text} || {quoted})", f"({quoted} || {text})"]
        parts += [f"({text} || {quoted} || '{end}')" for end in "ab"]
        parts += [f"('{start}' || {quoted} || {text})" for start in "ab"]
    for length in [*literals.lengths[:6], 64]:
        start, end = (f"pg_catalog.{pad}({text}, {length}, 'x')" for pad in ("rpad", "lpad"))
        parts += [f"({start} || '{letter}')" for letter in "ab"] + [f"('{letter}' || {end})" for letter in "ab"]
    return [*cases, *padded, *accents, *parts, "''"]


def _numbers(value: str, literals: Literals) -> list[str]:
    steps = ["0.001", "0.1", "0.4", "1", "2", *literals.numbers[:LITERALS]]
    return [f"(- {value})", *(f"({value} + {step})" for step in steps), f"({value} * 10)", f"(({value} * 10) + 1)"]


def _moments(value: str, _literals: Literals) -> list[str]:
    starts = [f"pg_catalog.date_trunc('{unit}', {value})" for unit in _STARTS]
    return [f"({start} + interval '{step}')" for start in (*starts, value) for step in ("0 seconds", *STEPS)]


def _times(value: str, _literals: Literals) -> list[str]:
    return [f"({start} + interval '{step}')" for start in ("time '07:00'", value) for step in ("0 seconds", *STEPS[:4])]


def _intervals(value: str, _literals: Literals) -> list[str]:
    return [f"({value} + interval '{step}')" for step in STEPS] + ["interval '1 day'", "interval '24 hours'"]


def _documents(value: str, literals: Literals) -> list[str]:
    """Return documents with equal parts under the keys that the key's definition names, alone and nested."""
    strings = [part for string in literals.strings for part in re.split(r"[{},]", string) if part][:LITERALS]
    documents = []
    for leaf in _leaves(value):
        alone = [f"pg_catalog.jsonb_build_object({literal(string)}, {leaf})" for string in strings]
        nested = leaf
        for string in reversed(strings):
            nested = f"pg_catalog.jsonb_build_object({literal(string)}, {nested})"
        every = f"pg_catalog.jsonb_build_object({', '.join(f'{literal(string)}, {leaf}' for string in strings)})"
        for document in [*alone, nested, every]:
            documents += [document, f"({document} || '{{\"more\": 1}}'::pg_catalog.jsonb)"]
    return documents


def _leaves(value: str) -> list[str]:
    """Return a number, and a text in both cases, each as a separate document."""
    text = f"({value})::pg_catalog.text"
    letters = f"pg_catalog.translate(pg_catalog.md5({text}), '0123456789', 'abcdefabcd')"
    texts = [f"pg_catalog.to_jsonb(pg_catalog.{case}({letters}))" for case in ("lower", "upper")]
    return [f"pg_catalog.to_jsonb(pg_catalog.hashtext({text}) & 16777215)", *texts]


def _pairs(value: str, literals: Literals) -> list[str]:
    documents = [f"{literal(key)} || '=>' || '{more}'" for key in literals.strings for more in ("1", "1,more=>1")]
    return [value, *(f"({document})" for document in documents)]


def _arrays(value: str, _literals: Literals) -> list[str]:
    twice = f"pg_catalog.array_cat({value}, {value})"
    return [twice, f"pg_catalog.array_cat({value}, {twice})"]


def _addresses(value: str, _literals: Literals) -> list[str]:
    nets = [f"pg_catalog.set_masklen({value}, {bits})" for bits in (24, 16)]
    return [*(f"({value} + {step})" for step in (1, 2)), *nets]


def _ranges(value: str, _literals: Literals) -> list[str]:
    """Return ranges with the same start and no end, and the other way round."""
    text = f"({value})::pg_catalog.text"
    return [f"pg_catalog.regexp_replace({text}, {part})" for part in ("',.*$', ',)'", "'^.*,', '(,'")]


def _uuids(value: str, _literals: Literals) -> list[str]:
    """Return values that differ in their last digit, or in their first one."""
    text = f"({value})::pg_catalog.text"
    return [f"pg_catalog.overlay({text}, '{digit}', {position})" for position in (36, 1) for digit in "ab"]


_BY_NAME: dict[str, Callable[[str, Literals], list[str]]] = {
    "time": _times,
    "timetz": _times,
    "json": _documents,
    "jsonb": _documents,
    "hstore": _pairs,
    "uuid": _uuids,
}
_BY_CATEGORY: dict[str, Callable[[str, Literals], list[str]]] = {
    "S": _texts,
    "N": _numbers,
    "D": _moments,
    "T": _intervals,
    "A": _arrays,
    "I": _addresses,
    "R": _ranges,
    "B": lambda _value, _literals: ["true", "false"],
}
