"""The same steps as reviewable SQL for ``alembic upgrade --sql``: run it with ``psql -v ON_ERROR_STOP=1``.

The script meets the catalog only when it runs, so the statements of the online way travel with it as templates,
and a temporary function fills them there. Each directive ends in a guard inside the transaction that stamps the
version: where anything is not as it must be, the version is not stamped, whatever psql was told to do on errors.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from alembic.operations import Operations
from alembic.util import CommandError

from dupe_audit import ledger
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import WIDEST_KEY, BuildRule, CleanupRule, UniqueKey, milliseconds
from dupe_audit.postgres import catalog
from dupe_audit.postgres.locking import LOCK_NAMESPACE
from dupe_audit.postgres.planner import ANYWHERE, BATCHING, RANKING, SEQUENTIAL, WHERE_STAGED, switched_off
from dupe_audit.statements import fill, ident, literal, statement, template, text_array

#: what the script sets for its session, and resets at its end
SESSION = {
    "default_transaction_isolation": "'read committed'",
    "default_transaction_read_only": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",
    # A killed psql must not leave a build behind that nobody waits for.
    "client_connection_check_interval": "'1s'",
}


#: what ends a dollar-quoted part of the script; a name that holds one would end it too
_TAGS = re.compile(r"\$(fill|open|clean|state|guard|attach|restore|statement|dropped|dupe_audit)\$")


def archive_duplicates(
    operations: Operations, key: UniqueKey, rule: CleanupRule, *, accept: Collection[str], revision: str | None
) -> None:
    """Write the script that archives the extras of *key*."""
    _check_names(key, rule)
    relid, columns = catalog.relid_sql(key), text_array(key.columns)
    ready = (
        f"EXISTS (SELECT FROM dupe_audit.run r WHERE r.relid = ({relid}) AND r.key_columns @> {columns} "
        f"AND r.key_columns <@ {columns} AND r.state IN ('clean', 'enforced'))"
    )
    with operations.migration_context.autocommit_block():
        _write(operations, f"-- dupe-audit: archive the duplicates of {_line(key)}", end="")
        _open(operations, key, rule, BuildRule(), revision)
        _clean(operations, BuildRule(), accept)
        _write(operations, "CALL pg_temp.dupe_audit_clean(:dupe_audit_v_run)")
        _reset(operations)
    _guard(operations, ready, f"the duplicates of {_line(key)} are not archived")


def create_unique_constraint(
    operations: Operations, key: UniqueKey, rule: BuildRule, *, accept: Collection[str], revision: str | None
) -> None:
    """Write the script that builds, attaches and proves the constraint."""
    _check_names(key)
    name, relid, table = str(key.name), catalog.relid_sql(key), _table(key)
    with operations.migration_context.autocommit_block():
        _write(operations, f"-- dupe-audit: enforce {_line(key)} as {_line(name)}, online", end="")
        _open(operations, key, None, rule, revision)
        _clean(operations, rule, accept)
        _write(
            operations,
            statement(
                "offline_state",
                relid=relid,
                name=literal(name),
                index_state=statement("index_state", relid=f"({relid})", **catalog.index_state_holes(key)),
            ),
        )
        for attempt in range(1, rule.build_attempts + 1):
            _attempt(operations, key, rule, attempt)
        _drop_leftover(operations, key)
        form = f" DEFERRABLE INITIALLY {key.initially}" if key.deferrable else ""
        attach = statement("attach", table=table, name=ident(name), form=form)
        _write(operations, _retried(attach, _has_constraint(key, relid), relid, rule))
        if rule.comment is not None:
            comment = statement("comment_constraint", name=ident(name), table=table, comment=literal(rule.comment))
            _write(operations, _retried(comment, "false", relid, rule))
        _reset(operations)
    fragments = statement("fragments", relid=f"({relid})", **catalog.rule_fragment_holes(key, CleanupRule()))
    _write(
        operations,
        fill(
            template("offline_guard"),
            name=literal(name),
            relid=relid,
            fragments=fragments,
            sequential=text_array(switched_off(SEQUENTIAL)),
            t_count_extras=_quoted("count_extras"),
        ),
    )


def _attempt(operations: Operations, key: UniqueKey, rule: BuildRule, attempt: int) -> None:
    """Write one build, skipped where the index is there; later ones clean first what stopped the one before."""
    _write(operations, f"-- build {attempt} of {rule.build_attempts}, unless the index is there", end="")
    _drop_leftover(operations, key)
    _write(operations, "\\if :dupe_audit_absent", end="")
    if attempt > 1:
        _write(operations, "CALL pg_temp.dupe_audit_clean(:dupe_audit_v_run)")
    mark = f"SET building = true, constraint_name = {literal(key.name)} WHERE id = :dupe_audit_v_run"
    _write(operations, f"UPDATE dupe_audit.run {mark}")
    _write(operations, "-- a duplicate that arrives meanwhile fails this", end="")
    _write(operations, "\\set ON_ERROR_STOP off", end="")
    _write(
        operations,
        catalog.build_index_sql(key, _table(key)),
    )
    _write(operations, "\\set ON_ERROR_STOP on", end="")
    _write(operations, "\\endif", end="")


def _drop_leftover(operations: Operations, key: UniqueKey) -> None:
    """Write the removal of an unfinished index of ours, and ask again what is there."""
    index = ident(key.schema, str(key.name)) if key.schema else ident(str(key.name))
    ask = "SELECT absent, leftover FROM pg_temp.dupe_audit_state() \\gset dupe_audit_"
    _write(operations, ask, end="")
    _write(operations, "\\if :dupe_audit_leftover", end="")
    _write(operations, statement("drop_index", index=index))
    _write(operations, ask, end="")
    _write(operations, "\\endif", end="")


def drop_unique_constraint(operations: Operations, key: UniqueKey, rule: BuildRule) -> None:
    """Write the script that drops the constraint."""
    _check_names(key)
    relid = catalog.relid_sql(key)
    drop = statement("drop_constraint", table=_table(key), name=ident(str(key.name)))
    with operations.migration_context.autocommit_block():
        _write(operations, f"-- dupe-audit: drop {_line(key.name)}", end="")
        _write(operations, _retried(drop, f"NOT {_has_constraint(key, relid)}", relid, rule))
    _guard(operations, f"NOT {_has_constraint(key, relid)}", f"{_line(key.name)} is still there")
    _write(
        operations,
        "DO $dropped$ BEGIN IF pg_catalog.to_regclass('dupe_audit.run') IS NOT NULL THEN UPDATE dupe_audit.run "
        f"SET state = 'dropped', building = false WHERE relid = ({relid}) AND constraint_name = {literal(key.name)} "
        "AND state IN ('cleaning', 'clean', 'enforced'); END IF; END $dropped$",
    )


def restore_duplicates(operations: Operations, key: UniqueKey) -> None:
    """Write the script that puts the archived rows back."""
    _check_names(key)
    relid, key_array = catalog.relid_sql(key), text_array(key.columns)
    with operations.migration_context.autocommit_block():
        _write(operations, f"-- dupe-audit: restore the rows of {_line(key)}", end="")
        _settings(operations)
        if _first(operations, "fill"):
            _write(operations, template("offline_fill"))
        _write(
            operations,
            fill(
                template("offline_restore"),
                relid=relid,
                key=key_array,
                batch_size="5000",
                t_restore_fragments=_quoted("restore_fragments"),
                t_restore_rows=_quoted("restore_rows"),
                references=statement("references", relid="v_run.relid"),
                t_return_children=_quoted("return_children"),
                t_record_batch=_quoted("record_batch"),
            ),
        )
        _write(operations, "CALL pg_temp.dupe_audit_restore()")
        _reset(operations)


def _open(
    operations: Operations, key: UniqueKey, rule: CleanupRule | None, build: BuildRule, revision: str | None
) -> None:
    """Write the settings, and what takes the run lock and opens the run; psql keeps the run's id."""
    _settings(operations)
    _write(
        operations,
        fill(
            template("offline_open"),
            relid_query=catalog.relid_sql(key),
            table_name=literal(key.table),
            give_up_after=_interval(build),
            lock_namespace=str(LOCK_NAMESPACE),
            create_run_table=template("create_run_table"),
            create_batch_table=template("create_batch_table"),
            create_child_table=template("create_child_table"),
            revoke_run=_private("dupe_audit.run"),
            revoke_batch=_private("dupe_audit.batch"),
            revoke_child=_private("dupe_audit.child"),
            key=text_array(key.columns),
            nulls_not_distinct=literal(key.nulls_not_distinct),
            constraint_name=literal(key.name),
            revision=literal(revision),
            version=literal(ledger.VERSION),
            **ledger.rule_holes(rule),
        ),
    )
    _write(operations, "CALL pg_temp.dupe_audit_open(NULL) \\gset dupe_audit_", end="")


