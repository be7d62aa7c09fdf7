"""What a script judges first: the server, a pooler in front of it, and what manages the tables."""

from __future__ import annotations

from collections.abc import Iterable

from alembic.operations import MigrateOperation, Operations

from dupe_audit.directives.operations import DropUniqueConstraintOnlineOp, RestoreDuplicatesOp
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.script.parts import Script
from dupe_audit.postgres import catalog
from dupe_audit.statements import literal, statement

#: directives that only undo what an upgrade has done
_BACK = (DropUniqueConstraintOnlineOp, RestoreDuplicatesOp)

#: of psql, which knows where it is connected to
_ADDRESS = "SELECT {} \\gset dupe_audit_".format(
    ", ".join(
        f"pg_catalog.set_config('dupe_audit.{name}', :'{name.upper()}', false) AS {name}" for name in ("host", "port")
    )
)


def judge_server(operations: Operations, directives: Iterable[MigrateOperation], options: Overrides) -> None:
    """Write what stops the script if its server is unsuitable or another product manages a table, each judged once.

    A table that has become a hypertable since the upgrade can still be downgraded (tried).

    Args:
        directives: that follow.
        options: of the command: findings that do not stop it, and settings, which are tried.
    """
    script = Script(operations)
    if script.is_unjudged("server"):
        # A psql that continues after errors would execute the first directive although the server is refused.
        script.line("\\set ON_ERROR_STOP on")
        script.line(_ADDRESS)
        address = {name: f"pg_catalog.current_setting('dupe_audit.{name}')" for name in ("host", "port")}
        script.write(
            statement(
                "offline_server",
                pooled_address=statement("pooled_address", **address),
                refuses_pooler=literal("transaction-pooler" not in options.accept),
            )
        )
        # What the server does not accept stops the script here, and not after a part of its work.
        with script.with_settings(options.settings()):
            pass
    cleaned_or_built = [each for each in directives if not isinstance(each, _BACK)]
    keys = [each.key for each in cleaned_or_built]  # type: ignore[attr-defined]
    tables = {catalog.relid_sql(key): key.table for key in keys}
    unjudged = [relid for relid in tables if script.is_unjudged(relid)]
    if unjudged:
        with script.in_transaction():
            for relid in unjudged:
                script.write(
                    statement(
                        "offline_hypertable",
                        relid=relid,
                        table_name=literal(tables[relid]),
                        hypertable_catalog=statement("hypertable_catalog"),
                        hypertable_kind=literal(statement("hypertable_kind", relid="$1")),
                    )
                )
