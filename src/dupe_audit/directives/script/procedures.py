"""The temporary procedures of the script that open a run, prove that it can be undone, and judge an index."""

from __future__ import annotations

from dupe_audit import ledger
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.quoting import comparison_holes, interval, with_templates
from dupe_audit.directives.script.undone import Undone
from dupe_audit.model import LEDGER_LOCK_TIMEOUT, BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.locking import LOCK_NAMESPACE, lock_holder_sql
from dupe_audit.statements import literal, statement, template, text_array

#: what a script says, inside a literal, about a table for which it was not printed
_PARTITIONED = (
    "is partitioned, but this script was printed for a table that is not; print it again with "
    "alembic -x dupe_audit.partitioned=% upgrade --sql, or execute the upgrade online"
)
_NOT_PARTITIONED = (
    "is not partitioned, but this script was printed with -x dupe_audit.partitioned=%; "
    "print it again without the option"
)


def open_run(
    script: Script,
    key: UniqueKey,
    rule: CleanupRule | None,
    build: BuildRule,
    revision: str | None,
    choice: ledger.Choice,
    *,
    tree: bool = False,
) -> None:
    """Write what creates the ledger, takes the run lock, and opens or continues the run.

    Args:
        choice: which run to continue.
        tree: whether the script is for a partitioned table.
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
            for_tree=literal(tree),
            is_another_kind=_NOT_PARTITIONED if tree else _PARTITIONED,
            lock_namespace=str(LOCK_NAMESPACE),
            run_holder=lock_holder_sql("v_relid"),
            try_ledger_lock=statement("try_ledger_lock", namespace=str(LOCK_NAMESPACE)),
            ledger_holder=lock_holder_sql("0"),
            ledger_patience=literal(LEDGER_LOCK_TIMEOUT),
            citus_kind=literal(statement("citus_kind", relid="$1")),
            create_run_table=template("create_run_table"),
            create_batch_table=template("create_batch_table"),
            create_child_table=template("create_child_table"),
            create_leaf_table=template("create_leaf_table"),
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
            revoke_leaf=_private("dupe_audit.leaf"),
            revision=literal(revision),
            version=literal(ledger.VERSION),
            **ledger.rule_holes(rule),
        )
    )
    script.line("CALL pg_temp.dupe_audit_open(NULL) \\gset dupe_audit_")


def undo_function(
    script: Script, key: UniqueKey, choice: ledger.Choice, undone: Undone, *, any_run_suffices: bool = False
) -> None:
    """Write the temporary function that finds the run to undo, and stops if its rows could not be restored.

    Args:
        choice: which run to undo.
        undone: what is known of it.
        any_run_suffices: whether a run of another key of the table satisfies that.
    """
    script.trust_function()
    script.fill_function()
    if script.needs_part("images", undone.images):
        script.write(with_templates("offline_images" if undone.images else "offline_unchanged"))
    script.write(
        with_templates(
            "offline_undo",
            relid=catalog.relid_sql(key),
            table_name=literal(key.table),
            run_relation=statement("run_relation"),
            find_same=find_same(key),
            condition=choice.condition,
            order=choice.order,
            outstanding=ledger.OUTSTANDING,
            run_objects=statement("run_objects", relid="v_relid"),
            required=literal(undone.required),
            any_run_suffices=literal(any_run_suffices),
            batch_sums=statement("batch_sums", run="v_run"),
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


def judged_key(key: UniqueKey, *, note: str = "''", judge_width: bool = False) -> str:
    """Return the statement that stops if a key cannot be computed, or its expressions cannot be in an index.

    Args:
        note: what messages say after the problem, as an SQL value.
        judge_width: whether it also stops if a key is too wide for an index.
    """
    return statement(
        "offline_judge_key",
        relid=catalog.relid_sql(key),
        expressions=text_array(filter(None, key.expressions)),
        predicate=literal(key.where),
        fragments=statement("fragments", relid="v_relid", **catalog.rule_fragment_holes(key, CleanupRule())),
        note=note,
        judge_width=literal(judge_width),
    )


def find_same(key: UniqueKey) -> str:
    """Return the PL/pgSQL statement that finds the runs whose key means the same, for ``ledger.key_condition``."""
    return "NULL" if key.is_plain else f"EXECUTE {literal(ledger.same_runs_sql(catalog.relid_sql(key), key))}"


def _private(name: str) -> str:
    return statement("revoke_all", object_name=literal(name))
