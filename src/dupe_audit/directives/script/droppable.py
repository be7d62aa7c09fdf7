"""The temporary functions of the script that say whether it may drop a constraint or an index."""

from __future__ import annotations

from dupe_audit import ledger
from dupe_audit.constraint import name_owner_sql
from dupe_audit.directives.script.parts import Script
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.statements import literal, statement


def droppable_index_function(script: Script, key: UniqueKey, *, keeps_adopted: bool) -> None:
    """Write the temporary function that says whether a script may drop the index; ``undo_function`` comes before it."""
    script.write(
        statement(
            "offline_droppable_index",
            relid=catalog.relid_sql(key),
            run_relation=statement("run_relation"),
            name=literal(key.name),
            order=ledger.choose_by_name(key.name).order,
            keeps_adopted=literal(keeps_adopted),
            name_owner=name_owner_sql("v_relid", str(key.name)),
        )
    )


def droppable_procedure(script: Script, key: UniqueKey, *, keeps_adopted: bool) -> None:
    """Write the temporary procedure that stops if a script cannot drop what has the constraint's name."""
    script.trust_function()
    name = literal(key.name)
    script.write(
        statement(
            "offline_droppable",
            relid=catalog.relid_sql(key),
            run_relation=statement("run_relation"),
            name=name,
            order=ledger.choose_by_name(key.name).order,
            keeps_adopted=literal(keeps_adopted),
            name_owner=name_owner_sql("v_relid", str(key.name)),
        )
    )
