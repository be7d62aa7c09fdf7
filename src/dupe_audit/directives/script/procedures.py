"""The temporary procedures of the script: what opens a run, cleans it, and proves that it can be undone.

The script reads the catalog only when it is executed. So it contains the statements of the online way as templates,
and a temporary function fills them from the catalog.
"""

from __future__ import annotations

from collections.abc import Collection

from dupe_audit import ledger
from dupe_audit.cleanup import pace
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.quoting import comparison_holes, differing_columns, interval, parts_of_run, quoted
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.locking import LOCK_NAMESPACE
from dupe_audit.postgres.planner import ANYWHERE, BATCHING, RANKING, WHERE_STAGED, switched_off
from dupe_audit.statements import literal, statement, template, text_array

#: the temporary procedure that cleans, called with the run's id, which psql keeps in a variable
CLEAN = "CALL pg_temp.dupe_audit_clean(:dupe_audit_v_run)"

#: the statements that the cleanup procedure fills and executes
CLEANUP_TEMPLATES = (
    "revoke_all",
    "create_archive",
    "finish_archive",
    "archive_drift",
    "restore_fragments",
    "record_columns",
    "stage",
    "divergent",
    "enter_child",
    "moved_children",
    "create_record",
    "finish_record",
    "count_uninsertable",
    "stage_children",
    "row_bytes",
    "batch_end",
    "lock_rows",
    "lock_children",
    "judge_extras",
    "repoint_children",
    "move_rows",
    "stray_children",
    "record_batch",
)


def open_run(
    script: Script,
    key: UniqueKey,
    rule: CleanupRule | None,
    build: BuildRule,
    revision: str | None,
    choice: ledger.Choice,
) -> None:
    """Write what creates the ledger, takes the run lock, and opens or continues the run.

    Args:
        choice: which run to continue.
    """
    script.settings()
    script.trust_function()
    key_holes = ledger.key_holes(key, "v_relid")
    resume_run = "NULL"
    if rule is not None:
        names = {name: value for name, value in key_holes.items() if name != "constraint_name"}
        resume_run = statement("resume_run", run="v_run", relid="v_relid", **names, **ledger.rule_holes(rule))
    script.write(
        statement(
            "offline_open",
            relid_query=catalog.relid_sql(key),
            table_name=literal(key.table),
            give_up_after=interval(build),
            lock_namespace=str(LOCK_NAMESPACE),
            citus_kind=literal(statement("citus_kind", relid="$1")),
            create_run_table=template("create_run_table"),
            create_batch_table=template("create_batch_table"),
            create_child_table=template("create_child_table"),
            ledger_owner=statement("ledger_owner", owner="v_owner"),
            revoke_schema=template("revoke_schema"),
            run_relation=statement("run_relation"),
            run_objects=statement("run_objects", relid="v_relid"),
            find_same=find_same(key),
            chosen=choice.condition,
            order=choice.order,
            **key_holes,
            resume_run=resume_run,
            revoke_run=_private("dupe_audit.run"),
            revoke_batch=_private("dupe_audit.batch"),
            revoke_child=_private("dupe_audit.child"),
            revision=literal(revision),
            version=literal(ledger.VERSION),
            **ledger.rule_holes(rule),
        )
    )
    script.line("CALL pg_temp.dupe_audit_open(NULL) \\gset dupe_audit_")


