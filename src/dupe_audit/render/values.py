"""Values and sizes for people to read: no terminal, Markdown renderer or spreadsheet interprets anything in a value."""

from __future__ import annotations

import re
import unicodedata

#: what a spreadsheet would compute instead of showing it; a number is harmless
_FORMULA = re.compile(r"[=+\-@\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH COMMERCIAL AT}]")
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|-?Infinity")
_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f", "\\": "\\\\", "'": "\\'"}


def shown(value: str | None) -> str:
    """Return a value so that no two different ones look alike, even NULL, the empty string and blanks at an end.

    Characters that are invisible or that a terminal would interpret are escaped, as in an SQL literal ``E'…'``.
    """
    if value is None:
        return "NULL"
    if not all(map(_is_visible, value)):
        return f"E'{''.join(map(_escaped, value))}'"
    if not value or value != value.strip() or value.startswith(("'", "E'")) or value == "NULL" or "  " in value:
        return "'" + value.replace("'", "''") + "'"
    return value


def _is_visible(character: str) -> bool:
    # Format characters can reverse the direction of a text; other spaces look like U+0020.
    category = unicodedata.category(character)
    return character == " " or category[0] not in "CZ"


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if _is_visible(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 128 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def code(text: str) -> str:
    """Return a text as a code span of Markdown, in which nothing but a pipe needs an escape."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def csv_cell(value: str | None) -> str:
    """Return a quoted cell; NULL is not quoted. What a spreadsheet would read as a formula gets a ``'`` in front."""
    if value is None:
        return "NULL"
    text = value if all(map(_is_visible, value)) else shown(value)
    if _FORMULA.match(text.lstrip()) and not _NUMBER.fullmatch(text):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"'


def size(count: int | None) -> str:
    """Return a number of bytes as people read it: ``34.2 kB``."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")
