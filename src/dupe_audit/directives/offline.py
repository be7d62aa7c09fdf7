"""The directives as reviewable SQL for ``alembic upgrade --sql``: execute it with ``psql -v ON_ERROR_STOP=1``.

Each contains a guard inside the transaction that stamps the version: if the guard fails, the version is not stamped,
even if psql continues after errors.
"""

from __future__ import annotations

from collections.abc import Collection

from alembic.operations import Operations
from alembic.util import CommandError

from dupe_audit import ledger
from dupe_audit.directives.execution import Execution, requires_run
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.quoting import check_names, one_line, quoted, table_sql
from dupe_audit.directives.schedule import Task
from dupe_audit.directives.script import CLEAN, Script
from dupe_audit.directives.verdict import subject
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.planner import SEQUENTIAL, switched_off
from dupe_audit.statements import ident, literal, statement, text_array


def refuse(task: Task, revision: str | None) -> None:
    """Refuse a directive that cannot be written as a script; ask for all of a revision before the first is written.

    Raises:
        CommandError: it cannot; the message says why.
    """
    operation = task.operation
    rule = operation.rule if isinstance(operation, ArchiveDuplicatesOp) else None
    check_names(operation.key, rule)  # type: ignore[attr-defined]
    if isinstance(operation, CreateUniqueConstraintOnlineOp) and any(
        drop.key.name == operation.key.name for drop in task.retiring
    ):
        raise CommandError(
            f"Refused: {operation.key}, revision {revision}. A script cannot replace constraint {operation.key.name} "
            "with another of the same name, because the new one has to exist before the old one is dropped. Give the "
            "new constraint another name, or upgrade online, without --sql."
        )


def write(operations: Operations, execution: Execution, options: Overrides, task: Task) -> None:
    """Write the script of one directive.

    Raises:
        CommandError: it cannot be written as a script; the message says why.
    """
    refuse(task, execution.revision)
    script, step = Script(operations), f"{execution.revision}:{execution.acted}"
    execution.acted += 1
    # psql that continues after errors stamps only if every transaction of the revision was committed.
    script.begin(step)
    _write(operations, execution, options, task)
    script.end(step, one_line(subject(task.operation)))


def _write(operations: Operations, execution: Execution, options: Overrides, task: Task) -> None:
    operation, revision = task.operation, execution.revision
    if isinstance(operation, ArchiveDuplicatesOp):
        rule = options.cleanup_rule(operation.rule)
        execution.remember_rule(operation.key, rule)
        archive_duplicates(operations, operation.key, rule, accept=options.accept, revision=revision)
    elif isinstance(operation, CreateUniqueConstraintOnlineOp):
        create_unique_constraint(
            operations,
            operation.key,
            options.build_rule(operation.rule),
            accept=options.accept,
            revision=revision,
            may_clean=execution.rule_of(operation.key) is not None,
        )
    elif isinstance(operation, DropUniqueConstraintOnlineOp):
        drop_unique_constraint(operations, operation.key, operation.rule, required=requires_run(execution, options))
    elif isinstance(operation, RestoreDuplicatesOp):
        restore_duplicates(operations, operation.key, required=requires_run(execution, options))


def archive_duplicates(
    operations: Operations, key: UniqueKey, rule: CleanupRule, *, accept: Collection[str], revision: str | None
) -> None:
    """Write the script that archives the extras of *key*.

    Args:
        accept: ids of findings that do not stop the script.
        revision: the Alembic revision to record in the ledger.

    Raises:
        CommandError: a name cannot be written into the script.
    """
    check_names(key, rule)
    script, subject = Script(operations), one_line(key)
    with script.outside_transaction():
        script.line(f"-- dupe-audit: archive the duplicates of {subject}")
        script.open_run(key, rule, BuildRule(), revision)
        script.cleanup_procedure(key, BuildRule(), accept)
        script.write(CLEAN)
        script.reset()
    relid = catalog.relid_sql(key)
    holes = {"relid": relid, "run_relation": statement("run_relation"), "of_key": ledger.of_key(relid, key)}
    problem = f"the duplicates of {subject} are not archived; the version was not stamped"
    script.guard(f"({statement('offline_is_clean', **holes)})", problem, relid)


def create_unique_constraint(
    operations: Operations,
    key: UniqueKey,
    rule: BuildRule,
    *,
    accept: Collection[str],
    revision: str | None,
    may_clean: bool,
) -> None:
    """Write the script that builds, attaches and verifies the constraint.

    Args:
        accept: ids of findings that do not stop the script.
        revision: the Alembic revision to record in the ledger.
        may_clean: whether duplicates that stop a build may be archived; only if this revision archives them.

    Raises:
        CommandError: a name cannot be written into the script.
    """
    check_names(key)
    name, relid, table, script = str(key.name), catalog.relid_sql(key), table_sql(key), Script(operations)
    with script.outside_transaction():
        script.line(f"-- dupe-audit: enforce {one_line(key)} as {one_line(name)}, online")
        script.open_run(key, None, rule, revision)
        if may_clean:
            script.cleanup_procedure(key, rule, accept)
        else:
            script.fill_function()
        index_state = statement("index_state", relid=f"({relid})", **catalog.index_state_holes(key))
        holes = {"relid": relid, "run_relation": statement("run_relation"), "index_state": index_state}
        script.write(statement("offline_state", name=literal(name), **holes))
        for attempt in range(1, rule.build_attempts + 1):
            _build(script, key, rule, attempt, may_clean=may_clean)
        _drop_leftover(script, key)
        form = f" DEFERRABLE INITIALLY {key.initially}" if key.deferrable else ""
        script.write(statement("adopt_index", run=":dupe_audit_v_run", relid=f"({relid})", name=literal(name)))
        attach = statement("attach", table=table, name=ident(name), form=form)
        script.retried(attach, _constraint_exists(key), relid, rule)
        if rule.comment is not None:
            comment = statement("comment_constraint", name=ident(name), table=table, comment=literal(rule.comment))
            script.retried(comment, "false", relid, rule)
        script.reset()
    script.write(
        statement(
            "offline_guard",
            name=literal(name),
            relid=relid,
            run_relation=statement("run_relation"),
            fragments=statement("fragments", relid=f"({relid})", **catalog.rule_fragment_holes(key, CleanupRule())),
            sequential=text_array(switched_off(SEQUENTIAL)),
            t_count_extras=quoted("count_extras"),
        )
    )