def cleanup_procedure(script: Script, key: UniqueKey, build: BuildRule, accept: Collection[str]) -> None:
    """Write the temporary procedure that cleans a run by its rule, unless the script already has it."""
    if not script.needs_part("clean"):
        return
    script.fill_function()
    script.expressions_function()
    script.measure_function()
    rule_columns = {
        "key": parts_of_run("key_columns", "key_expressions", without=True),
        "expressions": parts_of_run("key_columns", "key_expressions"),
        "predicate": "v_rule.predicate",
        "order_by": parts_of_run("order_by", "order_expressions", without=True),
        "order_expressions": parts_of_run("order_by", "order_expressions"),
        "directions": "v_rule.directions",
        "ignore": "v_rule.ignored",
        "keep": "v_rule.keep",
        "divergent": "v_rule.divergent",
        "nulls_not_distinct": "v_rule.nulls_not_distinct",
    }
    names = f"pg_catalog.array_remove({rule_columns['key']}, NULL)"
    blockers = statement(
        "blockers",
        relid="v_relid",
        key=names,
        expressions=f"pg_catalog.array_remove({rule_columns['expressions']}, NULL)",
        expression_types="v_types",
        named=f"pg_catalog.array_remove({rule_columns['order_by']}, NULL) OPERATOR(pg_catalog.||) v_rule.ignored",
        constraint_name="v_rule.constraint_name",
        nulls_not_distinct=rule_columns["nulls_not_distinct"],
        default_read_only="false",
    )
    pairs = f"pg_temp.dupe_audit_fill({quoted('staged_pairs')}, v_holes)"
    errors = (id_ for id_, entry in CATALOGUE.items() if entry.severity == "error" and id_ not in accept)
    script.write(
        statement(
            "offline_clean",
            relid=catalog.relid_sql(key),
            run_relation=statement("run_relation"),
            expressions=rule_columns["expressions"],
            blockers=blockers,
            errors=text_array(errors),
            fragments=statement("fragments", relid="v_relid", **rule_columns),
            references=statement("references", relid="v_relid"),
            child_triggers=statement("child_triggers", relid="v_relid"),
            collisions=statement("collisions", relid="v_relid", pairs=pairs),
            locked=statement("create_locked"),
            locked_child=statement("create_locked_children"),
            where_staged=literal(WHERE_STAGED),
            anywhere=literal(ANYWHERE),
            give_up_after=interval(build),
            lock_timeout=literal(build.lock_timeout),
            insertable=statement(
                "insertable",
                relid="v_relid",
                key_names=names,
                own_index="(CASE WHEN v_rule.building THEN v_rule.constraint_name END)",
            ),
            toasted=statement("toasted", relid="v_relid"),
            differing_columns=differing_columns(),
            counts_tracked=statement("counts_tracked"),
            changed_children=statement("changed_children", relid="v_relid"),
            delete_triggers=statement("delete_triggers", relid="v_relid"),
            first=str(pace.FIRST),
            growth=str(pace.GROWTH),
            margin=str(pace.MARGIN),
            weight=str(pace.WEIGHT),
            change=str(pace.CHANGE),
            fading=str(pace.FADING),
            share=str(pace.SHARE),
            target=str(pace.TARGET),
            most_bytes=str(pace.MOST_BYTES),
            ranking=text_array(switched_off(RANKING)),
            batching=text_array(switched_off(BATCHING)),
            **{f"t_{name}": quoted(name) for name in CLEANUP_TEMPLATES},
        )
    )


def undo_function(
    script: Script, key: UniqueKey, choice: ledger.Choice, *, required: bool, any_run_suffices: bool = False
) -> None:
    """Write the temporary function that finds the run to undo, and stops if its rows could not be restored.

    Args:
        choice: which run to undo.
        required: whether the ledger must have such a run.
        any_run_suffices: whether a run of another key of the table satisfies that.
    """
    script.trust_function()
    script.fill_function()
    script.write(
        statement(
            "offline_undo",
            relid=catalog.relid_sql(key),
            table_name=literal(key.table),
            run_relation=statement("run_relation"),
            find_same=find_same(key),
            condition=choice.condition,
            order=choice.order,
            outstanding=ledger.OUTSTANDING,
            run_objects=statement("run_objects", relid="v_relid"),
            required=literal(required),
            any_run_suffices=literal(any_run_suffices),
            t_restore_fragments=quoted("restore_fragments"),
            t_archive_sums=quoted("archive_sums"),
        )
    )


def state_function(script: Script, key: UniqueKey) -> None:
    """Write the temporary function that reports the state of the key's index, and stops if the name is taken."""
    script.trust_function()
    script.comparing_function()
    relid = catalog.relid_sql(key)
    script.write(
        statement(
            "offline_state",
            name=literal(key.name),
            relid=relid,
            run_relation=statement("run_relation"),
            index_state=statement("index_state", relid=f"({relid})", **catalog.index_state_holes(key)),
            **comparison_holes(key),
        )
    )


def find_same(key: UniqueKey) -> str:
    """Return the PL/pgSQL statement that finds the runs whose key means the same, for ``ledger.of_key``."""
    return "NULL" if key.is_plain else f"EXECUTE {literal(ledger.same_runs_sql(catalog.relid_sql(key), key))}"


def _private(name: str) -> str:
    return statement("revoke_all", object_name=literal(name))
