"""The script of a downgrade: drop a constraint whose rows can be restored, and restore them."""

from __future__ import annotations

from dataclasses import replace

from alembic.operations import Operations

from dupe_audit import ledger
from dupe_audit.directives.script.droppable import droppable_index_function, droppable_procedure
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.procedures import undo_function
from dupe_audit.directives.script.quoting import (
    constraint_exists,
    one_line,
    table_sql,
    with_templates,
)
from dupe_audit.directives.script.undone import Undone
from dupe_audit.model import LOCK_TIMEOUT, LONGEST_TIMEOUT, BuildRule, CleanupRule, UniqueKey, milliseconds
from dupe_audit.postgres import catalog
from dupe_audit.postgres.planner import NEWEST_FIRST, settings_sql
from dupe_audit.statements import ident, literal, statement

#: an index of a partitioned table cannot be dropped concurrently; of another table it is left to the next statement
_DROP_OF_TREE = (
    "EXECUTE (SELECT 'DROP INDEX ' || d.qualified_name FROM pg_temp.dupe_audit_droppable_index(false) AS d "
    "WHERE d.droppable)"
)


def drop_unique_constraint(operations: Operations, key: UniqueKey, rule: BuildRule, undone: Undone) -> None:
    """Write the script that drops the constraint or index, if the rows of its run can be restored.

    Args:
        undone: the run of the constraint.
    """
    if key.form == "index":
        _drop_index(Script(operations), key, rule, undone)
    else:
        _drop_constraint(Script(operations), key, rule, undone)
    dropped = {
        "relid": catalog.relid_sql(key),
        "run_relation": statement("run_relation"),
        "name": literal(key.name),
        "order": ledger.choose_by_name(key.name).order,
    }
    script = Script(operations)
    with script.in_transaction():
        script.write(statement("offline_dropped", **dropped))


def _drop_constraint(script: Script, key: UniqueKey, rule: BuildRule, undone: Undone) -> None:
    relid, name = catalog.relid_sql(key), one_line(key.name)
    drop = statement("drop_constraint", table=table_sql(key), name=ident(str(key.name)))
    is_dropped = f"NOT {constraint_exists(key)}"
    with script.outside_transaction():
        script.line(f"-- dupe-audit: drop {name}")
        script.settings()
        droppable_procedure(script, key, keeps_adopted=undone.keeps_adopted)
        script.write("CALL pg_temp.dupe_audit_droppable(true)")
        undo_function(script, key, ledger.choose_by_name(key.name), undone, any_run_suffices=True)
        # In one transaction with the drop, so that psql cannot drop it after an error that it ignores.
        proof = "CALL pg_temp.dupe_audit_droppable(false); PERFORM * FROM pg_temp.dupe_audit_undo()"
        script.retried(f"{proof}; {drop}", is_dropped, relid, rule)
        script.reset()
    # Again, for a psql that continues after errors.
    with script.in_transaction():
        script.write("CALL pg_temp.dupe_audit_droppable(false)")
    script.guard(is_dropped, f"constraint {name} still exists; the version was not stamped", relid)


def _drop_index(script: Script, key: UniqueKey, rule: BuildRule, undone: Undone) -> None:
    name = one_line(key.name)
    with script.outside_transaction():
        script.line(f"-- dupe-audit: drop index {name}, online")
        script.settings()
        undo_function(script, key, ledger.choose_by_name(key.name), undone, any_run_suffices=True)
        droppable_index_function(script, key, keeps_adopted=undone.keeps_adopted)
        # If the function stops and psql continues after errors, there is no answer, and nothing is dropped.
        script.line("\\set dupe_audit_droppable off")
        script.line("SELECT droppable, qualified_name FROM pg_temp.dupe_audit_droppable_index(true) \\gset dupe_audit_")
        script.line("\\if :dupe_audit_droppable")
        script.write(_record_index(key))
        relid = catalog.relid_sql(key)
        is_gone = f"({statement('offline_no_tree_index', relid=relid)})"
        brief = replace(rule, lock_timeout=min(rule.lock_timeout, LOCK_TIMEOUT, key=milliseconds))
        script.retried(_DROP_OF_TREE, is_gone, relid, brief)
        script.line("SELECT droppable FROM pg_temp.dupe_audit_droppable_index(false) \\gset dupe_audit_")
        script.line("\\endif")
        script.line("\\if :dupe_audit_droppable")
        # It blocks neither reads nor writes while it waits.
        script.write(f"SET lock_timeout = {min(milliseconds(rule.give_up_after), LONGEST_TIMEOUT)}")
        script.write(statement("drop_index", index=":dupe_audit_qualified_name"))
        script.line("\\endif")
        script.reset()
    problem = f"index {name} still exists; the version was not stamped"
    condition = "NOT (SELECT d.droppable FROM pg_temp.dupe_audit_droppable_index(false) AS d)"
    script.guard(condition, problem, catalog.relid_sql(key))


def _record_index(key: UniqueKey) -> str:
    run = (
        f"(SELECT r.id FROM dupe_audit.run r WHERE ({statement('run_relation')}) = v_relid "
        f"AND r.constraint_name = {literal(key.name)} ORDER BY {ledger.choose_by_name(key.name).order} LIMIT 1)"
    )
    record_index = ledger.record_index_sql(run, "v_relid")
    return statement("offline_record_index", relid=catalog.relid_sql(key), record_index=record_index)


def restore_duplicates(operations: Operations, key: UniqueKey, rule: CleanupRule, undone: Undone) -> None:
    """Write the script that puts the archived rows back.

    Args:
        rule: says how many rows a transaction puts back at most.
        undone: the run of the key.
    """
    script = Script(operations)
    with script.outside_transaction():
        script.line(f"-- dupe-audit: restore the rows of {one_line(key)}")
        script.settings()
        relid = catalog.relid_sql(key)
        undo_function(script, key, ledger.to_restore("v_relid", key, revision=undone.revision), undone)
        revert = ""
        if undone.images:
            if script.needs_part("revert"):
                script.write(with_templates("offline_revert", run_relation=literal(statement("run_relation"))))
            revert = "\n    v_reverted := pg_temp.dupe_audit_revert(v_part);"
        script.write(with_templates("offline_put", revert=revert))
        script.write(
            with_templates(
                "offline_restore",
                relid=relid,
                batch_size=str(rule.batch_size),
                newest_first=settings_sql(NEWEST_FIRST),
                images=literal(undone.images),
                set_restored=statement("set_state", run="v_run.id", state=literal("restored")),
                moved_children=ledger.moved_children_sql("v_run.id"),
                references=statement("references", relid=f"({relid})"),
            )
        )
        script.write("CALL pg_temp.dupe_audit_restore()")
        script.reset()
    problem = f"the rows of {one_line(key)} are not restored; the version was not stamped"
    script.guard("(SELECT u.v_holes IS NULL FROM pg_temp.dupe_audit_undo() AS u)", problem, relid)
