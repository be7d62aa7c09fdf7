"""The parts of a TOML file: a value of the right type for each name, or an error that says on which line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn, TypeVar, overload

from dupe_audit.errors import WrongUsage
from dupe_audit.model import milliseconds

C = TypeVar("C", bound=str)
Path = tuple[str, ...]


class Needed:
    """The default of what has none."""


NEEDED: Final = Needed()

_NAME = r"""(?:"[^"]*"|'[^']*'|[\w-]+)"""
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_LINE = re.compile(rf"\s*(?:\[\[?\s*({_DOTTED})\s*\]|({_DOTTED})\s*=)")
_VARIABLE = re.compile(r"\$(\$\{)|\$\{(\w+)\}")


class FromEnvironment(str):
    """A string that is one variable of the environment; may be read as a number or a flag."""

    __slots__ = ()


class Source:
    """A file and the lines of its names, which tomllib does not tell."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._lines: dict[Path, int] = {}
        section: Path = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if found := _LINE.match(line):
                path = tuple(name.strip("\"'") for name in re.findall(_NAME, found[1] or found[2]))
                section = path if found[1] else section
                start, whole = (0, section) if found[1] else (len(section), section + path)
                for length in range(start + 1, len(whole) + 1):
                    self._lines.setdefault(whole[:length], number)

    def fail(self, path: Path, message: str) -> NoReturn:
        """Raise the error, with the line of the name or of what it is within."""
        lines = [self._lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self._lines]
        raise WrongUsage(f"{self.file}{f', line {lines[0]}' if lines else ''}: {message}")

    def filled(self, value: Any, environment: Mapping[str, str], path: Path = ()) -> Any:
        """Return *value* with the variables of the environment in its strings.

        Raises:
            WrongUsage: one is not set.
        """
        if isinstance(value, dict):
            return {name: self.filled(item, environment, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item, environment, path) for item in value]
        if not isinstance(value, str) or "$" not in value:
            return value

        def put_in(found: re.Match[str]) -> str:
            if found[1]:
                return found[1]
            if found[2] not in environment:
                self.fail(path, f"the environment variable {found[2]} is not set.")
            return environment[found[2]]

        filled = _VARIABLE.sub(put_in, value)
        return FromEnvironment(filled) if _VARIABLE.fullmatch(value) and value[1] == "{" else filled


class Section:
    """A table of the file. What is asked for is marked as known; ``close`` objects to the rest."""

    def __init__(self, source: Source, values: dict[str, Any], path: Path) -> None:
        self.source, self._values, self._path = source, values, path
        self._known: set[str] = set()

    def fail(self, name: str | None, message: str) -> NoReturn:
        """Raise the error for a name of this section."""
        self.source.fail((*self._path, name) if name else self._path, message)

    def names(self) -> tuple[str, ...]:
        """Return all names."""
        return tuple(self._values)

    def within(self, name: str) -> Section:
        """Return a section of this one; one that is not there is empty."""
        self._known.add(name)
        values = self._values.get(name, {})
        if not isinstance(values, dict):
            self.fail(name, f"{self._full(name)} is a table, {{ … }} or a section of its own.")
        return Section(self.source, values, (*self._path, name))

    def raw(self, name: str) -> Any:
        """Return a value of any type, or None."""
        self._known.add(name)
        return self._values.get(name)

    @overload
    def text(self, name: str) -> str: ...
    @overload
    def text(self, name: str, default: str) -> str: ...
    @overload
    def text(self, name: str, default: None) -> str | None: ...
    def text(self, name: str, default: str | Needed | None = NEEDED) -> str | None:
        """Return a string."""
        value = self._take(name, default)
        if value is not default and not isinstance(value, str):
            self.fail(name, f"{self._full(name)} is a string, in quotes.")
        return str(value) if value is not None else None

    def texts(self, name: str, default: tuple[str, ...] | Needed = NEEDED) -> tuple[str, ...]:
        """Return strings; one may stand for a list of one, or of several from the environment."""
        value = self._take(name, default)
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")] if isinstance(value, FromEnvironment) else [value]
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
            self.fail(name, f"{self._full(name)} is a list of strings.")
        return tuple(map(str, value))

    def choice(self, name: str, choices: tuple[C, ...], default: C | Needed = NEEDED) -> C:
        """Return one of some words."""
        value = self._take(name, default)
        chosen = next((one for one in choices if one == value), None)
        if chosen is None:
            hint = self.meant(str(value), choices)
            self.fail(name, f"{self._full(name)} is one of {', '.join(choices)}.{hint}")
        return chosen

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self._take(name, default)
        if isinstance(value, FromEnvironment) and value.lower() in ("true", "false"):
            value = value.lower() == "true"
        if not isinstance(value, bool):
            self.fail(name, f"{self._full(name)} is true or false.")
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number of a range."""
        value = self._take(name, default)
        if isinstance(value, FromEnvironment) and re.fullmatch(r"\d{1,12}", value, re.ASCII):
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            self.fail(name, f"{self._full(name)} is a whole number from {low} to {high}.")
        return value

    def share(self, name: str, default: float) -> float:
        """Return a share, above 0 and up to 1."""
        value = self._take(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
            self.fail(name, f"{self._full(name)} is a number above 0 and up to 1.")
        return float(value)

    def duration(self, name: str, default: int, *, low: int, high: int = 3_600_000) -> int:
        """Return a duration in milliseconds."""
        value = self._take(name, f"{default}ms")
        try:
            value = milliseconds(value) if isinstance(value, str) else -1
        except WrongUsage:
            value = -1
        if not low <= value <= high:
            limits = f"from {low} ms to {high // 1000} s"
            self.fail(name, f'{self._full(name)} is a duration {limits}, in quotes, such as "500ms", "5s" or "1min".')
        return value

    def close(self, *optional: str) -> None:
        """Object to names that nobody asked for; *optional* sections count as known."""
        known = self._known | set(optional)
        for name in self._values:
            if name not in known:
                where = f"[{'.'.join(self._path)}]" if self._path else "the file"
                self.fail(name, f"{where} has no {name!r}.{self.meant(name, known)}")

    @staticmethod
    def meant(name: str, known: Iterable[str]) -> str:
        """Return a guess at what was meant, or nothing."""
        close = get_close_matches(name, list(known), n=1, cutoff=0.6)
        return f" Did you mean {close[0]!r}?" if close else ""

    def _full(self, name: str) -> str:
        return ".".join((*self._path, name))

    def _take(self, name: str, default: Any) -> Any:
        self._known.add(name)
        if name in self._values:
            return self._values[name]
        if isinstance(default, Needed):
            self.fail(None, f"[{'.'.join(self._path)}] needs {name}.{self._meant_instead(name)}")
        return default

    def _meant_instead(self, name: str) -> str:
        close = get_close_matches(name, [one for one in self._values if one not in self._known], n=1, cutoff=0.7)
        return f" Is {close[0]!r} meant to be it?" if close else ""
