"""The directives in a revision: judged together before the first acts, then executed or written as a script."""

from __future__ import annotations

from alembic.operations import MigrateOperation, Operations
from alembic.util import CommandError
from sqlalchemy import Connection

from dupe_audit.directives import script
from dupe_audit.directives.aftermath import account_for_failures
from dupe_audit.directives.assignment import all_tasks, judge, perform, tasks_of
from dupe_audit.directives.autocommit import autocommit
from dupe_audit.directives.campaign import Campaign
from dupe_audit.directives.execution import Execution, located
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
from dupe_audit.directives.refusal import NAMES, call_of, refuse_mistakes, refuse_server, revision_suffix
from dupe_audit.directives.schemas import in_schema, schemas_of
from dupe_audit.directives.subjects import identities, subject
from dupe_audit.directives.worker import Worker


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
    execution.inside = True  # until its end: its own failure has its own account
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
    schemas = schemas_of(operation)
    if schemas is None:
        _write_single(operations, execution, operation)
    elif schemas.query is not None:
        raise CommandError(
            f"Refused: {call_of(operation)}{revision_suffix(execution)}. A script cannot execute the schemas query, "
            "and its contents depend on the schemas. Name them for this script, such as "
            "schemas=['tenant_a', 'tenant_b'], or upgrade online, without --sql."
        )
    else:
        for schema in schemas.names:
            _write_single(operations, execution, in_schema(operation, schema))


def _write_single(operations: Operations, execution: Execution, operation: MigrateOperation) -> None:
    first = execution.position == 0
    tasks = tasks_of(operations.migration_context, execution, operation, lambda key: (key.schema, key.table))
    if first:
        for task in all_tasks(execution):
            script.refuse(task, execution, execution.options)
        items = execution.recording.items if execution.recording else ()
        directives = [task.operation for task in all_tasks(execution)]
        script.judge_server(operations, directives, execution.options)
        undone = script.Undone.of(operations, execution, execution.options)
        script.judge_ahead(operations, items, execution.options, undone)
    for task in tasks:
        script.write(operations, execution, execution.options, task)


def _execute(operations: Operations, execution: Execution, operation: MigrateOperation) -> None:
    def explain(error: BaseException, connection: Connection | None) -> str:
        message = str(error)
        if not message.startswith("Refused:"):
            name = subject(execution.current, located(operations, execution.current.key))
            message = f"{name}{revision_suffix(execution)}: {message}"
        return "\n".join(filter(None, [message, _worker(operations, connection, execution).account(connection)]))

    def judge_server(connection: Connection) -> None:
        refuse_server(_worker(operations, connection, execution))

    name, stamps = NAMES[type(operation)], _completes(execution, operation)
    with autocommit(operations, name, explain, judge=judge_server, stamps=stamps) as connection:
        worker, position = _worker(operations, connection, execution), execution.position
        tasks = tasks_of(
            operations.migration_context,
            execution,
            operation,
            identities(connection, lambda key: located(operations, key)),
        )
        examiner = judge(worker, tasks[0].operation if tasks else operation)
        if execution.campaign is None and any(map(schemas_of, (operation, *execution.everything))):
            execution.campaign = Campaign(execution, connection)
            execution.campaign.prepare(worker)
        if schemas_of(operation):
            execution.campaign.perform(worker, operation, position)
        else:
            perform(worker, examiner, tasks)


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
