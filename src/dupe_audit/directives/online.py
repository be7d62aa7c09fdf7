"""The directives in a revision: judged together before the first acts, then executed or written as a script."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

from alembic.operations import MigrateOperation, Operations
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection

from dupe_audit.directives import script
from dupe_audit.directives.aftermath import account_for_failures
from dupe_audit.directives.autocommit import autocommit
from dupe_audit.directives.downgrades import refusals
from dupe_audit.directives.execution import Execution, located, requires_run
from dupe_audit.directives.judgement import Judge
from dupe_audit.directives.operations import (
    AmendDuplicatesOp,
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    CreateUniqueIndexOnlineOp,
    DropUniqueConstraintOnlineOp,
    DropUniqueIndexOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.refusal import NAMES, call_of, of_revision, refuse, refuse_mistakes, refuse_server
from dupe_audit.directives.schedule import Task, schedule
from dupe_audit.directives.verdict import Examiner, identities, subject
from dupe_audit.directives.worker import Worker
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog

log = logging.getLogger("alembic.dupe_audit")


@Operations.implementation_for(AmendDuplicatesOp)
@Operations.implementation_for(ArchiveDuplicatesOp)
@Operations.implementation_for(CreateUniqueConstraintOnlineOp)
@Operations.implementation_for(CreateUniqueIndexOnlineOp)
@Operations.implementation_for(DropUniqueConstraintOnlineOp)
@Operations.implementation_for(DropUniqueIndexOnlineOp)
@Operations.implementation_for(RestoreDuplicatesOp)
def execute_directive(operations: Operations, operation: MigrateOperation) -> None:
    """Execute one directive, and before the first of a revision, judge all of them.

    Raises:
        CommandError: the revision was refused, or the directive failed; the message says what to do.
        SystemExit: the user stopped the work (exit code 130).
    """
    execution = Execution.of(operations)
    if execution.options is None:
        execution.options = Overrides.of(operations).accepting(execution.accepted)
    execution.current = operation
    if not execution.begun and not operations.migration_context.as_sql:
        account_for_failures(
            operations.migration_context, execution, lambda: _worker(operations, None, execution).account(None)
        )
    execution.inside = True  # until its end: a failure of its own has its own account
    execution.begun.append(operation)
    refuse_mistakes(execution, None if operations.migration_context.as_sql else _worker(operations, None, execution))
    if operations.migration_context.as_sql:
        _write(operations, execution, operation)
    else:
        _execute(operations, execution, operation)
    execution.inside = False


def _worker(operations: Operations, connection: Connection | None, execution: Execution) -> Worker:
    bind = connection if connection is not None else operations.get_bind()
    return Worker(operations=operations, connection=bind, execution=execution, options=execution.options)


def _write(operations: Operations, execution: Execution, operation: MigrateOperation) -> None:
    first = execution.position == 0
    tasks = _tasks(operations.migration_context, execution, operation, lambda key: (key.schema, key.table))
    if first:
        for task in _all_tasks(execution):
            script.refuse(task, execution.revision)
        items = execution.recording.items if execution.recording else ()
        directives = [task.operation for task in _all_tasks(execution)]
        script.judge_server(operations, directives, accept=execution.options.accept)
        undone = script.Undone.of(operations, execution, execution.options)
        script.judge_ahead(operations, items, execution.options, undone)
    for task in tasks:
        script.write(operations, execution, execution.options, task)


def _execute(operations: Operations, execution: Execution, operation: MigrateOperation) -> None:
    def explain(error: BaseException, connection: Connection | None) -> str:
        message = str(error)
        if not message.startswith("Refused:"):
            name = subject(execution.current, located(operations, execution.current.key))
            message = f"{name}{of_revision(execution)}: {message}"
        return "\n".join(filter(None, [message, _worker(operations, connection, execution).account(connection)]))

    def judge(connection: Connection) -> None:
        refuse_server(_worker(operations, connection, execution))

    name, stamps = NAMES[type(operation)], _completes(execution, operation)
    with autocommit(operations, name, explain, judge=judge, stamps=stamps) as connection:
        worker = _worker(operations, connection, execution)
        tasks = _tasks(
            operations.migration_context,
            execution,
            operation,
            identities(connection, lambda key: located(operations, key)),
        )
        examiner = _judge(worker, tasks[0].operation if tasks else operation)
        for task in tasks:
            execution.current, covered = task.operation, task.operation in execution.covered
            if execution.acted or not covered:  # the first was judged a moment ago
                refuse(worker, [examiner.examine(task.operation, measure_width=not covered)])
            execution.acted += 1
            worker.perform(task)


def _completes(execution: Execution, operation: MigrateOperation) -> bool:
    """Return whether the work of the revision can be complete with this directive; after a cleanup, others follow.

    In a revision that could not be read to its end, it can be complete with any.
    """
    recorded = execution.recording.directives if execution.recording else ()
    return (
        not execution.readable
        or not isinstance(operation, ArchiveDuplicatesOp)
        or execution.position + 1 == len(recorded)
    )


def _tasks(
    context: MigrationContext,
    execution: Execution,
    operation: MigrateOperation,
    table_of: Callable[[UniqueKey], Hashable],
) -> tuple[Task, ...]:
    """Return what to execute when a directive is called."""
    recording, first = execution.recording, execution.position == 0
    position = execution.next_position(operation)
    execution.trusted = execution.trusted and position is not None
    if first and recording and execution.readable and execution.trusted:
        execution.work = schedule(recording.items, table_of)
        _watch_the_end(context, execution)
    if recording and position is not None:
        return execution.work[position] if execution.work else (Task(operation=recording.directives[position]),)
    if execution.reordered:
        raise CommandError(
            f"{call_of(operation)}{of_revision(execution)}: this is not the directive that was read before the first "
            "one was executed, and the order of work depends on all of them. Let the revision call the same directives "
            "each time; then run the same command again."
        )
    return (Task(operation=operation),)


def _all_tasks(execution: Execution) -> list[Task]:
    """Return the tasks of all directives that are known."""
    if execution.work is not None:
        return [task for tasks in execution.work.values() for task in tasks]
    return [Task(operation=operation) for operation in (execution.recording.directives if execution.recording else ())]


def _watch_the_end(context: MigrationContext, execution: Execution) -> None:
    """Keep Alembic from stamping a revision whose directives were put into another order, but did not all come."""

    def require_all(**_: object) -> None:
        if execution.reordered and execution.position < len(execution.work or ()):
            raise CommandError(
                f"Revision {execution.revision} has executed {execution.position} of its {len(execution.work or ())} "
                "directives, so a constraint was not dropped or created. It was not stamped. Let the revision "
                "call the same directives each time; then run the same command again."
            )

    if execution.reordered:
        context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, require_all)


def _judge(worker: Worker, first: MigrateOperation) -> Examiner:
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
                "revision %s executes other directives than were read, so each is judged only when it is executed",
                execution.revision,
            )
            refuse(worker, (), way_back)
            return examiner
        if recording.obstacle:
            log.warning(
                "revision %s cannot be read to its end without executing it: %s; everything after that is judged when "
                "it is executed",
                execution.revision,
                recording.obstacle.reason,
            )
        verdicts = Judge(worker.connection, examiner, items).verdicts(first)
        refuse(worker, verdicts, way_back)
        execution.covered = [verdict.operation for verdict in verdicts]
    return examiner


def _schema_of(worker: Worker, key: UniqueKey) -> str | None:
    """Return the schema of a key's table; the one that the key names if there is no such table."""
    located_key = located(worker.operations, key)
    match = catalog.find(worker.connection, located_key)
    return match[1].schema if match else located_key.schema
