"""Numbers, nouns and other people's texts as messages print them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

#: where an object lies in memory, in its default representation
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")

#: a password in a URL, up to its last @, or in a libpq string or a query
_PASSWORD = re.compile(r"(://[^/\s:@]*:)\S*(?=@)|(password=)[^&\s'\"]*", re.IGNORECASE)


def quantity(count: int, singular: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as ``1 row`` or ``1,204 rows``.

    Args:
        plural: the plural, where it is not the singular with an *s*.
    """
    noun = singular if count == 1 else plural or f"{singular}s"
    return f"{count:,} {noun}"


def done_to_rows(*, archived: int = 0, amended: int = 0, merged: int = 0, changed: int = 0) -> str:
    """Return what was done with rows, as a predicate such as ``archived 3 rows and amended 1 row``; empty if nothing.

    Args:
        merged: survivors that took over values.
        changed: rows that were amended or took over values, where the parts are not known.
    """
    parts = [
        f"{verb} {quantity(count, 'row')}" for verb, count in (("archived", archived), ("amended", amended)) if count
    ]
    parts += [f"merged values into {quantity(merged, 'row')}"] if merged else []
    parts += [f"changed {quantity(changed, 'row')}"] if changed else []
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def describe_session(
    pid: int, name: str | None, state: str | None = "", seconds: float | None = None, more: str = "", where: str = ""
) -> str:
    """Return a session of another client as messages and logs name it, such as ``pid 4711 (app, active)``.

    Args:
        name: its application, else its role; None if it has ended.
        state: as in ``pg_stat_activity``; None if this role may not see it, because it lacks ``pg_read_all_stats``; empty
            to leave it out.
        seconds: since its transaction began; None where the state is hidden, or if that was not queried.
        more: what else is known, such as the lock that it holds.
        where: where it is, such as `` on db2:5432``.
    """
    open_for = "" if seconds is None else f"open for {seconds:,.0f} s"
    parts = [name or "no name", "state hidden" if state is None else state, open_for, more]
    return f"pid {pid}{where} ({', '.join(filter(None, parts))})"


def similar(name: str, names: Iterable[str]) -> str:
    """Return a question with the names that a mistyped one can have meant; empty if none is like it."""
    matches = get_close_matches(name, sorted(names), n=2)
    return f"Did you mean {' or '.join(map(repr, matches))}? " if matches else ""


def without_addresses(text: str) -> str:
    """Return a text with representations of objects, without their addresses, which differ in each run."""
    return _ADDRESS.sub("", text)


def without_passwords(text: str) -> str:
    """Return a text, such as an error of a project's ``env.py``, with ``***`` for each password in it."""
    return _PASSWORD.sub(lambda match: f"{match[1] or match[2]}***", text)
