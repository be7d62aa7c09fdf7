r"""The script that enforces a key on a partitioned table: psql builds the index of each leaf, then all are adopted.

A concurrent build cannot be inside a procedure, and only psql can execute the statements that a query returns
(``\gexec``).
"""

from __future__ import annotations

from collections.abc import Collection

from dupe_audit.constraint import constraint_form, memory
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.script.cleaning import CLEAN
from dupe_audit.directives.script.leaves import tree_blockers, tree_functions
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.quoting import comparison_holes, counting_settings, interval, quoted, with_templates
from dupe_audit.directives.verdict import NOT_ABOUT_THE_BUILD
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import MAX_IDENTIFIER, BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.locks import ACCESS_EXCLUSIVE, SHARE
from dupe_audit.postgres.trees import ALIAS, PLACEHOLDER
from dupe_audit.preflight import beside
from dupe_audit.statements import literal, statement, text_array

#: whether the root lacks a valid index
_UNFINISHED = "SELECT NOT s.enforced AS unfinished FROM pg_temp.dupe_audit_state() AS s \\gset dupe_audit_"

#: whether some leaf lacks its index
_LACKING = (
    "SELECT pg_catalog.count(*) > 0 AS lacking FROM pg_temp.dupe_audit_parts(:dupe_audit_v_run) AS p "
    "WHERE NOT p.is_tree AND NOT p.attached AND p.own IS NULL \\gset dupe_audit_"
)


def enforce_tree(script: Script, key: UniqueKey, rule: BuildRule, *, options: Overrides, may_clean: bool) -> None:
    """Write what builds the index of each leaf, adopts them all, and counts; needs ``state_function`` before it.

    Args:
        options: of the command: findings that do not stop it, and the memory of the count.
        may_clean: whether duplicates that stop a build are handled by the cleanup of this revision.
    """
    tree_functions(script, key)
    _functions(script, key, rule, options)
    script.line(_UNFINISHED)
    script.line("\\if :dupe_audit_unfinished")
    script.write("CALL pg_temp.dupe_audit_enter_parts(:dupe_audit_v_run)")
    building = {"run": ":dupe_audit_v_run", "name": literal(key.name), "keeps_adopted": literal(False)}
    script.write(statement("mark_building", **building))
    script.comment_on_builds(rule.build_attempts)
    for attempt in range(1, rule.build_attempts + 1):
        _build_leaves(script, key, rule, attempt, may_clean=may_clean)
    _drop_leftovers(script)
    script.write("CALL pg_temp.dupe_audit_adopt_tree(:dupe_audit_v_run)")
    script.line("\\endif")
    script.write("CALL pg_temp.dupe_audit_count_tree(:dupe_audit_v_run)")


def guard_tree(script: Script, key: UniqueKey) -> None:
    """Write what stops the script before the version is stamped, unless the whole tree enforces the key."""
    relid = f"({catalog.relid_sql(key)})"
    parts = statement(
        "tree_parts",
        relid=relid,
        index="pg_catalog.to_regclass((SELECT s.qualified_name FROM pg_temp.dupe_audit_state() AS s))",
        is_constraint=literal(key.form == "constraint"),
        deferrable=literal(key.deferrable),
        deferred=literal(key.initially == "DEFERRED"),
    )
    name, counted = literal(key.name), _counted_tree(key)
    script.write(
        statement("offline_guard_tree", relid=relid, form=key.form, name=name, tree_parts=parts, counted=counted)
    )


def _counted_tree(key: UniqueKey) -> str:
    """Return the value of the session's setting that says which tree was counted, as an SQL value."""
    return literal(f"{key.schema or ''}.{key.table} {key.name}")


