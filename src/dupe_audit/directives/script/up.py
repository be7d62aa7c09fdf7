"""The script of an upgrade: archive the extras of a key, and build, attach and verify its constraint."""

from __future__ import annotations

from alembic.operations import Operations

from dupe_audit import ledger
from dupe_audit.constraint import constraint_form, memory
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.script.cleaning import CLEAN, cleanup_procedure
from dupe_audit.directives.script.leaves import tree_functions
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.procedures import judged_key, open_run, state_function
from dupe_audit.directives.script.quoting import constraint_exists, counting_settings, one_line, quoted, table_sql
from dupe_audit.directives.script.trees import enforce_tree, guard_tree
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.sqlstates import DUPLICATE_TABLE
from dupe_audit.statements import ident, literal, statement

#: stops unless the index is the one that the key needs, or absent
_STATE = "PERFORM * FROM pg_temp.dupe_audit_state()"

_ABSENT = "SELECT s.absent FROM pg_temp.dupe_audit_state() AS s"


def archive_duplicates(
    operations: Operations,
    key: UniqueKey,
    rule: CleanupRule,
    *,
    options: Overrides,
    revision: str | None,
    name: str | None,
    tree: bool,
) -> None:
    """Write the script that archives or amends the extras of *key*.

    Args:
        options: of the command: findings that do not stop the script, and the memory of its statements.
        revision: the Alembic revision to record in the ledger.
        name: the constraint that will be built, if it is known.
        tree: whether the table is partitioned.
    """
    script, subject = Script(operations), one_line(key)
    with script.outside_transaction():
        verb = " or ".join(["amend" if rule.exact == "amend" else "archive", *(["amend"] if rule.divides else [])])
        script.line(f"-- dupe-audit: {verb} the duplicates of {subject}")
        choice = ledger.to_clean("v_relid", key, name=name, revision=revision)
        open_run(script, key, rule, BuildRule(), revision, choice, tree=tree)
        if tree:
            tree_functions(script, key)
        cleanup_procedure(script, key, rule, BuildRule(), options, tree=tree)
        script.write(CLEAN)
        script.reset()
    relid = catalog.relid_sql(key)
    chosen, order, _ = ledger.to_clean(relid, key, name=name, revision=revision)
    holes = {"relid": relid, "run_relation": statement("run_relation"), "chosen": chosen, "order": order}
    problem = f"the duplicates of {subject} are not {rule.outcome}; the version was not stamped"
    script.guard(f"({statement('offline_is_clean', **holes)})", problem, relid)


def create_unique_constraint(
    operations: Operations,
    key: UniqueKey,
    rule: BuildRule,
    *,
    options: Overrides,
    revision: str | None,
    cleanup: CleanupRule | None,
    undoing: bool,
    tree: bool,
) -> None:
    """Write the script that builds and verifies the index of a key, and attaches it if it is to be a constraint.

    Args:
        options: of the command: findings that do not stop the script, and the memory of its statements.
        revision: the Alembic revision to record in the ledger.
        cleanup: by which rule this revision handles the duplicates that stop a build; None if it handles none.
        undoing: whether a downgrade of that revision re-creates the constraint.
        tree: whether the table is partitioned.
    """
    name, script = str(key.name), Script(operations)
    with script.outside_transaction():
        script.line(f"-- dupe-audit: enforce {one_line(key)} as {one_line(name)}, online")
        choose = ledger.to_enforce_again if undoing else ledger.to_enforce
        open_run(script, key, None, rule, revision, choose("v_relid", key, revision=revision), tree=tree)
        if undoing:
            script.line(f"{statement('adopted_options', run=':dupe_audit_v_run')} \\gset dupe_audit_")
        if tree:
            tree_functions(script, key)
        if cleanup:
            cleanup_procedure(script, key, cleanup, rule, options, tree=tree)
        else:
            script.fill_function()
        state_function(script, key)
        if not key.is_plain:
            script.expressions_function()
            script.measure_function()
            script.write(judged_key(key))
        if tree:
            enforce_tree(script, key, rule, options=options, may_clean=cleanup is not None)
        else:
            _build_in_turn(script, key, rule, may_clean=cleanup is not None, undoing=undoing)
        _finish(script, key, rule, tree=tree)
        script.reset()
    with script.in_transaction():
        guard_tree(script, key) if tree else _guard(script, key, options.work_mem)
        script.write(statement("mark_enforced", run=":dupe_audit_v_run", name=literal(name)))
        script.write(statement("set_state", run=":dupe_audit_v_run", state=literal("enforced")))


