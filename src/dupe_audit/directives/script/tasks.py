"""The script of one task of a revision, between proofs that everything before it was committed."""

from __future__ import annotations

from dataclasses import replace

from alembic.operations import MigrateOperation, Operations
from alembic.util import CommandError

from dupe_audit.directives.execution import Execution
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.schedule import Task
from dupe_audit.directives.script.down import drop_unique_constraint, restore_duplicates
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.quoting import check_texts, one_line
from dupe_audit.directives.script.server import judge_server
from dupe_audit.directives.script.undone import Undone
from dupe_audit.directives.script.up import archive_duplicates, create_unique_constraint
from dupe_audit.directives.subjects import subject
from dupe_audit.model import UniqueKey


def refuse(task: Task, execution: Execution, options: Overrides) -> None:
    """Refuse a directive that cannot be written as a script; ask for all of a revision before the first is written.

    Raises:
        CommandError: it cannot; the message says why.
    """
    operation, revision = task.operation, execution.revision
    check_texts(operation.key, operation.rule, revision)  # type: ignore[attr-defined]
    if isinstance(operation, CreateUniqueConstraintOnlineOp) and any(
        drop.key.name == operation.key.name for drop in task.retiring
    ):
        raise CommandError(
            f"Refused: {operation.key}, revision {revision}. A script cannot replace {operation.key.form} "
            f"{operation.key.name} with another of the same name, because the new one has to exist before the old one "
            f"is dropped. Give the new {operation.key.form} another name, or upgrade online, without --sql."
        )
    if options.is_partitioned(operation.key) and (  # type: ignore[attr-defined]
        reason := _cannot_be_of_tree(operation, undoing=not execution.upgrading)
    ):
        raise CommandError(
            f"Refused: {operation.key}, revision {revision}. A script for a partitioned table cannot {reason}. "  # type: ignore[attr-defined]
            f"{'Downgrade' if not execution.upgrading else 'Upgrade'} online, without --sql."
        )


def _cannot_be_of_tree(operation: MigrateOperation, *, undoing: bool) -> str:
    """Return what a directive does that no script can do on a partitioned table; empty if there is nothing."""
    if isinstance(operation, ArchiveDuplicatesOp) and operation.rule.changes_rows:
        return "change rows that stay in it (op.amend_duplicates, set_ or merge)"
    if isinstance(operation, CreateUniqueConstraintOnlineOp) and undoing:
        return "create its constraint or index again"
    return ""


def write(operations: Operations, execution: Execution, options: Overrides, task: Task) -> None:
    """Write the script of one directive.

    Raises:
        CommandError: it cannot be written as a script; the message says why.
    """
    refuse(task, execution, options)
    judge_server(operations, [task.operation], options)
    script, mark = Script(operations), f"{execution.revision}:{execution.acted}"
    execution.acted += 1
    # psql that continues after errors stamps only if every transaction of the revision was committed.
    script.begin(mark)
    _write(operations, execution, options, task)
    script.end(mark, one_line(subject(task.operation)))


def _write(operations: Operations, execution: Execution, options: Overrides, task: Task) -> None:
    operation, revision = task.operation, execution.revision
    if isinstance(operation, ArchiveDuplicatesOp):
        rule = options.cleanup_rule(operation.rule)
        execution.remember_rule(_qualified(operation.key), rule)
        name = execution.name_for(operation.key)
        archive_duplicates(
            operations,
            operation.key,
            rule,
            options=options,
            revision=revision,
            name=name,
            tree=options.is_partitioned(operation.key),
        )
    elif isinstance(operation, CreateUniqueConstraintOnlineOp):
        create_unique_constraint(
            operations,
            operation.key,
            options.build_rule(operation.rule),
            options=options,
            revision=revision,
            cleanup=execution.rule_of(_qualified(operation.key)),
            undoing=not execution.upgrading,
            tree=options.is_partitioned(operation.key),
        )
    elif isinstance(operation, DropUniqueConstraintOnlineOp):
        drop_unique_constraint(operations, operation.key, operation.rule, Undone.of(operations, execution, options))
    elif isinstance(operation, RestoreDuplicatesOp):
        rule = options.cleanup_rule(operation.rule)
        restore_duplicates(operations, operation.key, rule, Undone.of(operations, execution, options))


def _qualified(key: UniqueKey) -> UniqueKey:
    """Return a key with a schema, which one directive can name and another leave out; the search path is not known."""
    return replace(key, schema=key.schema or "public")