def _build_leaves(script: Script, key: UniqueKey, rule: BuildRule, attempt: int, *, may_clean: bool) -> None:
    """Write one build of every leaf that lacks its index; a later one first archives what stopped the one before."""
    script.line(f"-- build {attempt} of {rule.build_attempts} of the missing indexes")
    _drop_leftovers(script)
    script.line("\\if :dupe_audit_lacking")
    if attempt > 1:
        script.pause(attempt)
        if may_clean:
            script.write(CLEAN)
    script.line("-- the build on a leaf fails if a duplicate arrives there in the meantime")
    script.line("\\set ON_ERROR_STOP off")
    if not key.is_plain:
        # The server's message can contain the value for which an expression fails.
        script.line("\\set dupe_audit_verbosity :VERBOSITY")
        script.line("\\set VERBOSITY sqlstate")
    with script.with_settings(memory(rule)):
        script.line("SELECT records, builds FROM pg_temp.dupe_audit_leaf_builds(:dupe_audit_v_run) \\gexec")
    if not key.is_plain:
        script.line("\\set VERBOSITY :dupe_audit_verbosity")
    script.line("\\set ON_ERROR_STOP on")
    script.line("\\endif")


def _drop_leftovers(script: Script) -> None:
    """Write what drops unfinished indexes of ours, and reads whether some are missing."""
    script.line("SELECT drops, records FROM pg_temp.dupe_audit_leaf_drops(:dupe_audit_v_run) \\gexec")
    script.line(_LACKING)


def _functions(script: Script, key: UniqueKey, rule: BuildRule, options: Overrides) -> None:
    """Write the temporary functions and procedures that build, adopt and count."""
    relid, tree = catalog.relid_sql(key), statement("tree", relid="v_root")
    definition = {name: literal(value) for name, value in catalog.definition_holes(key).items()}
    is_constraint = literal(key.form == "constraint")
    script.comparing_function()
    script.write(
        statement("offline_parts", relid=relid, name=literal(key.name), tree=tree, longest_name=str(MAX_IDENTIFIER))
    )
    holes = {**catalog.index_state_holes(key), "name": "v_name"}
    index_state = statement("index_state", relid="v_relid", **holes)
    script.write(statement("offline_part_state", index_state=index_state, **comparison_holes(key)))
    script.write(with_templates("offline_leaf_drops"))
    script.write(with_templates("offline_leaf_builds", **definition))
    script.write(
        statement(
            "offline_enter_parts",
            relid=relid,
            tree=tree,
            blockers=tree_blockers(
                statement("offline_no_blockers"), text_array(filter(None, key.names)), relid="v_root"
            ),
            errors=_errors(options.accept),
            is_constraint=is_constraint,
        )
    )
    script.write(
        with_templates(
            "offline_adopt_tree",
            relid=relid,
            give_up_after=interval(rule),
            lock_timeout=literal(rule.lock_timeout),
            level_lock=literal(ACCESS_EXCLUSIVE if key.form == "constraint" else SHARE),
            only_level=quoted("add_only" if key.form == "constraint" else "build_only"),
            is_constraint=is_constraint,
            form=literal(constraint_form(key)),
            **definition,
        )
    )
    script.write(_count(key, options.work_mem))


def _count(key: UniqueKey, work_mem: str | None) -> str:
    """Return the temporary procedure that counts the extras of each leaf."""
    fragments = catalog.rule_fragment_holes(key, CleanupRule(), placeholders=(PLACEHOLDER, ALIAS))
    return with_templates(
        "offline_count_tree",
        relid=catalog.relid_sql(key),
        tree=statement("tree", relid="v_root"),
        fragments=statement("fragments", relid="v_root", **fragments),
        sequential=counting_settings(work_mem),
        counted=_counted_tree(key),
    )


def _errors(accept: Collection[str]) -> str:
    """Return the ids of the findings that stop a build, as an SQL value."""
    ignored = {*accept, *beside(CleanupRule()), *NOT_ABOUT_THE_BUILD}
    return text_array(id_ for id_, entry in CATALOGUE.items() if entry.severity == "error" and id_ not in ignored)
