"""The SQL that is executed, one statement per file; ``--sql`` prints the same text.

A template has holes such as ``{table}``. They are filled in one pass, so a column named ``{table}`` is left as it
is. No statement of the steps has bound parameters: an idle transaction whose last query had parameters keeps a
snapshot, which blocks CREATE INDEX CONCURRENTLY (measured). Only the writer's statements have them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from psycopg import sql

_HOLE = re.compile(r"\{(\w+)\}")


def names() -> list[str]:
    """Return the names of all statements but those that are executed on scratch servers only."""
    return sorted(file.name.removesuffix(".sql") for file in files(__name__).iterdir() if file.name.endswith(".sql"))


@cache
def template(name: str) -> str:
    """Return the text of ``<name>.sql`` without its header; ``scratch/…`` is executed on scratch servers only."""
    lines = files(__name__).joinpath(f"{name}.sql").read_text("utf-8").splitlines()
    while lines and lines[0].startswith("--"):
        del lines[0]
    return "\n".join(lines).strip().removesuffix(";")


def fill(text: str, /, **holes: str) -> str:
    """Return *text* with every hole filled.

    Raises:
        KeyError: a hole has no value, or a value has no hole.
    """
    if surplus := set(holes) - set(_HOLE.findall(text)):
        raise KeyError(f"the statement has no {', '.join(sorted(surplus))}")
    return _HOLE.sub(lambda hole: holes[hole[1]], text)


def fill_known(text: str, holes: Mapping[str, str], /, **more: str) -> str:
    """Return *text* with its holes filled from values of which it may not need all.

    Raises:
        KeyError: a hole has no value.
    """
    values = {**holes, **more}
    return _HOLE.sub(lambda hole: values[hole[1]], text)


def statement(name: str, /, **holes: str) -> str:
    """Return the statement ``<name>.sql`` with its holes filled.

    Raises:
        KeyError: a hole has no value, or a value has no hole.
    """
    return fill(template(name), **holes)


def ident(*parts: str) -> str:
    """Return a quoted, dot-joined identifier."""
    return sql.Identifier(*parts).as_string(None)


def literal(value: str | float | bool | None) -> str:
    """Return a literal; a string is safe whatever ``standard_conforming_strings`` says."""
    if isinstance(value, str):
        # Not by libpq: without a connection, it reads the text in the encoding of whichever connection was last.
        quoted = value.replace("'", "''")
        return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in value else f"'{quoted}'"
    return "NULL" if value is None else sql.Literal(value).as_string(None).strip()


def text_array(values: Iterable[str | None]) -> str:
    """Return a ``text[]`` expression."""
    return f"ARRAY[{', '.join(literal(value) for value in values)}]::pg_catalog.text[]"
