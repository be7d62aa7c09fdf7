"""Every revision on empty tables: up, down and up again, with a snapshot of the schema after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from dupe_audit.checks.evidence import EmptyTrip, Revision
from dupe_audit.checks.tracing.trace import tracing
from dupe_audit.checks.trial.migrate import EnvOptions, Runner
from dupe_audit.checks.trial.project import Project
from dupe_audit.checks.trial.scratch import Scratch
from dupe_audit.connect import connect
from dupe_audit.errors import DupeAuditError
from dupe_audit.schema.facts import Catalog
from dupe_audit.schema.snapshot import snapshot


def empty_trips(project: Project, scratch: Scratch, env_options: EnvOptions) -> Iterator[EmptyTrip]:
    """Yield one trip per revision; the trip of a revision that cannot be applied is the last.

    Raises:
        DupeAuditError: env.py does not work, or a revision that is not checked fails.
    """
    with ExitStack() as stack:
        runner = _begin(project, scratch, env_options, stack)
        applied: list[str] = []
        previous: EmptyTrip | None = None
        for number, revision in enumerate(project.revisions, start=1):
            previous, intact = _trip(runner, revision, previous)
            yield _with_skipped(previous, project.revisions[number:])
            if previous.upgrade_failure:
                return
            applied.append(revision.id)
            if not intact:
                # A failure may have left the schema in any state. Continue in a database that was only upgraded.
                stack.close()
                runner = _begin(project, scratch, env_options, stack)
                failure = runner.upgrade(*applied)
                if failure:
                    raise DupeAuditError(
                        f"Revision {revision.id} can be applied once, but not a second time: {failure.reason}."
                    )


def _with_skipped(trip: EmptyTrip, later: Sequence[Revision]) -> EmptyTrip:
    """Add to a failed upgrade which revisions were skipped because of it."""
    if trip.upgrade_failure is None or not later:
        return trip
    skipped = later[0].id if len(later) == 1 else f"{len(later):,} revisions, {later[0].id} to {later[-1].id}"
    reason = f"{trip.upgrade_failure.reason}. Skipped because of it: {skipped}"
    return replace(trip, upgrade_failure=replace(trip.upgrade_failure, reason=reason))


def starting_schema(project: Project, scratch: Scratch, env_options: EnvOptions) -> Catalog:
    """Return the schema before the first checked revision, for models and writers if no revision is checked.

    Raises:
        DupeAuditError: env.py does not work, or a revision fails.
    """
    with ExitStack() as stack:
        runner = _begin(project, scratch, env_options, stack)
        with connect(runner.url) as connection:
            return snapshot(connection, version_table=env_options.version_table)


def _begin(project: Project, scratch: Scratch, env_options: EnvOptions, stack: ExitStack) -> Runner:
    runner = Runner(project, stack.enter_context(scratch.database()), env_options)
    apply_unchecked(runner)
    return runner


def apply_unchecked(runner: Runner) -> None:
    """Apply the revisions before the first checked one. Without any, this still loads env.py and records its options.

    Raises:
        DupeAuditError: env.py does not work, or one of the revisions fails.
    """
    failure = runner.upgrade(*runner.project.unchecked)
    if failure:
        remedy = f" {failure.help}" if failure.help else ""
        raise DupeAuditError(f"The revisions up to --from cannot be applied: {failure.reason}.{remedy}")


def _trip(runner: Runner, revision: Revision, previous: EmptyTrip | None) -> tuple[EmptyTrip, bool]:
    """Return the trip, and whether the database is now as the upgrade alone would have left it."""
    table = runner.env_options.version_table
    with connect(runner.url) as connection:
        if previous and previous.after:  # after down and up again it has the same definitions, but other oids
            current = snapshot(connection, version_table=table, objects=False)
            before = replace(current, objects=previous.after.objects)
        else:
            before = snapshot(connection, version_table=table)
        with tracing(connection, before.tables, revision.path) as traced:
            failure = runner.upgrade(revision.id)
        trip = EmptyTrip(revision=revision, before=before, upgrade_failure=failure, statements=traced.statements)
        if failure:
            return trip, False
        trip = replace(trip, after=snapshot(connection, version_table=table))
        if not _has_downgrade(revision):
            return trip, True
        failure = runner.downgrade(revision.id)
        downgraded = snapshot(connection, version_table=table)
        if failure:  # the schema is unchanged, unless the downgrade committed before it failed
            return replace(trip, downgrade_failure=failure), downgraded == trip.after
        failure = runner.upgrade(revision.id)
        return replace(trip, after_downgrade=downgraded, second_upgrade_failure=failure), failure is None


def _has_downgrade(revision: Revision) -> bool:
    return not (revision.refuses_downgrade or revision.empty_downgrade)
