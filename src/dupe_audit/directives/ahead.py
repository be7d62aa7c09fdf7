"""What a script judges before its first change: whether the constraints of the whole revision can be created."""

from __future__ import annotations

from collections.abc import Collection

from alembic.operations import MigrateOperation, Operations

from dupe_audit.directives.effects import effect
from dupe_audit.directives.operations import CreateUniqueConstraintOnlineOp
from dupe_audit.directives.quoting import check_names
from dupe_audit.directives.recording import Recording
from dupe_audit.directives.script import Script
from dupe_audit.directives.verdict import NOT_ABOUT_THE_BUILD
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.statements import literal, statement, text_array


def judge_ahead(operations: Operations, recording: Recording | None, accept: Collection[str]) -> None:
    """Write what stops the script, before it changes anything, if a constraint cannot be created.

    A constraint after a statement that can change a definition is judged when it is created, and so are those after
    another directive for its name.

    Args:
        recording: of the revision; None if its directives are not known.
        accept: ids of findings that do not stop the script.
    """
    items = recording.items if recording else ()
    names: set[str | None] = set()
    begun = False
    for item in items:
        if not isinstance(item, MigrateOperation):
            if begun and effect(item.construct).definition:
                return
            continue
        name = item.key.name  # type: ignore[attr-defined]
        if begun and isinstance(item, CreateUniqueConstraintOnlineOp) and name not in names:
            _judge(operations, item.key, accept)
        begun = True
        names.add(name)


def _judge(operations: Operations, key: UniqueKey, accept: Collection[str]) -> None:
    check_names(key)
    script = Script(operations)
    # Until the end of the transaction that Alembic has begun; what follows reads catalogs alone.
    script.write("SET LOCAL lock_timeout = '5s'")
    script.write("SET LOCAL statement_timeout = 0")
    script.trust_function()
    ignored = {*accept, *NOT_ABOUT_THE_BUILD, "untrusted-ledger"}  # the first directive judges the ledger
    errors = (id_ for id_, entry in CATALOGUE.items() if entry.severity == "error" and id_ not in ignored)
    blockers = statement(
        "blockers",
        relid="v_relid",
        key=text_array(key.columns),
        named=text_array(key.include),
        constraint_name=literal(key.name),
        nulls_not_distinct=literal(key.nulls_not_distinct),
        default_read_only="false",
    )
    script.write(
        statement(
            "offline_judge",
            relid=catalog.relid_sql(key),
            table_name=literal(key.table),
            blockers=blockers,
            errors=text_array(errors),
        )
    )
