"""The temporary functions of the script that handle extras as a rule says: move, amend and merge them.

Functions are written for the rules that need them, and read from the ledger which columns and values a rule names.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable

from dupe_audit.cleanup.change_trial import MOST_FAILURES
from dupe_audit.cleanup.changes import MOST_COLLISIONS, REASONS
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.quoting import differing_columns, parts_of_run, quoted, with_templates
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import CleanupRule
from dupe_audit.postgres.planner import TRYING, settings_sql
from dupe_audit.postgres.sqlstates import NOT_NULL_VIOLATION
from dupe_audit.preflight import beside
from dupe_audit.preflight.changes import OF_SEVERAL_ROWS
from dupe_audit.statements import literal, statement, text_array

#: the columns of the key of the run ``v_rule``, as an SQL value
NAMES = f"pg_catalog.array_remove({parts_of_run('key_columns', 'key_expressions', without=True)}, NULL)"


def errors(rule: CleanupRule, accept: Collection[str]) -> str:
    """Return the ids of the findings that stop a cleanup, as an SQL value.

    Args:
        accept: ids of findings that do not stop it.
    """
    ignored = {*accept, *beside(rule)}
    return text_array(id_ for id_, entry in CATALOGUE.items() if entry.severity == "error" and id_ not in ignored)


def changes_function(script: Script) -> None:
    """Write the temporary function that judges the columns that a rule changes, unless the script already has it."""
    script.fill_function()
    if script.needs_part("changes"):
        of_parameters = {
            "changed_columns": "v_changed",
            "changed_values": "v_values",
            "merged_columns": "v_merged",
            "merged_by": "v_by",
            "merged_by_sql": "v_by_sql",
        }
        script.write(
            with_templates(
                "offline_changes",
                of_several_rows=literal(json.dumps(OF_SEVERAL_ROWS)),
                unchangeable=statement("unchangeable", relid="v_relid", columns="v_changed || v_merged"),
                change_fragments=statement("change_fragments", relid="v_relid", **of_parameters),
            )
        )


def outcome_functions(script: Script, rule: CleanupRule, accept: Collection[str], *, tree: bool) -> None:
    """Write the temporary functions that such a rule needs, unless the script already has them.

    Args:
        accept: ids of findings that do not stop a cleanup.
        tree: whether the table is partitioned.
    """
    _write_once(script, "private", with_templates("offline_private", may_own=statement("may_own", owner="v_owner")))
    _write_once(script, "adopt", with_templates("offline_adopt"))
    own_index = "(CASE WHEN v_rule.building THEN v_rule.constraint_name END)"
    insertable = statement("insertable", relids="v_relid", key_names=NAMES, own_index=own_index)
    _write_once(script, "violated", with_templates("offline_violated", insertable=insertable))
    _write_once(script, "restorable", statement("offline_restorable"))
    if rule.exact == "archive":
        _archiving(script, rule, accept, tree=tree)
    if rule.changes_rows:
        _changing(script, rule)


def _write_once(script: Script, part: str, sql: str, form: Hashable = None) -> None:
    if script.needs_part(part, form):
        script.write(sql)


def _archiving(script: Script, rule: CleanupRule, accept: Collection[str], *, tree: bool) -> None:
    """Write what moves extras into the archive, and what is checked before that."""
    references = with_templates(
        "offline_references",
        references=statement("references", relid="v_relid"),
        child_triggers=statement("child_triggers", relid="v_relid"),
        errors=errors(rule, accept),
    )
    pairs = f"pg_temp.dupe_audit_fill({quoted('staged_pairs')}, v_holes)"
    objections = with_templates(
        "offline_objections",
        collisions=statement("collisions", relid="v_relid", pairs=pairs),
        differing_columns=differing_columns(),
    )
    root = "(v_holes ->> 'root')::pg_catalog.oid" if tree else "v_relid"
    merge = "v_merged := pg_temp.dupe_audit_merge(v_batch, v_result.first_id, v_holes)"
    move = with_templates(
        "offline_move",
        child_triggers=statement("child_triggers", relid=root),
        counts_tracked=statement("counts_tracked"),
        changed_children=statement("changed_children", relid="v_relid", root=root),
        delete_triggers=statement("delete_triggers", relid="v_relid"),
        merge=f"\n    {merge};" if rule.merges else "",
    )
    _write_once(script, "references", references)
    _write_once(script, "objections", objections)
    _write_once(script, "move", move, (bool(rule.merges), tree))


def _changing(script: Script, rule: CleanupRule) -> None:
    """Write what changes rows that stay in the table, and what tries the changes first."""
    changes_function(script)
    _write_once(script, "keep_images", with_templates("offline_keep_images"))
    reasons = {"reasons": literal(json.dumps(REASONS)), "not_null_violation": literal(NOT_NULL_VIOLATION)}
    _write_once(script, "why", statement("offline_why", **reasons))
    _write_once(script, "change_fails", statement("offline_change_fails"))
    _write_once(script, "failures", with_templates("offline_failures", most_failures=str(MOST_FAILURES)))
    if rule.amends:
        _write_once(script, "settle", with_templates("offline_settle", most_collisions=str(MOST_COLLISIONS)))
    columns = {"changed_columns": "v_rule.changed_columns", "merged_columns": "v_rule.merged_columns"}
    constraints = with_templates(
        "offline_try_constraints",
        trying=settings_sql(TRYING),
        touched_indexes=statement("touched_indexes", relid="v_relid", **columns),
    )
    _write_once(script, "try_constraints", constraints)
    _write_once(script, "try_changes", with_templates("offline_try_changes"))
    if rule.amends:
        _write_once(script, "amend", with_templates("offline_amend"))
        _write_once(script, "try_amending", with_templates("offline_try_amending"))
        _write_once(script, "amend_again", with_templates("offline_amend_again", most_collisions=str(MOST_COLLISIONS)))
    else:
        _write_once(script, "merge", with_templates("offline_merge"))
