"""The script of an upgrade: archive the extras of a key, and build, attach and verify its constraint."""

from __future__ import annotations

from collections.abc import Collection

from alembic.operations import Operations

from dupe_audit import ledger
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.procedures import CLEAN, cleanup_procedure, open_run
from dupe_audit.directives.script.quoting import check_names, constraint_exists, one_line, quoted, table_sql
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.planner import SEQUENTIAL, switched_off
from dupe_audit.statements import ident, literal, statement, text_array


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
        open_run(script, key, rule, BuildRule(), revision)
        cleanup_procedure(script, key, BuildRule(), accept)
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
        open_run(script, key, None, rule, revision)
        if may_clean:
            cleanup_procedure(script, key, rule, accept)
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
        script.retried(attach, constraint_exists(key), relid, rule)
        if rule.comment is not None:
            comment = statement("comment_constraint", name=ident(name), table=table, comment=literal(rule.comment))
            script.retried(comment, "false", relid, rule)
        script.reset()
    with script.own_path():
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
