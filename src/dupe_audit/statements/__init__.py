"""The SQL that runs, one statement per file; the text that runs is the text that ``--sql`` prints.

A template has holes such as ``{table}``. Holes are filled in one pass, so a column that is called
``{table}`` stays what it is. No statement has bound parameters: an idle transaction whose last query had
some keeps a snapshot, and that blocks CREATE INDEX CONCURRENTLY (measured).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from psycopg import sql

_HOLE = re.compile(r"\{(\w+)\}")


@cache
def template(name: str) -> str:
    """Return the text of ``<name>.sql`` without its header; ``scratch/…`` is for scratch servers alone."""
    lines = files(__name__).joinpath(f"{name}.sql").read_text("utf-8").splitlines()
    while lines and lines[0].startswith("--"):
        del lines[0]
    return "\n".join(lines).strip().removesuffix(";")


def fill(text: str, /, **holes: str) -> str:
    """Fill every hole of *text*; a hole without a value or a value without a hole is a mistake.

    Raises:
        KeyError: the template has a hole that was not given, or the reverse.
    """
    if surplus := set(holes) - set(_HOLE.findall(text)):
        raise KeyError(f"the statement has no {', '.join(sorted(surplus))}")
    return _HOLE.sub(lambda hole: holes[hole[1]], text)


def fill_known(text: str, holes: Mapping[str, str], /, **more: str) -> str:
    """Fill the holes of *text* from a larger set of values, of which it may need only some."""
    values = {**holes, **more}
    return _HOLE.sub(lambda hole: values[hole[1]], text)


def statement(name: str, /, **holes: str) -> str:
    """Return the statement ``<name>.sql`` with its holes filled."""
    return fill(template(name), **holes)


def ident(*parts: str) -> str:
    """Return a quoted, dot-joined identifier."""
    return sql.Identifier(*parts).as_string(None)


def literal(value: str | float | bool | None) -> str:
    """Return a literal; a string is safe whatever ``standard_conforming_strings`` says."""
    return "NULL" if value is None else sql.Literal(value).as_string(None).strip()


def text_array(values: Iterable[str]) -> str:
    """Return a ``text[]`` expression."""
    return f"ARRAY[{', '.join(literal(v) for v in values)}]::pg_catalog.text[]"
