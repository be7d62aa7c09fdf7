"""The facts of the CI migration check: what was examined, what was found, and where to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dupe_audit.findings import Finding, quantity
from dupe_audit.seeding.facts import Filled


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to fix something."""

    file: str | None = None  #: relative to the working directory if it lies inside, with forward slashes
    line: int | None = None  #: counted from 1
    revision: str | None = None

    def __str__(self) -> str:
        if self.file is None:
            return self.revision or "the history"
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedFinding:
    """A finding of the check, the rule that reported it, and its place."""

    rule: str  #: named after its file in ``checks/rules``, with hyphens; its page has the same name
    finding: Finding
    place: Place
    accepted: bool = False  #: a person took responsibility; it is reported and does not fail the check

    @property
    def fails(self) -> bool:
        """Whether it fails the check: it is neither an info nor accepted."""
        return self.finding.severity != "info" and not self.accepted

    def __str__(self) -> str:
        accepted = ", accepted" if self.accepted else ""
        return f"{self.place}: {self.finding.severity}{accepted} [{self.finding.id}] {self.finding.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRun:
    """How much one rule examined, or why it was skipped."""

    rule: str
    looked_at: int = 0  #: number of revisions, indexes or statements; each rule counts its own kind
    skipped: str | None = None  #: why the rule did not run


class CheckProgress(NamedTuple):
    """How far the check has come."""

    doing: str  #: the current part
    done: int  #: in this part
    total: int  #: of this part


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The result of one ``dupe-audit check``."""

    server: str  #: such as ``PostgreSQL 18.6, embedded``
    revisions: tuple[str, ...]  #: ids, in upgrade order
    rules: tuple[RuleRun, ...]
    filled: tuple[Filled, ...]
    findings: tuple[ReportedFinding, ...]
    seconds: tuple[tuple[str, float], ...]  #: each part of the check and its wall time, in order
    config: str = "alembic.ini"  #: Alembic config of the checked project; as in Place.file

    @property
    def failing(self) -> tuple[ReportedFinding, ...]:
        """The findings that fail the check: neither infos nor accepted."""
        return tuple(result for result in self.findings if result.fails)

    @property
    def ok(self) -> bool:
        """Whether nothing fails the check."""
        return not self.failing

    @property
    def verdict(self) -> str:
        """The outcome in one line."""
        count = len(self.failing)
        outcome = "ok" if self.ok else f"{quantity(count, 'finding')} {'fails' if count == 1 else 'fail'} the check"
        return f"{outcome} ({quantity(len(self.revisions), 'revision')}, {self.server})"

    def __str__(self) -> str:
        lines = [self.verdict]
        for result in self.failing:
            lines += [f"  {result}", f"    {result.finding.help}"]
        return "\n".join(lines)
