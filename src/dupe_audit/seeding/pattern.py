"""A formula for a regular expression: the row's number counts through the characters that each position accepts."""

from __future__ import annotations

import re
import string
from math import prod

from dupe_audit.seeding.values import Formula, N
from dupe_audit.statements import literal

LONGEST = 100  #: characters; no formula is made for longer texts
REPEATED = 4  #: times that an element is repeated, if the expression allows any number

_TOKEN = re.compile(
    r"(?P<class>\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\])|\\(?P<escape>.)|(?P<group>\((?:\?:)?)|(?P<plain>[^\\()|*+?{}\[\]])",
    flags=re.DOTALL,
)
_TIMES = re.compile(r"\{(\d+)(,(\d*))?\}|([*+?])")
_ESCAPES = {"d": string.digits, "w": string.ascii_lowercase + string.digits, "s": " "}
_NAMED = {
    "[:alpha:]": string.ascii_letters,
    "[:upper:]": string.ascii_uppercase,
    "[:lower:]": string.ascii_lowercase,
    "[:digit:]": string.digits,
    "[:alnum:]": string.digits + string.ascii_letters,
    "[:xdigit:]": string.digits + "abcdef",
    "[:space:]": " ",
}
_USUAL = string.digits + string.ascii_lowercase + string.ascii_uppercase


def matching(pattern: str) -> Formula | None:
    """Return a formula for texts that the expression should match, or None if it is too complex.

    The result may be wrong: the server has to judge it.
    """
    text = pattern.removeprefix("^").removesuffix("$")
    positions = _positions(text)
    if positions is None or not 0 < len(positions) <= LONGEST:
        return None
    parts, weight = [], 1  # the positions are digits of the number, the last one the lowest
    for characters in reversed(positions):
        size = len(characters)
        if size == 1 or weight > 10**15:
            parts.append(literal(characters[0]))
            continue
        digit = f"1 + (({N} / {weight}) % {size})::pg_catalog.int4"
        parts.append(f"pg_catalog.substr({literal(characters)}, {digit}, 1)")
        weight *= size
    size = prod(len(characters) for characters in positions)
    return Formula(f"({' || '.join(reversed(parts))})::pg_catalog.text", size)


def _positions(text: str) -> list[str] | None:
    """Return the characters that each position accepts: only the first alternative, and nothing for optional parts."""
    positions: list[str] = []
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if text[at] == "|":
            return positions
        if token is None:
            return None
        at = token.end()
        if token["group"]:
            inner = _inside(text, at)
            piece = None if inner is None else _positions(inner)
            at += len(inner or "") + 1
        else:
            characters = _characters(token)
            piece = [characters] if characters else None
        if piece is None:
            return None
        times = _TIMES.match(text, at)
        at = times.end() if times else at
        positions += piece * (_count(times) if times else 1)
    return positions


def _inside(text: str, at: int) -> str | None:
    """Return the text from *at* to the parenthesis that closes the one before it; None if nothing closes it."""
    depth, end = 1, at
    while end < len(text):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[at:end]
        end += 2 if text[end] == "\\" else 1
    return None


def _count(times: re.Match[str]) -> int:
    least, ranged, most, sign = times.groups()
    if sign:
        return REPEATED if sign == "+" else 0
    if ranged is None:
        return int(least)
    wanted = max(int(least), REPEATED)
    return min(int(most), wanted) if most else wanted


def _characters(token: re.Match[str]) -> str:
    if token["escape"]:
        escape = token["escape"]
        return _ESCAPES.get(escape, "" if escape.isalnum() else escape)
    if token["plain"]:
        return "a" if token["plain"] == "." else token["plain"]
    inner = token["class"][1:-1]
    negated = inner.startswith("^")
    members = "".join(_expanded(inner.removeprefix("^")))
    return "".join(c for c in _USUAL if c not in members) if negated else "".join(dict.fromkeys(members))


def _expanded(inner: str) -> list[str]:
    members = []
    for named, escape, low, high, plain in re.findall(r"(\[:\w+:\])|\\(.)|(\w)-(\w)|(.)", inner, flags=re.DOTALL):
        if named:
            members.append(_NAMED.get(named, ""))
        elif escape:
            members.append(_ESCAPES.get(escape, escape))
        elif low:
            members.append("".join(map(chr, range(ord(low), ord(high) + 1))))
        else:
            members.append(plain)
    return members