def _clean(operations: Operations, build: BuildRule, accept: Collection[str]) -> None:
    """Write the temporary procedure that cleans a run by its rule; once a script."""
    if not _first(operations, "clean"):
        return
    if _first(operations, "fill"):
        _write(operations, template("offline_fill"))
    templates = (
        "measure",
        "revoke_all",
        "create_archive",
        "finish_archive",
        "archive_drift",
        "stage",
        "divergent",
        "enter_child",
        "create_record",
        "finish_record",
        "stage_children",
        "batch_end",
        "lock_rows",
        "lock_children",
        "judge_extras",
        "repoint_children",
        "move_rows",
        "record_batch",
    )
    _write(
        operations,
        fill(
            template("offline_clean"),
            blockers=statement(
                "blockers",
                relid="v_relid",
                key="v_rule.key_columns",
                named="v_rule.order_by || v_rule.ignored",
                constraint_name="v_rule.constraint_name",
                nulls_not_distinct="v_rule.nulls_not_distinct",
                default_read_only="false",
            ),
            errors=text_array(
                id_ for id_, entry in CATALOGUE.items() if entry.severity == "error" and id_ not in accept
            ),
            widest_key=str(WIDEST_KEY),
            fragments=statement(
                "fragments",
                relid="v_relid",
                key="v_rule.key_columns",
                order_by="v_rule.order_by",
                ignore="v_rule.ignored",
                keep="v_rule.keep",
                divergent="v_rule.divergent",
                nulls_not_distinct="v_rule.nulls_not_distinct",
            ),
            references=statement("references", relid="v_relid"),
            child_triggers=statement("child_triggers", relid="v_relid"),
            collisions=statement(
                "collisions", relid="v_relid", pairs=f"pg_temp.dupe_audit_fill({_quoted('staged_pairs')}, v_holes)"
            ),
            locked=statement("create_locked"),
            locked_child=statement("create_locked_children"),
            where_staged=literal(WHERE_STAGED),
            anywhere=literal(ANYWHERE),
            give_up_after=_interval(build),
            lock_timeout=literal(build.lock_timeout),
            ranking=text_array(switched_off(RANKING)),
            batching=text_array(switched_off(BATCHING)),
            **{f"t_{name}": _quoted(name) for name in templates},
        ),
    )


