"""The temporary functions of the script for a partitioned table, which read its leaves when they are executed.

The script notes the partitions when it first works on the table. It stops if one is added, removed or replaced before
any level has the constraint. Whatever is archived and built by then stays, and the same script continues from there.
"""

from __future__ import annotations

from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.script.quoting import with_templates
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.trees import ALIAS, PLACEHOLDER
from dupe_audit.statements import literal, statement


def tree_functions(script: Script, key: UniqueKey) -> None:
    """Write what notes the partitions, unless the script has noted them, and the functions that every task needs."""
    script.fill_function()
    relid = catalog.relid_sql(key)
    if script.is_unjudged(f"partitions of {relid}"):
        script.write(statement("offline_note_tree", relid=relid, tree=statement("tree", relid="v_root")))
    if script.needs_part("leaves"):
        script.write(statement("offline_same_tree", tree=statement("tree", relid="v_root")))
        script.write(statement("offline_named", leaf_name=literal(PLACEHOLDER), leaf_alias=literal(ALIAS)))
        script.write(with_templates("offline_of_leaf"))


def clean_tree(expressions: str, errors: str, sequential: str, **states: str) -> str:
    """Return the temporary procedure that cleans all leaves of a run ``v_rule``.

    Args:
        expressions: of the key, as an SQL value.
        errors: ids of the findings that stop a cleanup, as an SQL value.
        sequential: settings of the count in each leaf, as SQL rows.
        states: statements that set the state of the run, by the name of their hole.
    """
    return with_templates("offline_clean_tree", expressions=expressions, errors=errors, sequential=sequential, **states)


def tree_blockers(blockers: str, names: str, relid: str = "v_relid") -> str:
    """Return the query for what the catalog says against a constraint on a tree.

    Args:
        blockers: the same query for the root alone.
        names: columns of the key, as an SQL value.
        relid: oid of the root, as an SQL value.
    """
    return statement(
        "offline_tree_blockers",
        blockers=blockers,
        relid=relid,
        tree_blockers=statement("tree_blockers", relid=relid, key=names),
        tree_locks=statement("tree_locks", relid=relid),
    )
