"""Collect the evidence, let every rule judge it, and report the result."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from dupe_audit.checks.evidence import EmptyTrip, Evidence, SeededTrip, TargetState
from dupe_audit.checks.report import CheckProgress, CheckReport, ReportedFinding, RuleRun
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
from dupe_audit.checks.trial import offline_sql
from dupe_audit.checks.trial.against import inspect_target
from dupe_audit.checks.trial.empty_trips import empty_trips, starting_schema
from dupe_audit.checks.trial.migrate import EnvOptions
from dupe_audit.checks.trial.project import Project, ini_of, load
from dupe_audit.checks.trial.scratch import EMBEDDED, scratch
from dupe_audit.checks.trial.seeded_trips import Seeding, seeded_trips
from dupe_audit.connect import locate
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import CATALOGUE, CHECK, STEPS
from dupe_audit.schema.facts import Catalog

#: allowed numbers of rows per filled table
ROWS = range(20, 1_000_001)

EMPTY_TRIPS = "up, down and up on empty tables"
SEEDED_TRIPS = "round trips with rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of ``dupe-audit check``."""

    config: str = "alembic.ini"
    from_: str = "base"
    to: str = "heads"
    server: str = EMBEDDED
    seeding: Seeding = field(default_factory=Seeding)
    writers: tuple[Path, ...] = ()
    squawk: bool = False
    against: str | None = None  #: a URL; empty for the configured one
    accept: tuple[str, ...] = ()
    x: tuple[str, ...] = ()


class _Rule(NamedTuple):
    name: str
    check: Callable[[Evidence], Iterable[ReportedFinding]]
    skipped: Callable[[Evidence], str | None]  #: why it cannot run, or None
    looked_at: Callable[[Evidence], int]  #: how much it examines


def _never(_evidence: Evidence) -> None:
    return None


def _revisions(evidence: Evidence) -> int:
    return len(evidence.revisions)


RULES = (
    _Rule(one_head.RULE, one_head.check, _never, lambda e: len(e.heads)),
    _Rule(way_back.RULE, way_back.check, _never, _revisions),
    _Rule(round_trip.RULE, round_trip.check, _never, lambda e: len(e.seeded_trips)),
    _Rule(
        locks.RULE,
        locks.check,
        _never,
        lambda e: sum(len(trip.statements) for trips in (e.empty_trips, e.seeded_trips) for trip in trips),
    ),
    _Rule(
        invalid_index.RULE, invalid_index.check, _never, lambda e: len(e.final_schema.indexes) if e.final_schema else 0
    ),
    _Rule(
        models.RULE,
        models.check,
        lambda e: None if e.metadata else "env.py passes no target_metadata",
        lambda e: sum(len(metadata.tables) for metadata in e.metadata),
    ),
    _Rule(pending.RULE, pending.check, lambda e: None if e.target else "not requested: --against", _revisions),
    _Rule(
        writers.RULE,
        writers.check,
        lambda e: None if e.writer_paths else "not requested: --writers PATH",
        lambda e: len(e.writer_paths),
    ),
    _Rule(
        squawk.RULE,
        squawk.check,
        lambda e: None if e.offline_sql is not None else "not requested: --squawk",
        lambda e: len(e.offline_sql or {}),
    ),
)


def examine(options: Options) -> Generator[CheckProgress, None, CheckReport]:
    """Check a project; yield the progress and return the report.

    Raises:
        WrongUsage: an option, or the project's configuration, can never work.
        DupeAuditError: env.py or a revision cannot be loaded, or the server cannot be started or reached.
    """
    _validate(options)
    clock = _Clock()
    project = load(options.config, from_=options.from_, to=options.to, x=options.x)
    clock.lap("reading revisions")
    env_options = EnvOptions()
    with scratch(options.server) as server:
        clock.lap("starting the server")
        on_empty: list[EmptyTrip] = []
        for empty_trip in empty_trips(project, server, env_options):
            on_empty.append(empty_trip)
            yield CheckProgress(EMPTY_TRIPS, len(on_empty), len(project.revisions))
        final_schema = on_empty[-1].after if on_empty else starting_schema(project, server, env_options)
        clock.lap(EMPTY_TRIPS)
        on_rows: list[SeededTrip] = []
        for seeded_trip in seeded_trips(project, server, env_options, on_empty, options.seeding):
            on_rows.append(seeded_trip)
            yield CheckProgress(SEEDED_TRIPS, len(on_rows), len(on_rows))
        clock.lap(SEEDED_TRIPS)
        evidence = _evidence(options, project, env_options, on_empty, on_rows, final_schema)
        if options.squawk:
            printed = offline_sql.offline_sql(project, server.url, [trip.revision for trip in on_empty])
            evidence = replace(evidence, offline_sql=printed)
        rules, findings = _judge(evidence)
        clock.lap("judging")
    return CheckReport(
        config=options.config,
        server=server.description,
        revisions=tuple(revision.id for revision in project.revisions),
        rules=tuple(rules),
        filled=tuple(trip.filled for trip in on_rows if trip.filled),
        findings=tuple(_accepted(findings, evidence, options.accept)),
        seconds=tuple(clock.laps),
    )