def _private(name: str) -> str:
    return statement("revoke_all", object_name=literal(name))


def _first(operations: Operations, part: str) -> bool:
    """Return whether a part of the script is needed for the first time; its temporary objects serve the rest."""
    written = operations.migration_context.opts.setdefault("dupe_audit_written", set())
    if part in written:
        return False
    written.add(part)
    return True


def _table(key: UniqueKey) -> str:
    return ident(key.schema, key.table) if key.schema else ident(key.table)


def _interval(build: BuildRule) -> str:
    return literal(f"{milliseconds(build.give_up_after)} ms")


def _settings(operations: Operations) -> None:
    for name, value in SESSION.items():
        _write(operations, f"SET {name} = {value}")


def _reset(operations: Operations) -> None:
    for name in SESSION:
        _write(operations, f"RESET {name}")


def _has_constraint(key: UniqueKey, relid: str) -> str:
    return (
        f"EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = ({relid}) "
        f"AND c.conname = {literal(key.name)} AND c.contype = 'u')"
    )


def _retried(action: str, done: str, relid: str, rule: BuildRule) -> str:
    return fill(
        template("offline_attach"),
        action=action,
        done=done,
        relid=relid,
        lock_timeout=literal(rule.lock_timeout),
        give_up_after=_interval(rule),
    )


def _guard(operations: Operations, condition: str, otherwise: str) -> None:
    _write(
        operations,
        f"DO $guard$ BEGIN IF NOT ({condition}) THEN RAISE EXCEPTION 'dupe-audit: %', {literal(otherwise)}; "
        "END IF; END $guard$",
    )


def _quoted(name: str) -> str:
    """Return a template as a dollar-quoted string, its holes unfilled."""
    return f"$statement${template(name)}$statement$"


def _check_names(key: UniqueKey, rule: CleanupRule | None = None) -> None:
    """Refuse names that would end a quoted part of the script."""
    extra = (*rule.order_by, *rule.ignore) if rule else ()
    for name in (key.table, key.schema or "", key.name or "", *key.columns, *key.include, *extra):
        if _TAGS.search(name):
            raise CommandError(f"The name {name!r} cannot stand in an SQL script of this software; upgrade online.")


def _line(text: object) -> str:
    """Return text for an SQL comment or message: one line."""
    return " ".join(str(text).split())


def _write(operations: Operations, sql: str, end: str = ";") -> None:
    operations.migration_context.impl.static_output(sql + end)
