"""Which tasks a called directive stands for, the judgement before the first of them acts, and their execution."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Sequence

from alembic.operations import MigrateOperation
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError

from dupe_audit.directives.downgrades import refusals
from dupe_audit.directives.execution import Execution, located, requires_run
from dupe_audit.directives.judgement import Judge
from dupe_audit.directives.refusal import call_of, refuse, revision_suffix
from dupe_audit.directives.schedule import Task, schedule
from dupe_audit.directives.schemas import Elsewhere
from dupe_audit.directives.verdict import Examiner
from dupe_audit.directives.worker import Worker
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog

log = logging.getLogger("alembic.dupe_audit")


def assign(context: MigrationContext, execution: Execution, table_of: Callable[[UniqueKey], Hashable]) -> None:
    """Decide the order of work, if all directives are known."""
    if execution.recording and execution.readable and execution.trusted:
        execution.work = schedule(execution.recording.items, table_of)
        _watch_the_end(context, execution)


def tasks_of(
    context: MigrationContext,
    execution: Execution,
    operation: MigrateOperation,
    table_of: Callable[[UniqueKey], Hashable],
) -> tuple[Task, ...]:
    """Return what to execute when a directive is called.

    Raises:
        CommandError: the revision calls another directive than the one that the order of work was planned with.
    """
    recording, first = execution.recording, execution.position == 0
    position = execution.next_position(operation)
    execution.trusted = execution.trusted and position is not None
    if first and execution.schema is None:
        assign(context, execution, table_of)
    if recording and position is not None:
        return execution.work[position] if execution.work else (Task(operation=recording.directives[position]),)
    if execution.reordered:
        raise CommandError(
            f"{call_of(operation)}{revision_suffix(execution)}: the revision called a different directive from the one "
            "that was read beforehand, but the order of work was planned from all the directives that were read. Make "
            "the revision call the same directives every time it is executed, then run the same command again."
        )
    return (Task(operation=operation),)


def all_tasks(execution: Execution) -> list[Task]:
    """Return the tasks of all directives that are known."""
    if execution.work is not None:
        return [task for tasks in execution.work.values() for task in tasks]
    return [Task(operation=operation) for operation in (execution.recording.directives if execution.recording else ())]


def in_order(execution: Execution) -> Iterator[MigrateOperation]:
    """Yield the directives that will be executed, in the order of work."""
    recorded = execution.recording.directives if execution.recording else ()
    tasks = [task.operation for position in sorted(execution.work or ()) for task in (execution.work or {})[position]]
    yield from (item for item in tasks or recorded if not isinstance(item, Elsewhere))


def _watch_the_end(context: MigrationContext, execution: Execution) -> None:
    """Keep Alembic from stamping a revision whose directives were put into another order, but were not all called."""

    def require_all(**_: object) -> None:
        if execution.reordered and execution.position < len(execution.work or ()):
            raise CommandError(
                f"Revision {execution.revision} has executed {execution.position} of its {len(execution.work or ())} "
                "directives, so a constraint was not dropped or created. It was not stamped. Make the revision "
                "call the same directives every time it is executed, then run the same command again."
            )

    if execution.reordered:
        context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, require_all)


def judge(worker: Worker, first: MigrateOperation) -> Examiner:
    """Judge all directives before the first one acts; return the examiner of single ones.

    Raises:
        Refused: one of them cannot succeed.
    """
    execution = worker.execution
    recording = execution.recording
    items = recording.items if recording else ()
    examiner = Examiner(
        worker.connection,
        worker.options,
        lambda key: located(worker.operations, key),
        items,
        requires_run=requires_run(execution, worker.options),
        undone=None if execution.upgrading else execution.revision,
    )
    if recording and not execution.judged:
        execution.judged = True
        way_back = refusals(execution, lambda key: _schema_of(worker, key))
        if execution.trusted is False:
            log.warning(
                "revision %s calls different directives from those that were read, so each is judged only when it is "
                "executed",
                execution.revision,
            )
            refuse(worker, (), way_back)
            return examiner
        if recording.obstacle and not execution.schema:
            log.warning(
                "revision %s cannot be read to its end without a database: %s; everything after that is judged when "
                "it is executed",
                execution.revision,
                recording.obstacle.reason,
            )
        verdicts = Judge(worker.connection, examiner, items).verdicts(first)
        refuse(worker, verdicts, way_back)
        execution.covered = [verdict.operation for verdict in verdicts]
    return examiner


def perform(worker: Worker, examiner: Examiner, tasks: Sequence[Task]) -> None:
    """Execute tasks, and judge each that was not judged a moment ago.

    Raises:
        Refused: one of them cannot succeed.
    """
    execution = worker.execution
    for task in tasks:
        if isinstance(task.operation, Elsewhere):
            continue
        execution.current, covered = task.operation, task.operation in execution.covered
        if execution.acted or not covered:  # the first was judged a moment ago
            refuse(worker, [examiner.examine(task.operation, measure_width=not covered)])
        execution.acted += 1
        worker.perform(task)


def _schema_of(worker: Worker, key: UniqueKey) -> str | None:
    """Return the schema of a key's table; the one that the key names if there is no such table."""
    located_key = located(worker.operations, key)
    match = catalog.find(worker.connection, located_key)
    return match[1].schema if match else located_key.schema
