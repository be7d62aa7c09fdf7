"""Every revision on empty tables: up, down and up again, with a look at the schema after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from dupe_audit.checks.evidence import Revision, Step
from dupe_audit.checks.tracing.trace import tracing
from dupe_audit.checks.trial.migrate import Environment, Runner
from dupe_audit.checks.trial.project import Project
from dupe_audit.checks.trial.scratch import Scratch
from dupe_audit.connect import connect
from dupe_audit.errors import DupeAuditError
from dupe_audit.schema.facts import Catalog
from dupe_audit.schema.snapshot import snapshot


def walk(project: Project, scratch: Scratch, environment: Environment) -> Iterator[Step]:
    """Yield each revision's step; one that cannot be applied is the last.

    Raises:
        DupeAuditError: env.py does not work, or the revisions before the first that is checked fail.
    """
    with ExitStack() as ground:
        runner = _begin(project, scratch, environment, ground)
        done: list[str] = []
        last: Step | None = None
        for number, revision in enumerate(project.revisions, start=1):
            last, intact = _step(runner, revision, last)
            yield _cut_short(last, project.revisions[number:])
            if last.up:
                return
            done.append(revision.id)
            if not intact:
                # What a failure has left is nobody's schema: start again from one that was only upgraded.
                ground.close()
                runner = _begin(project, scratch, environment, ground)
                again = runner.up(*done)
                if again:
                    raise DupeAuditError(f"Revision {revision.id} can be applied once and not again: {again.reason}.")


def _cut_short(step: Step, later: Sequence[Revision]) -> Step:
    """Say of an upgrade that failed which revisions were not run for it."""
    if step.up is None or not later:
        return step
    what = later[0].id if len(later) == 1 else f"{len(later)} revisions, {later[0].id} to {later[-1].id}"
    return replace(step, up=replace(step.up, reason=f"{step.up.reason}; not run for it: {what}"))


def standing(project: Project, scratch: Scratch, environment: Environment) -> Catalog:
    """Return the schema where no revision is checked: models and writers are, all the same.

    Raises:
        DupeAuditError: env.py does not work, or a revision fails.
    """
    with ExitStack() as ground:
        runner = _begin(project, scratch, environment, ground)
        with connect(runner.url) as connection:
            return snapshot(connection, version_table=environment.version_table)


def _begin(project: Project, scratch: Scratch, environment: Environment, ground: ExitStack) -> Runner:
    runner = Runner(project, ground.enter_context(scratch.database()), environment)
    prepare(runner)
    return runner


def prepare(runner: Runner) -> None:
    """Apply the revisions before the first that is checked, if only to hear what env.py tells Alembic.

    Raises:
        DupeAuditError: one of them fails.
    """
    failure = runner.up(*runner.project.before)
    if failure:
        raise DupeAuditError(f"The revisions up to --from cannot be applied: {failure.reason}.")


def _step(runner: Runner, revision: Revision, last: Step | None) -> tuple[Step, bool]:
    """Return what was seen, and whether the database is as the upgrade alone would have left it."""
    table = runner.environment.version_table
    with connect(runner.url) as connection:
        if last and last.after:  # downgraded and upgraded again, it has the same definitions and other oids
            now = snapshot(connection, version_table=table, objects=False)
            before = replace(now, objects=last.after.objects)
        else:
            before = snapshot(connection, version_table=table)
        with tracing(connection, before.tables, revision.path) as traced:
            up = runner.up(revision.id)
        step = Step(revision=revision, before=before, up=up, statements=traced.statements)
        if up:
            return step, False
        step = replace(step, after=snapshot(connection, version_table=table))
        if _stays(revision):
            return step, True
        down = runner.down(revision.id)
        seen = snapshot(connection, version_table=table)
        if down:  # which is rolled back, if it did not commit on its way
            return replace(step, down=down), seen == step.after
        again = runner.up(revision.id)
        return replace(step, returned=seen, up_again=again), again is None


def _stays(revision: Revision) -> bool:
    """Tell whether there is no way back to try: none was written, or there is nothing to undo."""
    return revision.says_irreversible or revision.empty_downgrade
