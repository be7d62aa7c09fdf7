"""The sections of a TOML file: a value of the right type for each name, or an error that names the line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, NoReturn, TypeVar, overload

from dupe_audit.errors import WrongUsage
from dupe_audit.model import milliseconds

C = TypeVar("C", bound=str)
Path = tuple[str, ...]


class Required:
    """The type of ``REQUIRED``, which replaces a default."""


REQUIRED: Final = Required()

_NAME = r"""(?:"[^"]*"|'[^']*'|[\w-]+)"""
_DOTTED = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_LINE = re.compile(rf"\s*(?:\[\[?\s*({_DOTTED})\s*\]|({_DOTTED})\s*=)")
_VARIABLE = re.compile(r"\$(\$\{)|\$\{(\w+)\}")


class FromEnvironment(str):
    """A string that is a single environment variable; may be read as a number, a flag or a list."""

    __slots__ = ()


class ConfigFile:
    """A file's path and the lines of its names, which tomllib does not report."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self._lines: dict[Path, int] = {}
        section: Path = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if match := _LINE.match(line):
                names = tuple(name.strip("\"'") for name in re.findall(_NAME, match[1] or match[2]))
                section = names if match[1] else section
                start, full = (0, section) if match[1] else (len(section), section + names)
                for length in range(start + 1, len(full) + 1):
                    self._lines.setdefault(full[:length], number)

    def fail(self, path: Path, message: str) -> NoReturn:
        """Raise the error, with the line of the name, or of the nearest section around it."""
        lines = [self._lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in self._lines]
        raise WrongUsage(f"{self.path}{f', line {lines[0]}' if lines else ''}: {message}")

    def expand(self, value: Any, environment: Mapping[str, str], path: Path = ()) -> Any:
        """Return *value* with the environment variables in its strings replaced.

        Raises:
            WrongUsage: a variable is not set.
        """
        if isinstance(value, dict):
            return {name: self.expand(item, environment, (*path, name)) for name, item in value.items()}
        if isinstance(value, list):
            return [self.expand(item, environment, path) for item in value]
        if not isinstance(value, str) or "$" not in value:
            return value

        def substitute(match: re.Match[str]) -> str:
            if match[1]:
                return match[1]
            if match[2] not in environment:
                self.fail(path, f"the environment variable {match[2]} is not set.")
            return environment[match[2]]

        expanded = _VARIABLE.sub(substitute, value)
        return FromEnvironment(expanded) if _VARIABLE.fullmatch(value) and value[1] == "{" else expanded


class Section:
    """A table in the file. Names that are read are recorded; ``reject_unknown`` objects to all others."""

    def __init__(self, file: ConfigFile, values: dict[str, Any], path: Path) -> None:
        self.file, self._values, self._path = file, values, path
        self._read: set[str] = set()

    def fail(self, name: str | None, message: str) -> NoReturn:
        """Raise the error for a name in this section, or for the section."""
        self.file.fail((*self._path, name) if name else self._path, message)

    def names(self) -> tuple[str, ...]:
        """Return all names in the file's section."""
        return tuple(self._values)

    def subsection(self, name: str) -> Section:
        """Return a section inside this one; a missing one is empty."""
        self._read.add(name)
        values = self._values.get(name, {})
        if not isinstance(values, dict):
            self.fail(name, f"{self._dotted(name)} must be a table, {{ … }} or its own section.")
        return Section(self.file, values, (*self._path, name))

    def raw(self, name: str) -> Any:
        """Return a value of any type, or None."""
        self._read.add(name)
        return self._values.get(name)

    @overload
    def text(self, name: str) -> str: ...
    @overload
    def text(self, name: str, default: str) -> str: ...
    @overload
    def text(self, name: str, default: None) -> str | None: ...
    def text(self, name: str, default: str | Required | None = REQUIRED) -> str | None:
        """Return a string."""
        value = self._get(name, default)
        if value is not default and not isinstance(value, str):
            self.fail(name, f"{self._dotted(name)} must be a string, in quotes.")
        return str(value) if value is not None else None

    def texts(self, name: str, default: tuple[str, ...] | Required = REQUIRED) -> tuple[str, ...]:
        """Return strings, from a list, from a single string, or from one variable with commas."""
        value = self._get(name, default)
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")] if isinstance(value, FromEnvironment) else [value]
        if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
            self.fail(name, f"{self._dotted(name)} must be a list of strings.")
        return tuple(map(str, value))

    def choice(self, name: str, choices: tuple[C, ...], default: C | Required = REQUIRED) -> C:
        """Return one of *choices*."""
        value = self._get(name, default)
        chosen = next((choice for choice in choices if choice == value), None)
        if chosen is None:
            hint = self.suggestion(str(value), choices)
            self.fail(name, f"{self._dotted(name)} must be one of {', '.join(choices)}.{hint}")
        return chosen

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self._get(name, default)
        if isinstance(value, FromEnvironment) and value.lower() in ("true", "false"):
            value = value.lower() == "true"
        if not isinstance(value, bool):
            self.fail(name, f"{self._dotted(name)} must be true or false.")
        return value

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """Return a whole number from *low* to *high*."""
        value = self._get(name, default)
        if isinstance(value, FromEnvironment) and re.fullmatch(r"\d{1,12}", value, re.ASCII):
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            self.fail(name, f"{self._dotted(name)} must be a whole number from {low:,} to {high:,}.")
        return value

    def share(self, name: str, default: float) -> float:
        """Return a share, above 0 and up to 1."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
            self.fail(name, f"{self._dotted(name)} must be a number above 0 and up to 1.")
        return float(value)

    def duration(self, name: str, default: int, *, low: int, high: int = 3_600_000) -> int:
        """Return a duration; every number here is in milliseconds."""
        value = self._get(name, f"{default}ms")
        try:
            value = milliseconds(value) if isinstance(value, str) else -1
        except WrongUsage:
            value = -1
        if not low <= value <= high:
            limits = f"from {low:,} ms to {high // 1000:,} s"
            examples = 'such as "500ms", "5s" or "1min"'
            self.fail(name, f"{self._dotted(name)} must be a duration {limits}, in quotes, {examples}.")
        return value

    def reject_unknown(self, *optional: str) -> None:
        """Raise the error for a name that was not read; *optional* subsections are accepted too.

        Raises:
            WrongUsage: there is such a name.
        """
        accepted = self._read | set(optional)
        for name in self._values:
            if name not in accepted:
                container = f"[{'.'.join(self._path)}]" if self._path else "the file"
                self.fail(name, f"{container} has no {name!r}.{self.suggestion(name, accepted)}")

    @staticmethod
    def suggestion(name: str, candidates: Iterable[str]) -> str:
        """Return a question that suggests a similar name, or nothing."""
        matches = get_close_matches(name, list(candidates), n=1, cutoff=0.6)
        return f" Did you mean {matches[0]!r}?" if matches else ""

    def _dotted(self, name: str) -> str:
        return ".".join((*self._path, name))

    def _get(self, name: str, default: Any) -> Any:
        self._read.add(name)
        if name in self._values:
            return self._values[name]
        if isinstance(default, Required):
            self.fail(None, f"[{'.'.join(self._path)}] needs {name}.{self._misspelling(name)}")
        return default

    def _misspelling(self, name: str) -> str:
        unread = [other for other in self._values if other not in self._read]
        matches = get_close_matches(name, unread, n=1, cutoff=0.7)
        return f" Is {matches[0]!r} a misspelling of it?" if matches else ""
