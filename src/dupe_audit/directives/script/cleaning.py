"""The temporary procedures of the script that clean a run, with the functions that its rule needs and no others.

A branch that the rule does not need is ``IF false``.

The script reads the catalog only when it is executed. So it contains the statements of the online way as templates,
and a temporary function fills them from the catalog.
"""

from __future__ import annotations

from dupe_audit.cleanup import pace
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.script.leaves import clean_tree
from dupe_audit.directives.script.opening import EXPRESSIONS, prepare_function
from dupe_audit.directives.script.outcomes import errors, outcome_functions
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.quoting import counting_settings, interval, lines, quoted, with_templates
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.planner import ANYWHERE, BATCHING, WHERE_STAGED, settings_sql
from dupe_audit.postgres.sqlstates import SERIALIZATION_FAILURE
from dupe_audit.statements import literal, statement, template

#: the temporary procedure that cleans, called with the run's id, which psql keeps in a variable
CLEAN = "CALL pg_temp.dupe_audit_clean(:dupe_audit_v_run)"

_RELID = "(v_holes ->> 'relid')::pg_catalog.oid"

#: signature of the procedure that cleans one leaf of a tree
_CLEANS_LEAF = "dupe_audit_clean_leaf(v_run bigint, v_of_leaf pg_catalog.jsonb, v_referencing pg_catalog.jsonb)"

_PACE = {
    "first": str(pace.FIRST),
    "growth": str(pace.GROWTH),
    "margin": str(pace.MARGIN),
    "weight": str(pace.WEIGHT),
    "change": str(pace.CHANGE),
    "fading": str(pace.FADING),
    "share": str(pace.SHARE),
    "target": str(pace.TARGET),
    "most_bytes": str(pace.MOST_BYTES),
}


def cleanup_procedure(
    script: Script,
    key: UniqueKey,
    rule: CleanupRule,
    build: BuildRule,
    options: Overrides,
    *,
    tree: bool = False,
) -> None:
    """Write the temporary procedure that cleans a run by such a rule, unless the script already has it.

    Args:
        rule: of the run; which columns and values it names is read from the ledger.
        options: of the command: findings that do not stop it, and the memory of its rankings.
        tree: whether the table is partitioned.
    """
    accept, sequential = options.accept, counting_settings(options.work_mem)
    form = (rule.exact, rule.divides, bool(rule.merges), rule.merges_groups, tree)
    if not script.needs_part("clean", form):
        return
    script.expressions_function()
    script.measure_function()
    outcome_functions(script, rule, accept, tree=tree)
    script.write(with_templates("offline_lag", replica_lag=statement("replica_lag")))
    script.write(prepare_function(key, rule, accept, tree=tree))
    script.write(_stage(rule, sequential, tree=tree))
    script.write(_batch(rule))
    script.write(_clean(rule, build, tree=tree))
    if tree:
        states = {"set_cleaning": _set_state("cleaning"), "set_clean": _set_state("clean")}
        script.write(clean_tree(EXPRESSIONS, errors(rule, accept), sequential, **states))


def _stage(rule: CleanupRule, sequential: str, *, tree: bool) -> str:
    preparations, trials = [], []
    if rule.divides:
        preparations += [_execute_filled("add_amend_column"), _execute_filled("stage_divergent")]
    if rule.amends:
        continues = "(v_holes ->> 'continues')::pg_catalog.bool"
        preparations += [f"IF {continues} THEN {_execute_filled('continue_numbers')}; END IF"]
    preparations += ["PERFORM pg_temp.dupe_audit_restorable(v_run, v_holes, v_holes ->> 'stage')"]
    if rule.merges:
        survivors = f"pg_temp.dupe_audit_fill({quoted('staged_survivors')}, v_holes)"
        preparations += [f"PERFORM pg_temp.dupe_audit_restorable(v_run, v_holes, {survivors})"]
    # One snapshot, because the result of the trial is compared with the rows as they were during the trial.
    one_snapshot = ["COMMIT", "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"]
    if rule.amends:
        trials += [*one_snapshot, "v_holes := pg_temp.dupe_audit_try_amending(v_run, v_holes, v_extras)", "COMMIT"]
    if rule.merges:
        tried = "PERFORM pg_temp.dupe_audit_try_changes(v_run, false, v_holes, v_extras)"
        trials += [*one_snapshot, tried, "COMMIT"]
    return with_templates(
        "offline_stage",
        recorded=quoted("record_leaf_ranking" if tree else "record_ranking"),
        sequential=sequential,
        batching=settings_sql(BATCHING),
        archives=literal(rule.exact == "archive"),
        preparations=lines(preparations, indent=8),
        trials=lines(trials, indent=8),
    )


