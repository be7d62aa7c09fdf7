"""Values for a regular expression: each place of it counts through the characters that it takes."""

from __future__ import annotations

import re
import string
from math import prod

from dupe_audit.seeding.values import HOLE, Values
from dupe_audit.statements import literal

LONGEST = 100  #: characters; longer ones are left to other ways
REPEATED = 4  #: times, where the expression says no less than once, or more

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


def matching(pattern: str) -> Values | None:
    """Return texts that the expression should match, None where it is too hard; the server judges them anyway."""
    text = pattern.removeprefix("^").removesuffix("$")
    places = _places(text)
    if places is None or not 0 < len(places) <= LONGEST:
        return None
    parts, counted = [], 1
    for characters in reversed(places):
        size = len(characters)
        if size == 1 or counted > 10**15:
            parts.append(literal(characters[0]))
            continue
        at = f"1 + (({HOLE} / {counted}) % {size})::pg_catalog.int4"
        parts.append(f"pg_catalog.substr({literal(characters)}, {at}, 1)")
        counted *= size
    size = prod(len(characters) for characters in places)
    return Values(f"({' || '.join(reversed(parts))})::pg_catalog.text", size)


def _places(text: str) -> list[str] | None:
    """Return the characters that each place takes; of alternatives the first, of what may be absent nothing."""
    found: list[str] = []
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if text[at] == "|":
            return found
        if token is None:
            return None
        at = token.end()
        if token["group"]:
            inner = _inside(text, at)
            piece = None if inner is None else _places(inner)
            at += len(inner or "") + 1
        else:
            characters = _characters(token)
            piece = [characters] if characters else None
        if piece is None:
            return None
        times = _TIMES.match(text, at)
        at = times.end() if times else at
        found += piece * (_count(times) if times else 1)
    return found


def _inside(text: str, at: int) -> str | None:
    """Return what stands before the parenthesis that closes the one before *at*."""
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
    refused = inner.startswith("^")
    found = "".join(_expanded(inner.removeprefix("^")))
    return "".join(one for one in _USUAL if one not in found) if refused else "".join(dict.fromkeys(found))


def _expanded(inner: str) -> list[str]:
    found = []
    for named, escape, low, high, one in re.findall(r"(\[:\w+:\])|\\(.)|(\w)-(\w)|(.)", inner, flags=re.DOTALL):
        if named:
            found.append(_NAMED.get(named, ""))
        elif escape:
            found.append(_ESCAPES.get(escape, escape))
        elif low:
            found.append("".join(map(chr, range(ord(low), ord(high) + 1))))
        else:
            found.append(one)
    return found
