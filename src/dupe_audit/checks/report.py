"""The facts of the CI migration check: what was looked at, what was found, and where it can be mended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dupe_audit.findings.entry import Finding
from dupe_audit.seeding.facts import Filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something can be mended."""

    file: str | None = None  #: relative to the working directory where it lies within, with forward slashes
    line: int | None = None  #: counted from 1
    revision: str | None = None

    def __str__(self) -> str:
        if self.file is None:
            return self.revision or "the history"
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finding of the check, the rule that made it, and its place."""

    rule: str  #: the name of its file in ``checks/rules`` and of its page, with hyphens
    finding: Finding
    place: Place
    accepted: bool = False  #: a person took responsibility; it is reported and does not fail

    @property
    def fails(self) -> bool:
        """Whether it fails the check: it is neither an info nor accepted."""
        return self.finding.severity != "info" and not self.accepted

    def __str__(self) -> str:
        accepted = ", accepted" if self.accepted else ""
        return f"{self.place}: {self.finding.severity}{accepted} [{self.finding.id}] {self.finding.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRun:
    """What became of one rule."""

    rule: str
    looked_at: int = 0  #: revisions, indexes or statements, as the rule counts
    skipped: str | None = None  #: why it did not run


class At(NamedTuple):
    """How far the check is."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What one ``dupe-audit check`` saw."""

    server: str  #: such as ``PostgreSQL 18.6, embedded``
    revisions: tuple[str, ...]  #: ids, in the order of their upgrade
    rules: tuple[RuleRun, ...]
    filled: tuple[Filled, ...]
    findings: tuple[Found, ...]
    seconds: tuple[tuple[str, float], ...]  #: part of the work and its wall time, in order
    config: str = "alembic.ini"  #: of the project that was checked; as Place.file

    @property
    def failing(self) -> tuple[Found, ...]:
        """The findings that fail the check: neither infos nor accepted."""
        return tuple(one for one in self.findings if one.fails)

    @property
    def ok(self) -> bool:
        """Whether nothing fails the check."""
        return not self.failing

    @property
    def verdict(self) -> str:
        """The outcome in one line."""
        count = len(self.failing)
        told = "ok" if self.ok else "1 finding fails the check" if count == 1 else f"{count} findings fail the check"
        revisions = "1 revision" if len(self.revisions) == 1 else f"{len(self.revisions)} revisions"
        return f"{told} ({revisions}, {self.server})"

    def __str__(self) -> str:
        lines = [self.verdict]
        for one in self.failing:
            lines += [f"  {one}", f"    {one.finding.help}"]
        return "\n".join(lines)