def _batch(rule: CleanupRule) -> str:
    outcomes, images = [], []
    if rule.merges_groups:
        outcomes += [_execute_filled("spare_incomplete", "'low', v_low, 'high', v_high")]
    if rule.amends:
        outcomes += ["v_amended := pg_temp.dupe_audit_amend(v_batch, v_holes, v_low, v_high)"]
    if rule.exact == "archive":
        final = f"v_high = v_low AND v_where_staged = {literal(ANYWHERE)}"
        moved = f"pg_temp.dupe_audit_move(v_run, v_batch, v_holes, v_fks, {final})"
        outcomes += [f"SELECT m.v_archived, m.v_merged INTO v_archived, v_merged FROM {moved} AS m"]
    if rule.changes_rows:
        counts = "'batch', v_batch, 'amended', v_amended, 'merged', v_merged, 'reverted', 0"
        images = [_execute_filled("record_images", counts)]
    return with_templates("offline_batch", outcomes=lines(outcomes), images=lines(images))


def _clean(rule: CleanupRule, build: BuildRule, *, tree: bool) -> str:
    lists = {"locked": "create_locked"}
    if rule.exact == "archive":
        lists["locked_child"] = "create_locked_children"
    # An amended row can have the key of a third one, or of another amended row.
    # On a busy table every pass meets new extras, so the first further pass that meets some is the last.
    settled = " AND (NOT (v_holes ->> 'covered')::pg_catalog.bool OR (v_holes ->> 'arrived')::pg_catalog.bool)"
    again = ["v_holes := pg_temp.dupe_audit_amend_again(v_holes, (v_holes ->> 'collisions')::pg_catalog.int4 + 1)"]
    again += [f"v_where_staged := {literal(WHERE_STAGED)}", "CONTINUE"]
    amend_again = f"\n        IF v_spared = 0 THEN{lines(again, indent=12)}\n        END IF;"
    whole_groups = []
    if rule.merges_groups:
        next_group = _execute_filled("next_group", "'n', v_end")
        whole_groups = [f"{next_group} INTO v_high", "v_high := coalesce(v_high - 1, v_extras)"]
    opening = "SELECT p.v_holes, p.v_fks INTO v_holes, v_fks FROM pg_temp.dupe_audit_prepare(v_run) AS p"
    closing = _set_state("clean")
    if tree:
        opening, closing = "v_holes := v_of_leaf;\n    v_fks := v_referencing", "NULL"
    return with_templates(
        "offline_clean",
        signature=_CLEANS_LEAF if tree else "dupe_audit_clean(v_run bigint)",
        opening=opening,
        closing=closing,
        set_cleaning=_set_state("cleaning"),
        serialization_failure=literal(SERIALIZATION_FAILURE),
        temporary=", ".join(f"pg_temp.dupe_audit_{name}" for name in lists),
        lists=";\n    ".join(template(name) for name in lists.values()),
        toasted=statement("toasted", relid=_RELID),
        outcome=rule.outcome,
        and_settled=settled if rule.amends else "",
        amend_again=amend_again if rule.amends else "",
        changes_rows=literal(rule.changes_rows),
        whole_groups=lines(whole_groups, indent=12),
        where_staged=literal(WHERE_STAGED),
        anywhere=literal(ANYWHERE),
        give_up_after=interval(build),
        lock_timeout=literal(build.lock_timeout),
        batching=settings_sql(BATCHING),
        **_PACE,
    )


def _set_state(state: str) -> str:
    return statement("set_state", run="v_run", state=literal(state))


def _execute_filled(name: str, holes: str = "") -> str:
    """Return what executes a template with the values of the run, and more of them."""
    more = f" || pg_catalog.jsonb_build_object({holes})" if holes else ""
    return f"EXECUTE pg_temp.dupe_audit_fill({quoted(name)}, v_holes{more})"
