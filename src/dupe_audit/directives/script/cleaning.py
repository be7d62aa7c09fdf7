"""The temporary procedures of the script that clean a run, with the parts that its rule needs and no others.

The script reads the catalog only when it is executed. So it contains the statements of the online way as templates,
and a temporary function fills them from the catalog.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dupe_audit.cleanup import pace
from dupe_audit.directives.script.outcomes import NAMES, errors, outcome_functions
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.quoting import interval, parts_of_run, quoted, with_templates
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.planner import ANYWHERE, BATCHING, RANKING, WHERE_STAGED, switched_off
from dupe_audit.statements import literal, statement, template, text_array

#: the temporary procedure that cleans, called with the run's id, which psql keeps in a variable
CLEAN = "CALL pg_temp.dupe_audit_clean(:dupe_audit_v_run)"

_RELID = "(v_holes ->> 'relid')::pg_catalog.oid"
_KEY = parts_of_run("key_columns", "key_expressions", without=True)
_EXPRESSIONS = parts_of_run("key_columns", "key_expressions")
_COMPUTED = (
    f"ARRAY(SELECT 't_key.k' || e.ord FROM pg_catalog.unnest({_EXPRESSIONS}) WITH ORDINALITY AS e(sql, ord) "
    "WHERE e.sql IS NOT NULL ORDER BY e.ord)"
)
_ORDER = parts_of_run("order_by", "order_expressions", without=True)
#: in a handler: children fail with the same SQLSTATE, and the server always names the child's table
_LACKING = """
                GET STACKED DIAGNOSTICS v_schema = SCHEMA_NAME, v_table = TABLE_NAME, v_constraint = CONSTRAINT_NAME;
                IF pg_catalog.format('%I.%I', v_schema, v_table) = v_holes ->> 'table' AND NOT EXISTS (
                        SELECT FROM pg_catalog.jsonb_array_elements(v_fks) AS f
                        WHERE (f ->> 'child', f ->> 'constraint_name') = (v_holes ->> 'table', v_constraint)) THEN
                    PERFORM pg_temp.dupe_audit_change_fails(v_holes, SQLSTATE, v_constraint, NULL);
                END IF;"""

_FAILING = """
            WHEN data_exception OR integrity_constraint_violation OR with_check_option_violation
                 OR program_limit_exceeded OR out_of_memory THEN
                -- The server's message would contain the value.
                GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME, v_table = COLUMN_NAME;
                PERFORM pg_temp.dupe_audit_change_fails(v_holes, SQLSTATE, v_constraint, v_table);"""

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
    script: Script, key: UniqueKey, rule: CleanupRule, build: BuildRule, accept: Collection[str]
) -> None:
    """Write the temporary procedure that cleans a run by such a rule, unless the script already has it.

    Args:
        rule: of the run; which columns and values it names is read from the ledger.
        accept: ids of findings that do not stop it.
    """
    form = (rule.exact, rule.divides, bool(rule.merges), rule.merges_groups)
    if not script.needs_part("clean", form):
        return
    script.expressions_function()
    script.measure_function()
    outcome_functions(script, rule, accept)
    script.write(with_templates("offline_lag", replica_lag=statement("replica_lag")))
    script.write(_prepare(key, rule, accept))
    script.write(_stage(rule))
    script.write(_batch(rule))
    script.write(_clean(rule, build))


def _prepare(key: UniqueKey, rule: CleanupRule, accept: Collection[str]) -> str:
    named = [f"pg_catalog.array_remove({_ORDER}, NULL)", "v_rule.ignored"]
    changes, images = [], []
    if rule.changes_rows:
        named += ["v_rule.changed_columns", "v_rule.merged_columns"]
        e_amends = "pg_catalog.format('NOT %s', v_holes ->> 'same_data')" if rule.divides else "'true'"
        after = f"'after', pg_catalog.format('dupe_audit.after_%s', v_run), 'e_amends', {e_amends}"
        columns = ("changed_columns", "changed_values", "merged_columns", "merged_by", "merged_by_sql")
        of_rule = ", ".join(f"v_rule.{column}" for column in columns)
        changes = [
            f"v_holes := v_holes || pg_catalog.jsonb_build_object({after})",
            f"v_holes := v_holes || pg_temp.dupe_audit_changes(v_relid, v_holes, {NAMES}, {of_rule}, '')",
        ]
        images = ["PERFORM pg_temp.dupe_audit_keep_images(v_relid, v_holes)"]
    if rule.amends:
        passes = "'covered', false, 'collisions', 0, 'continues', false, 'unamended_order', v_holes ->> 'order_by'"
        again = "CASE WHEN v_rule.amended > 0 THEN pg_temp.dupe_audit_amend_again(v_holes, 0) ELSE v_holes END"
        key_hash = statement("key_hash", relid="v_relid", key=NAMES, values=_COMPUTED, types="v_types")
        changes += [
            f"v_holes := v_holes || pg_catalog.jsonb_build_object({passes}, 't_key_hash', ({key_hash}))",
            f"v_holes := {again}",
        ]
    references = (
        "SELECT f.v_holes, f.v_fks INTO v_holes, v_fks "
        "FROM pg_temp.dupe_audit_references(v_run, v_relid, v_rule.on_reference, v_holes) AS f"
    )
    blockers = statement(
        "blockers",
        relid="v_relid",
        key=NAMES,
        expressions=f"pg_catalog.array_remove({_EXPRESSIONS}, NULL)",
        expression_types="v_types",
        named=" OPERATOR(pg_catalog.||) ".join(named),
        constraint_name="v_rule.constraint_name",
        nulls_not_distinct="v_rule.nulls_not_distinct",
        default_read_only="false",
        changes_rows=literal(rule.changes_rows),
    )
    return with_templates(
        "offline_prepare",
        relid=catalog.relid_sql(key),
        run_relation=statement("run_relation"),
        exact=literal(rule.exact),
        amends_divergent=literal(rule.divergent == "amend"),
        merges=literal(bool(rule.merges)),
        expressions=_EXPRESSIONS,
        blockers=blockers,
        errors=errors(rule, accept),
        fragments=statement("fragments", relid="v_relid", **_rule_columns(rule)),
        changes=_lines(changes),
        images=_lines(images),
        references=_lines([references] if rule.exact == "archive" else []),
    )


def _rule_columns(rule: CleanupRule) -> dict[str, str]:
    """Return what fills ``fragments.sql``, except the table, for the run ``v_rule``, whose rule is like *rule*."""
    merged = " OPERATOR(pg_catalog.||) v_rule.merged_columns" if rule.merges else ""
    return {
        "placeholder": "NULL",
        "key": _KEY,
        "expressions": _EXPRESSIONS,
        "predicate": "v_rule.predicate",
        "order_by": _ORDER,
        "order_expressions": parts_of_run("order_by", "order_expressions"),
        "directions": "v_rule.directions",
        "ignore": f"v_rule.ignored{merged}",
        "keep": "v_rule.keep",
        "divergent": "v_rule.divergent",
        "numbered": literal(bool(rule.merges)),
        "divides": literal(rule.divides),
        "nulls_not_distinct": "v_rule.nulls_not_distinct",
    }


def _stage(rule: CleanupRule) -> str:
    judgements = []
    if rule.divides:
        judgements += [_filled("add_amend_column"), _filled("stage_divergent")]
    if rule.amends:
        continues = "(v_holes ->> 'continues')::pg_catalog.bool"
        judgements += [f"IF {continues} THEN {_filled('continue_numbers')}; END IF"]
    judgements += ["PERFORM pg_temp.dupe_audit_restorable(v_run, v_holes, v_holes ->> 'stage')"]
    if rule.merges:
        survivors = f"pg_temp.dupe_audit_fill({quoted('staged_survivors')}, v_holes)"
        judgements += [f"PERFORM pg_temp.dupe_audit_restorable(v_run, v_holes, {survivors})"]
    if rule.exact == "archive":
        judgements += ["PERFORM pg_temp.dupe_audit_objections(v_run, v_holes, v_fks)"]
    if rule.amends:
        covered = "'covered', pg_temp.dupe_audit_try_changes(v_run, true, v_holes, v_extras)"
        judgements += [f"v_holes := v_holes || pg_catalog.jsonb_build_object({covered})", "COMMIT"]
    if rule.merges:
        judgements += ["PERFORM pg_temp.dupe_audit_try_changes(v_run, false, v_holes, v_extras)", "COMMIT"]
    return with_templates(
        "offline_stage",
        ranking=text_array(switched_off(RANKING)),
        batching=text_array(switched_off(BATCHING)),
        judgements=_lines(judgements, indent=8),
    )


def _batch(rule: CleanupRule) -> str:
    outcomes, images = [], []
    if rule.merges_groups:
        outcomes += [_filled("spare_incomplete", "'low', v_low, 'high', v_high")]
    if rule.amends:
        outcomes += ["v_amended := pg_temp.dupe_audit_amend(v_batch, v_holes, v_low, v_high)"]
    if rule.exact == "archive":
        final = f"v_high = v_low AND v_where_staged = {literal(ANYWHERE)}"
        moved = f"pg_temp.dupe_audit_move(v_run, v_batch, v_holes, v_fks, {final})"
        outcomes += [f"SELECT m.v_archived, m.v_merged INTO v_archived, v_merged FROM {moved} AS m"]
    if rule.changes_rows:
        counts = "'batch', v_batch, 'amended', v_amended, 'merged', v_merged, 'reverted', 0"
        images = [_filled("record_images", counts)]
    return with_templates("offline_batch", outcomes=_lines(outcomes), images=_lines(images))


def _clean(rule: CleanupRule, build: BuildRule) -> str:
    lists = {"locked": "create_locked"}
    if rule.exact == "archive":
        lists["locked_child"] = "create_locked_children"
    # An amended row can have the key of a third one, or of another amended row.
    again = ["v_holes := pg_temp.dupe_audit_amend_again(v_holes, (v_holes ->> 'collisions')::pg_catalog.int4 + 1)"]
    again += [f"v_where_staged := {literal(WHERE_STAGED)}", "CONTINUE"]
    amend_again = f"\n        IF v_spared = 0 THEN{_lines(again, indent=12)}\n        END IF;"
    whole_groups = []
    if rule.merges_groups:
        next_group = _filled("next_group", "'n', v_end")
        whole_groups = [f"{next_group} INTO v_high", "v_high := coalesce(v_high - 1, v_extras)"]
    return with_templates(
        "offline_clean",
        temporary=", ".join(f"pg_temp.dupe_audit_{name}" for name in lists),
        lists=";\n    ".join(template(name) for name in lists.values()),
        toasted=statement("toasted", relid=_RELID),
        outcome=rule.outcome,
        and_uncovered=" AND NOT (v_holes ->> 'covered')::pg_catalog.bool" if rule.amends else "",
        amend_again=amend_again if rule.amends else "",
        declared=_lines(["v_schema text", "v_table text", "v_constraint text"] if rule.changes_rows else []),
        lacking=_LACKING if rule.changes_rows else "",
        failing=_FAILING if rule.changes_rows else "",
        whole_groups=_lines(whole_groups, indent=12),
        where_staged=literal(WHERE_STAGED),
        anywhere=literal(ANYWHERE),
        give_up_after=interval(build),
        lock_timeout=literal(build.lock_timeout),
        batching=text_array(switched_off(BATCHING)),
        **_PACE,
    )


def _filled(name: str, holes: str = "") -> str:
    """Return what executes a template with the values of the run, and more of them."""
    more = f" || pg_catalog.jsonb_build_object({holes})" if holes else ""
    return f"EXECUTE pg_temp.dupe_audit_fill({quoted(name)}, v_holes{more})"


def _lines(statements: Iterable[str], *, indent: int = 4) -> str:
    """Return statements for the end of a line of a procedure, each on a line of its own."""
    return "".join(f"\n{' ' * indent}{each};" for each in statements)