def _build_in_turn(script: Script, key: UniqueKey, rule: BuildRule, *, may_clean: bool, undoing: bool) -> None:
    """Write as many builds as the rule allows; those after a successful one are skipped."""
    script.comment_on_builds(rule.build_attempts)
    for attempt in range(1, rule.build_attempts + 1):
        _build(script, key, rule, attempt, may_clean=may_clean, undoing=undoing)
    _drop_leftover(script)
    # If an expression made the builds fail, this reports for how many rows.
    script.line("\\if :dupe_audit_absent")
    script.write(_not_building())
    if not key.is_plain:
        script.write(judged_key(key))
    script.line("\\endif")


def _guard(script: Script, key: UniqueKey, work_mem: str | None) -> None:
    """Write what stops the script before the version is stamped, unless the table enforces the key."""
    relid = catalog.relid_sql(key)
    script.write(
        statement(
            "offline_guard",
            name=literal(key.name),
            form=key.form,
            relid=relid,
            fragments=statement("fragments", relid=f"({relid})", **catalog.rule_fragment_holes(key, CleanupRule())),
            sequential=counting_settings(work_mem),
            t_count_extras=quoted("count_extras"),
        )
    )


def _build(script: Script, key: UniqueKey, rule: BuildRule, attempt: int, *, may_clean: bool, undoing: bool) -> None:
    """Write one build, which is skipped if the index exists; a later one first archives what stopped the one before."""
    script.line(f"-- build {attempt} of {rule.build_attempts}, unless the index exists")
    _drop_leftover(script)
    script.line("\\if :dupe_audit_absent")
    if attempt > 1:
        script.pause(attempt)
        if may_clean:
            script.write(CLEAN)
    holes = {"run": ":dupe_audit_v_run", "name": literal(key.name), "keeps_adopted": literal(undoing)}
    script.write(statement("mark_building", **holes))
    with script.with_settings(memory(rule)):
        _try_build(script, key, options=":dupe_audit_options" if undoing else "")
    script.line("\\endif")


def _try_build(script: Script, key: UniqueKey, *, options: str) -> None:
    """Write the build itself, which may fail.

    Args:
        options: storage parameters of the index, as SQL.
    """
    script.line("-- fails if a duplicate arrives in the meantime")
    script.line("\\set ON_ERROR_STOP off")
    if not key.is_plain:
        # The server's message can contain the value for which an expression fails.
        script.line("\\set dupe_audit_verbosity :VERBOSITY")
        script.line("\\set VERBOSITY sqlstate")
    script.write(catalog.build_index_sql(key, table_sql(key), options=options))
    if not key.is_plain:
        script.line("\\set VERBOSITY :dupe_audit_verbosity")
    script.line("\\set ON_ERROR_STOP on")
    # Another session has created it meanwhile. After any other error, an index of ours can remain.
    script.line(f"SELECT :'SQLSTATE' = {literal(DUPLICATE_TABLE)} AS taken \\gset dupe_audit_")
    script.line("\\if :dupe_audit_taken")
    script.write(_not_building())
    script.line("\\endif")


def _drop_leftover(script: Script) -> None:
    """Write what drops an unfinished index of ours, and reads the state of the index before and after."""
    read_state = "SELECT absent, leftover, qualified_name FROM pg_temp.dupe_audit_state() \\gset dupe_audit_"
    script.line(read_state)
    script.line("\\if :dupe_audit_leftover")
    script.write(statement("drop_index", index=":dupe_audit_qualified_name"))
    script.write(_not_building())
    script.line(read_state)
    script.line("\\endif")


def _not_building() -> str:
    """Return the statement that records that no build of ours left an index, so that no other counts as ours."""
    return statement("mark_not_building", run=":dupe_audit_v_run")


def _finish(script: Script, key: UniqueKey, rule: BuildRule, *, tree: bool) -> None:
    """Write what records an index that existed before, attaches the index if need be, and comments on it."""
    name, relid, table = str(key.name), catalog.relid_sql(key), table_sql(key)
    script.write(statement("adopt_index", run=":dupe_audit_v_run", relid=f"({relid})", name=literal(name)))
    if key.form == "constraint" and not tree:
        attach = statement("attach", table=table, name=ident(name), form=constraint_form(key))
        # Never what only has the name, if psql continues after errors.
        script.retried(f"{_STATE}; {attach}", constraint_exists(key), relid, rule)
    if rule.comment is not None:
        # If every build has failed, the guard says so.
        script.retried(_comment(key, table, rule.comment), f"({_ABSENT})", relid, rule)


def _comment(key: UniqueKey, table: str, comment: str) -> str:
    """Return the statement for a block of PL/pgSQL that comments on the constraint or the index."""
    if key.form == "constraint":
        return statement("comment_constraint", name=ident(str(key.name)), table=table, comment=literal(comment))
    holes = f"'index', s.qualified_name, 'comment', pg_catalog.quote_literal({literal(comment)})"
    filled = f"pg_temp.dupe_audit_fill({quoted('comment_index')}, pg_catalog.jsonb_build_object({holes}))"
    return f"EXECUTE (SELECT {filled} FROM pg_temp.dupe_audit_state() AS s)"