def _validate(options: Options) -> None:
    """Refuse options that can never work, before the work begins and even if no part of it would use them.

    Raises:
        WrongUsage: an option can never work.
    """
    seeding = options.seeding
    if seeding.rows not in ROWS:
        raise WrongUsage(f"--rows must be from {ROWS[0]} to {ROWS[-1]:,}, not {seeding.rows:,}.")
    if seeding.directory is not None and not seeding.directory.is_dir():
        raise WrongUsage(f"--seed-sql: directory {str(seeding.directory)!r} does not exist.")
    for id_ in options.accept:
        if id_ not in CHECK:
            other = id_ in STEPS and STEPS[id_].acceptable
            hint = f" To accept it in an upgrade that the check runs: -x dupe_audit.accept={id_}." if other else ""
            raise WrongUsage(f"--accept: {id_!r} is not a finding of dupe-audit check.{hint}")
    for path in options.writers:
        if not path.exists():
            raise WrongUsage(f"--writers: {str(path)!r} does not exist.")
    # A rule that the user asks for must not be skipped, because the check would then pass without it.
    if options.writers and (missing := writers.missing()):
        raise WrongUsage(f"--writers: {missing}")
    if options.squawk and (missing := squawk.missing()):
        raise WrongUsage(f"--squawk: {missing}")


def _evidence(
    options: Options,
    project: Project,
    env_options: EnvOptions,
    on_empty: Sequence[EmptyTrip],
    on_rows: Sequence[SeededTrip],
    final_schema: Catalog | None,
) -> Evidence:
    return Evidence(
        heads=project.heads,
        revisions=project.revisions,
        empty_trips=tuple(on_empty),
        seeded_trips=tuple(on_rows),
        final_schema=final_schema,
        version_table=env_options.version_table,
        metadata=env_options.metadata,
        include_object=env_options.include_object,
        include_name=env_options.include_name,
        writer_paths=options.writers,
        target=_target(options, project, env_options, on_empty),
    )


def _target(
    options: Options, project: Project, env_options: EnvOptions, trips: Sequence[EmptyTrip]
) -> TargetState | None:
    if options.against is None:
        return None
    url = locate(options.against or None, ini_of(options.config)).url
    version_table = (env_options.version_table_schema, env_options.version_table)
    return inspect_target(url, project, trips, version_table)


def _judge(evidence: Evidence) -> tuple[list[RuleRun], list[ReportedFinding]]:
    rules, results = [], []
    for rule in RULES:
        skipped = rule.skipped(evidence)
        rules.append(RuleRun(rule=rule.name, looked_at=0 if skipped else rule.looked_at(evidence), skipped=skipped))
        if skipped is None:
            results += list(rule.check(evidence))
    return rules, results


def _accepted(
    results: Sequence[ReportedFinding], evidence: Evidence, accept: Sequence[str]
) -> Iterator[ReportedFinding]:
    """Mark the findings that are accepted on the command line or in a revision."""
    by_revision = {revision.id: revision.accepts for revision in evidence.revisions}
    for result in results:
        accepts = by_revision.get(result.place.revision or "", frozenset()) | set(accept)
        accepted = result.finding.id in accepts and CATALOGUE[result.finding.id].acceptable
        yield replace(result, accepted=result.accepted or accepted)


class _Clock:
    """Measures the wall time of each part of the check, in seconds."""

    def __init__(self) -> None:
        self.laps: list[tuple[str, float]] = []
        self._last = time.monotonic()

    def lap(self, part: str) -> None:
        """End a part and start the next one."""
        now = time.monotonic()
        self.laps.append((part, round(now - self._last, 3)))
        self._last = now
