"""Gather the evidence, let every rule judge it, and tell what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from dupe_audit.checks.evidence import Evidence, Step, Trip
from dupe_audit.checks.report import At, CheckReport, Found, RuleRun
from dupe_audit.checks.rules import (
    invalid_index,
    locks,
    models,
    one_head,
    pending,
    round_trip,
    squawk,
    way_back,
    writers,
)
from dupe_audit.checks.trial import against, offline_sql
from dupe_audit.checks.trial.migrate import Environment
from dupe_audit.checks.trial.project import Project, ini_of, load
from dupe_audit.checks.trial.scratch import EMBEDDED, scratch
from dupe_audit.checks.trial.trip import Seeding, trips
from dupe_audit.checks.trial.walk import standing, walk
from dupe_audit.connect import find_url
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import CATALOGUE, CHECK
from dupe_audit.schema.facts import Catalog

#: as many for each table that is filled as are worth anything, and as can be had
ROWS = range(20, 1_000_001)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``dupe-audit check`` was asked to do."""

    config: str = "alembic.ini"
    from_: str = "base"
    to: str = "heads"
    server: str = EMBEDDED
    seeding: Seeding = field(default_factory=Seeding)
    writers: tuple[Path, ...] = ()
    against: str | None = None  #: a URL; empty for the configured one
    accept: tuple[str, ...] = ()
    x: tuple[str, ...] = ()


class _Rule(NamedTuple):
    name: str
    check: Callable[[Evidence], Iterable[Found]]
    skipped: Callable[[Evidence], str | None]
    looked_at: Callable[[Evidence], int]


def _never(_evidence: Evidence) -> None:
    return None


def _revisions(evidence: Evidence) -> int:
    return len(evidence.revisions)


RULES = (
    _Rule("one-head", one_head.check, _never, lambda e: len(e.heads)),
    _Rule("way-back", way_back.check, _never, _revisions),
    _Rule("round-trip", round_trip.check, _never, lambda e: len(e.trips)),
    _Rule(
        "locks",
        locks.check,
        _never,
        lambda e: sum(len(s.statements) for s in e.steps) + sum(len(t.statements) for t in e.trips),
    ),
    _Rule("invalid-index", invalid_index.check, _never, lambda e: len(e.final.indexes) if e.final else 0),
    _Rule(
        "models",
        models.check,
        lambda e: None if e.metadata else "env.py gives no target_metadata",
        lambda e: sum(len(m.tables) for m in e.metadata),
    ),
    _Rule("pending", pending.check, lambda e: None if e.against else "not asked: --against", _revisions),
    _Rule(
        "writers",
        writers.check,
        lambda e: None if e.sources else "not asked: --writers PATH",
        lambda e: len(e.sources),
    ),
    _Rule("squawk", squawk.check, lambda _e: squawk.missing(), lambda e: len(e.offline)),
)


def examine(options: Options) -> Generator[At, None, CheckReport]:
    """Check a project; yield how far it is, and return what was seen.

    Raises:
        WrongUsage: an option, or the project's configuration, can never work.
        DupeAuditError: env.py or a revision cannot be loaded, or the server cannot be had.
    """
    _validate(options)
    clock = _Clock()
    project = load(options.config, from_=options.from_, to=options.to, x=options.x)
    clock.lap("reading revisions")
    environment = Environment()
    with scratch(options.server) as server:
        clock.lap("starting the server")
        steps: list[Step] = []
        for step in walk(project, server, environment):
            steps.append(step)
            yield At("up, down and up on empty tables", len(steps), len(project.revisions))
        final = steps[-1].after if steps else standing(project, server, environment)
        clock.lap("up, down and up on empty tables")
        told: list[Trip] = []
        for trip in trips(project, server, environment, steps, options.seeding):
            told.append(trip)
            yield At("round trips with rows", len(told), len(told))
        clock.lap("round trips with rows")
        evidence = _evidence(options, project, environment, steps, told, final)
        if squawk.missing() is None:
            printed = offline_sql.offline_sql(project, server.url, [step.revision for step in steps])
            evidence = replace(evidence, offline=printed)
        rules, found = _judge(evidence)
        clock.lap("judging")
    return CheckReport(
        config=options.config,
        server=server.told,
        revisions=tuple(one.id for one in project.revisions),
        rules=tuple(rules),
        filled=tuple(trip.filled for trip in told if trip.filled),
        findings=tuple(_accepted(found, evidence, options.accept)),
        seconds=tuple(clock.laps),
    )


def _validate(options: Options) -> None:
    """Refuse what can never work before any of the work, and also where no part of it would have come to notice.

    Raises:
        WrongUsage: an option can never work.
    """
    seeding = options.seeding
    if seeding.rows not in ROWS:
        raise WrongUsage(f"--rows is from {ROWS[0]} to {ROWS[-1]:,}, not {seeding.rows:,}.")
    if seeding.directory is not None and not seeding.directory.is_dir():
        raise WrongUsage(f"--seed-sql: there is no directory {str(seeding.directory)!r}.")
    for id_ in options.accept:
        if id_ not in CHECK:
            raise WrongUsage(f"--accept: there is no finding {id_!r}.")
    for path in options.writers:
        if not path.exists():
            raise WrongUsage(f"--writers: there is no {str(path)!r}.")
    if options.writers and (missing := writers.missing()):
        raise WrongUsage(f"--writers: {missing}")  # who asks for it and does not get it must not see a green check


def _evidence(
    options: Options,
    project: Project,
    environment: Environment,
    steps: Sequence[Step],
    told: Sequence[Trip],
    final: Catalog | None,
) -> Evidence:
    there = None
    if options.against is not None:
        url = find_url(options.against or None, ini_of(options.config))
        there = against.look(url, project, steps, (environment.version_table_schema, environment.version_table))
    return Evidence(
        heads=project.heads,
        revisions=project.revisions,
        steps=tuple(steps),
        trips=tuple(told),
        final=final,
        version_table=environment.version_table,
        metadata=environment.metadata,
        include_object=environment.include_object,
        include_name=environment.include_name,
        sources=options.writers,
        against=there,
    )


def _judge(evidence: Evidence) -> tuple[list[RuleRun], list[Found]]:
    ran, found = [], []
    for rule in RULES:
        skipped = rule.skipped(evidence)
        ran.append(RuleRun(rule=rule.name, looked_at=0 if skipped else rule.looked_at(evidence), skipped=skipped))
        if skipped is None:
            found += list(rule.check(evidence))
    return ran, found


def _accepted(found: Sequence[Found], evidence: Evidence, accept: Sequence[str]) -> Iterator[Found]:
    """Mark what a person took responsibility for, on the command line or in the revision."""
    by_revision = {one.id: one.accepts for one in evidence.revisions}
    for one in found:
        accepts = by_revision.get(one.place.revision or "", frozenset()) | set(accept)
        accepted = one.finding.id in accepts and CATALOGUE[one.finding.id].acceptable
        yield replace(one, accepted=one.accepted or accepted)


class _Clock:
    """Wall time of the parts of the work."""

    def __init__(self) -> None:
        self.laps: list[tuple[str, float]] = []
        self._last = time.monotonic()

    def lap(self, part: str) -> None:
        """End a part."""
        now = time.monotonic()
        self.laps.append((part, round(now - self._last, 3)))
        self._last = now
