"""The temporary function of the script that judges a cleanup under the run lock, and creates the archive of its run."""

from __future__ import annotations

from collections.abc import Collection

from dupe_audit.directives.script.leaves import tree_blockers
from dupe_audit.directives.script.outcomes import NAMES, errors
from dupe_audit.directives.script.quoting import lines, parts_of_run, quoted, with_templates
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.trees import ALIAS, PLACEHOLDER
from dupe_audit.statements import literal, statement

_KEY = parts_of_run("key_columns", "key_expressions", without=True)
#: elements of the key of the run ``v_rule``, with NULL for columns, as an SQL value
EXPRESSIONS = parts_of_run("key_columns", "key_expressions")
_COMPUTED = (
    f"ARRAY(SELECT 't_key.k' || e.ord FROM pg_catalog.unnest({EXPRESSIONS}) WITH ORDINALITY AS e(sql, ord) "
    "WHERE e.sql IS NOT NULL ORDER BY e.ord)"
)
_ORDER = parts_of_run("order_by", "order_expressions", without=True)


def prepare_function(key: UniqueKey, rule: CleanupRule, accept: Collection[str], *, tree: bool) -> str:
    """Return the temporary function that judges a cleanup by such a rule, and creates its archive."""
    references = (
        "SELECT f.v_holes, f.v_fks INTO v_holes, v_fks "
        "FROM pg_temp.dupe_audit_references(v_run, v_relid, v_rule.on_reference, v_holes) AS f"
    )
    return with_templates(
        "offline_prepare",
        relid=catalog.relid_sql(key),
        run_relation=statement("run_relation"),
        exact=literal(rule.exact),
        amends_divergent=literal(rule.divergent == "amend"),
        merges=literal(bool(rule.merges)),
        expressions=EXPRESSIONS,
        blockers=_blockers(rule, tree=tree),
        errors=errors(rule, accept),
        fragments=statement("fragments", relid="v_relid", **_rule_columns(rule, tree=tree)),
        measure=_measure(rule, accept, tree=tree),
        archive_holes="pg_temp.dupe_audit_named(v_holes, v_relid)" if tree else "v_holes",
        changes=lines(_changes(rule)),
        images=lines(_images(rule, tree=tree)),
        references=lines([references] if rule.exact == "archive" else []),
    )


def _blockers(rule: CleanupRule, *, tree: bool) -> str:
    """Return the query of what forbids the cleanup."""
    named = [f"pg_catalog.array_remove({_ORDER}, NULL)", "v_rule.ignored"]
    if rule.changes_rows:
        named += ["v_rule.changed_columns", "v_rule.merged_columns"]
    blockers = statement(
        "blockers",
        relid="v_relid",
        key=NAMES,
        expressions=f"pg_catalog.array_remove({EXPRESSIONS}, NULL)",
        expression_types="v_types",
        named=" OPERATOR(pg_catalog.||) ".join(named),
        constraint_name="v_rule.constraint_name",
        nulls_not_distinct="v_rule.nulls_not_distinct",
        default_read_only="false",
        changes_rows=literal(rule.changes_rows),
    )
    return tree_blockers(blockers, NAMES) if tree else blockers


def _measure(rule: CleanupRule, accept: Collection[str], *, tree: bool) -> str:
    """Return what measures the table; each leaf of a tree is measured when its turn comes."""
    if tree:
        return "    v_holes := v_holes || pg_catalog.jsonb_build_object('root', v_relid);\n"
    return (
        f"    PERFORM pg_temp.dupe_audit_measure(v_holes, {EXPRESSIONS}, v_rule.predicate, "
        f"'key-too-wide' = ANY ({errors(rule, accept)}), '');\n"
    )


def _changes(rule: CleanupRule) -> list[str]:
    """Return the statements that add to the run's values what amending and merging need."""
    if not rule.changes_rows:
        return []
    e_amends = "pg_catalog.format('NOT %s', v_holes ->> 'same_data')" if rule.divides else "'true'"
    after = f"'after', pg_catalog.format('dupe_audit.after_%s', v_run), 'e_amends', {e_amends}"
    columns = ("changed_columns", "changed_values", "merged_columns", "merged_by", "merged_by_sql")
    of_rule = ", ".join(f"v_rule.{column}" for column in columns)
    changes = [
        f"v_holes := v_holes || pg_catalog.jsonb_build_object({after})",
        f"v_holes := v_holes || pg_temp.dupe_audit_changes(v_relid, v_holes, {NAMES}, {of_rule}, '')",
    ]
    if rule.amends:
        passes = "'covered', false, 'collisions', 0, 'arrived', false, 'continues', false"
        passes += ", 'unamended_order', v_holes ->> 'order_by'"
        again = "CASE WHEN v_rule.amended > 0 THEN pg_temp.dupe_audit_amend_again(v_holes, 0) ELSE v_holes END"
        key_hash = statement("key_hash", relid="v_relid", key=NAMES, values=_COMPUTED, types="v_types")
        changes += [
            f"v_holes := v_holes || pg_catalog.jsonb_build_object({passes}, 't_key_hash', ({key_hash}))",
            f"v_holes := {again}",
        ]
    return changes


def _images(rule: CleanupRule, *, tree: bool) -> list[str]:
    """Return the statements that add to the archive what such a rule, or a tree, keeps there."""
    images = ["PERFORM pg_temp.dupe_audit_keep_images(v_relid, v_holes)"] if rule.changes_rows else []
    if tree:
        images.append(f"EXECUTE pg_temp.dupe_audit_fill({quoted('add_leaf_column')}, v_holes)")
    return images


def _rule_columns(rule: CleanupRule, *, tree: bool) -> dict[str, str]:
    """Return what fills ``fragments.sql``, except the table, for the run ``v_rule``, whose rule is like *rule*."""
    merged = " OPERATOR(pg_catalog.||) v_rule.merged_columns" if rule.merges else ""
    return {
        "placeholder": literal(PLACEHOLDER if tree else None),
        "alias_placeholder": literal(ALIAS if tree else None),
        "key": _KEY,
        "expressions": EXPRESSIONS,
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