def _build(script: Script, key: UniqueKey, rule: BuildRule, attempt: int, *, may_clean: bool) -> None:
    """Write one build, which is skipped if the index exists; a later one first archives what stopped the one before."""
    script.line(f"-- build {attempt} of {rule.build_attempts}, unless the index exists")
    _drop_leftover(script, key)
    script.line("\\if :dupe_audit_absent")
    if attempt > 1 and may_clean:
        script.write(CLEAN)
    script.write(statement("mark_building", run=":dupe_audit_v_run", name=literal(key.name)))
    script.line("-- fails if a duplicate arrives in the meantime")
    script.line("\\set ON_ERROR_STOP off")
    script.write(catalog.build_index_sql(key, table_sql(key)))
    script.line("\\set ON_ERROR_STOP on")
    script.line("\\endif")


def _drop_leftover(script: Script, key: UniqueKey) -> None:
    """Write what drops an unfinished index of ours, and reads the state of the index before and after."""
    index = ident(key.schema, str(key.name)) if key.schema else ident(str(key.name))
    read_state = "SELECT absent, leftover FROM pg_temp.dupe_audit_state() \\gset dupe_audit_"
    script.line(read_state)
    script.line("\\if :dupe_audit_leftover")
    script.write(statement("drop_index", index=index))
    script.line(read_state)
    script.line("\\endif")


def drop_unique_constraint(operations: Operations, key: UniqueKey, rule: BuildRule, *, required: bool) -> None:
    """Write the script that drops the constraint, if the rows of its run can be restored.

    Args:
        required: whether the ledger must have a run of the constraint.

    Raises:
        CommandError: a name cannot be written into the script.
    """
    check_names(key)
    script, relid, name = Script(operations), catalog.relid_sql(key), one_line(key.name)
    drop = statement("drop_constraint", table=table_sql(key), name=ident(str(key.name)))
    is_dropped = f"NOT {_constraint_exists(key)}"
    with script.outside_transaction():
        script.line(f"-- dupe-audit: drop {name}")
        script.droppable_procedure(key)
        script.write("CALL pg_temp.dupe_audit_droppable(true)")
        condition = f"r.constraint_name = {literal(key.name)}"
        script.undo_function(key, condition, required=required, any_run_suffices=True)
        # In one transaction with the drop, so that psql cannot drop it after an error that it ignores.
        proof = "CALL pg_temp.dupe_audit_droppable(false); PERFORM * FROM pg_temp.dupe_audit_undo()"
        script.retried(f"{proof}; {drop}", is_dropped, relid, rule)
    # Again, for a psql that continues after errors.
    script.write("CALL pg_temp.dupe_audit_droppable(false)")
    script.guard(is_dropped, f"constraint {name} still exists; the version was not stamped", relid)
    dropped = {"relid": relid, "run_relation": statement("run_relation"), "name": literal(key.name)}
    script.write(statement("offline_dropped", **dropped))


def restore_duplicates(operations: Operations, key: UniqueKey, *, required: bool) -> None:
    """Write the script that puts the archived rows back.

    Args:
        required: whether the ledger must have a run of the key.

    Raises:
        CommandError: a name cannot be written into the script.
    """
    check_names(key)
    script = Script(operations)
    with script.outside_transaction():
        script.line(f"-- dupe-audit: restore the rows of {one_line(key)}")
        script.settings()
        relid = catalog.relid_sql(key)
        script.undo_function(key, ledger.of_key("v_relid", key), required=required)
        script.write(
            statement(
                "offline_restore",
                batch_size="5000",
                moved_children=ledger.moved_children_sql("v_run.id"),
                t_restore_changed=quoted("restore_changed"),
                t_restore_changed_row=quoted("restore_changed_row"),
                t_restore_rows=quoted("restore_rows"),
                references=statement("references", relid=f"({relid})"),
                t_return_children=quoted("return_children"),
                t_record_batch=quoted("record_batch"),
            )
        )
        script.write("CALL pg_temp.dupe_audit_restore()")
        script.reset()
    problem = f"the rows of {one_line(key)} are not restored; the version was not stamped"
    script.guard("(SELECT u.v_holes IS NULL FROM pg_temp.dupe_audit_undo() AS u)", problem, relid)


def _constraint_exists(key: UniqueKey) -> str:
    exists = statement("constraint_exists", relid=catalog.relid_sql(key), name=literal(key.name))
    return f"({exists})"
