"""The schema ``dupe_audit`` in the user's database: runs, batches, archives. Truth is there, not in a file."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sqlalchemy import Connection

from dupe_audit.errors import DupeAuditError
from dupe_audit.model import CleanupRule, Run, RunState, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import LOCK_NAMESPACE, transaction
from dupe_audit.statements import ident, literal, statement, text_array

try:
    VERSION = version("dupe-audit")
except PackageNotFoundError:  # run from a source tree that was never installed
    VERSION = "0+unknown"


#: where a batch notes which rows it could lock; empty again at its commit
LOCKED = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS dupe_audit_locked (n bigint, survivor boolean, tid tid) ON COMMIT DELETE ROWS"
)


def archive_name(run_id: int) -> str:
    """Return the quoted name of a run's archive."""
    return ident("dupe_audit", f"archive_{run_id}")


def stage_name(run_id: int) -> str:
    """Return the quoted name of a run's staged list."""
    return ident("dupe_audit", f"stage_{run_id}")


def record_name(run_id: int, number: int) -> str:
    """Return the quoted name of a run's record of moved children, by the foreign key's number."""
    return ident("dupe_audit", f"children_{run_id}_{number}")


def exists(connection: Connection) -> bool:
    """Return whether this database has a ledger.

    Raises:
        DupeAuditError: it has one of an earlier version; taken for none, its archived rows would be forgotten.
    """
    has_batches, has_children = (is_there(connection, f"dupe_audit.{table}") for table in ("batch", "child"))
    if has_batches and not has_children:
        raise DupeAuditError(
            "The ledger of this database was made by an earlier version. As its owner, run this, then the same command "
            f"again: ALTER TABLE dupe_audit.run ADD COLUMN on_reference text; {statement('create_child_table')};"
        )
    return bool(has_batches)


def is_there(connection: Connection, name: str) -> bool:
    """Return whether the relation of that quoted name exists."""
    return bool(execute(connection, f"SELECT pg_catalog.to_regclass({literal(name)}) IS NOT NULL").scalar_one())


def create(connection: Connection, owner: str) -> None:
    """Make the ledger if it is not there; everything in it belongs to *owner* (a quoted role name)."""
    if exists(connection):
        return
    with transaction(connection, lock_timeout="10s"):
        # First runs on two tables can begin at once, and IF NOT EXISTS does not keep them apart (H197).
        execute(connection, f"SELECT pg_catalog.pg_advisory_xact_lock({LOCK_NAMESPACE}, 0)")
        if exists(connection):
            return
        execute(connection, statement("create_schema", owner=owner))
        for table in ("run", "batch", "child"):
            execute(connection, statement(f"create_{table}_table"))
            make_private(connection, f"dupe_audit.{table}", owner)


def make_private(connection: Connection, name: str, owner: str) -> None:
    """Give an object to *owner* and take back whatever default privileges gave to others."""
    execute(connection, statement("give_to_owner", object=name, owner=owner))
    execute(connection, statement("revoke_all", object_name=literal(name)))


def find(connection: Connection, condition: str) -> list[tuple[Run, CleanupRule | None]]:
    """Return the runs that meet a trusted SQL *condition*, oldest first, each with its rule."""
    if not exists(connection):
        return []
    rows = execute(connection, statement("runs", condition=condition)).mappings()
    return [(_run(row), _rule(row)) for row in rows]


def get(connection: Connection, run_id: int) -> tuple[Run, CleanupRule | None]:
    """Return one run.

    Raises:
        DupeAuditError: the ledger has no such run.
    """
    found = find(connection, f"r.id = {int(run_id)}")
    if not found:
        raise DupeAuditError(f"The ledger of this database has no run {run_id}. List them: dupe-audit runs")
    return found[0]


def latest(connection: Connection, relid: int, key: UniqueKey) -> tuple[Run, CleanupRule | None] | None:
    """Return the newest run for this table and these columns, in any order of columns."""
    found = find(
        connection,
        f"r.relid = {relid}::pg_catalog.oid AND r.key_columns OPERATOR(pg_catalog.@>) {text_array(key.columns)} "
        f"AND r.key_columns OPERATOR(pg_catalog.<@) {text_array(key.columns)}",
    )
    return found[-1] if found else None


def open_run(
    connection: Connection, *, relid: int, key: UniqueKey, rule: CleanupRule | None, revision: str | None
) -> int:
    """Enter a new run and return its id; *rule* is None where nothing may be cleaned."""
    return int(
        execute(
            connection,
            statement(
                "open_run",
                relid=str(relid),
                schema_name=literal(key.schema),
                table_name=literal(key.table),
                key=text_array(key.columns),
                nulls_not_distinct=literal(key.nulls_not_distinct),
                constraint_name=literal(key.name),
                revision=literal(revision),
                version=literal(VERSION),
                **rule_holes(rule),
            ),
        ).scalar_one()
    )


def rule_holes(rule: CleanupRule | None) -> dict[str, str]:
    """Return the ledger's columns of a rule as SQL values; all NULL where nothing may be cleaned."""
    if rule is None:
        names = ("keep", "divergent", "on_reference", "batch_size", "pause", "max_replica_lag")
        nothing = dict.fromkeys(names, "NULL")
        return {**nothing, "order_by": text_array(()), "ignore": text_array(())}
    return {
        "keep": literal(rule.keep),
        "order_by": text_array(rule.order_by),
        "divergent": literal(rule.divergent),
        "on_reference": literal(rule.references),
        "ignore": text_array(rule.ignore),
        "batch_size": literal(rule.batch_size),
        "pause": literal(rule.pause),
        "max_replica_lag": literal(rule.max_replica_lag),
    }


def set_state(connection: Connection, run_id: int, state: RunState) -> None:
    """Move a run to another state."""
    execute(connection, statement("set_state", run=str(run_id), state=literal(state)))


def resume(connection: Connection, run_id: int, rule: CleanupRule, *, nulls_not_distinct: bool) -> None:
    """Take up a run again, with the rule as it is now."""
    columns = {"ignore": "ignored"}
    changes = ", ".join(f"{columns.get(name, name)} = {value}" for name, value in rule_holes(rule).items())
    execute(
        connection,
        f"UPDATE dupe_audit.run SET state = 'cleaning', finished_at = NULL, {changes}, "
        f"nulls_not_distinct = {literal(nulls_not_distinct)} WHERE id = {run_id}",
    )


def by_constraint(connection: Connection, relid: int, name: str) -> Run | None:
    """Return the newest run that enforces, or was to enforce, the constraint of that name."""
    found = find(connection, f"r.relid = {relid}::pg_catalog.oid AND r.constraint_name = {literal(name)}")
    return found[-1][0] if found else None


def mark_building(connection: Connection, run_id: int | None, name: str) -> None:
    """Enter, before a build, that an index of that name is ours to drop should it stay invalid (H52)."""
    execute(
        connection,
        f"UPDATE dupe_audit.run SET building = true, constraint_name = {literal(name)} WHERE id = {run_id}",
    )


def is_building(connection: Connection, relid: int, name: str) -> bool:
    """Return whether a build of ours may have left an index of that name behind."""
    known = by_constraint(connection, relid, name)
    return bool(known and known.building)


def mark_not_building(connection: Connection, run_id: int) -> None:
    """Enter that no unfinished index is ours any more, so that nobody else's is taken for it."""
    execute(connection, f"UPDATE dupe_audit.run SET building = false WHERE id = {run_id}")


def mark_enforced(connection: Connection, run_id: int, name: str) -> None:
    """Enter that the constraint is there."""
    execute(
        connection,
        f"UPDATE dupe_audit.run SET building = false, constraint_name = {literal(name)} WHERE id = {run_id}",
    )
    set_state(connection, run_id, "enforced")


def record_ranking(connection: Connection, run_id: int, *, rows: int, groups: int, extras: int) -> None:
    """Enter what a ranking saw; rows_before stays what the run's first ranking counted."""
    execute(
        connection,
        f"UPDATE dupe_audit.run SET groups = greatest(groups, {groups}), extras = archived + {extras}, "
        f"rows_before = coalesce(rows_before, {rows}) WHERE id = {run_id}",
    )


def children(connection: Connection, run_id: int) -> list[Mapping[str, Any]]:
    """Return the foreign keys whose children a run moves, with their sums."""
    query = f"SELECT * FROM dupe_audit.child WHERE run_id = {run_id} ORDER BY number"
    return [dict(row) for row in execute(connection, query).mappings()]


def next_batch(connection: Connection, run_id: int) -> int:
    """Return the number of a run's next batch."""
    query = f"SELECT coalesce(max(number), 0) + 1 FROM dupe_audit.batch WHERE run_id = {run_id}"
    return int(execute(connection, query).scalar_one())


def record_batch(
    connection: Connection, run_id: int, number: int, *, archived: int = 0, restored: int = 0, spared: int = 0
) -> None:
    """Enter a batch, inside the batch's own transaction."""
    execute(
        connection,
        statement(
            "record_batch",
            run=str(run_id),
            batch=str(number),
            archived=str(archived),
            restored=str(restored),
            spared=str(spared),
        ),
    )


def adopt_new_columns(connection: Connection, relid: int, archive: str) -> None:
    """Give the archive the columns that the table has gained since.

    Raises:
        DupeAuditError: a column has another type than in the archive; its values could not come back as they were.
    """
    for column in execute(
        connection, statement("archive_drift", relid=str(relid), archive=literal(archive))
    ).mappings():
        if column["archived_type"] is not None:
            raise DupeAuditError(
                f"Column {column['name']} is {column['type']} in the table, but {column['archived_type']} in "
                f"{archive}. Restore or purge that run first (dupe-audit runs), then start again."
            )
        # Rows that left before the column came get what they would have got in the table; later ones bring their own.
        name = column["name"]
        execute(connection, f"ALTER TABLE {archive} ADD COLUMN {name} {column['type']}{column['filling']}")
        if column["filler"]:
            execute(connection, f"ALTER TABLE {archive} ALTER COLUMN {name} DROP {column['filler']}")


def _run(row: Any) -> Run:
    names = Run.__slots__
    values = {name: row[name] for name in names}
    values["key_columns"] = tuple(row["key_columns"])
    return Run(**values)


def _rule(row: Any) -> CleanupRule | None:
    if row["keep"] is None:
        return None
    return CleanupRule(
        keep=row["keep"],
        order_by=tuple(row["order_by"]),
        divergent=row["divergent"],
        references=row["on_reference"] or "refuse",
        ignore=tuple(row["ignored"]),
        batch_size=row["batch_size"],
        pause=row["pause"],
        max_replica_lag=row["max_replica_lag"],
    )


def purge(connection: Connection, run_id: int) -> None:
    """Drop a run's archive and its records of moved children; the ledger keeps what happened.

    Raises:
        DupeAuditError: the ledger has no such run.
    """
    get(connection, run_id)
    with transaction(connection, lock_timeout="5s"):
        records = [record_name(run_id, row["number"]) for row in children(connection, run_id)]
        names = [archive_name(run_id), stage_name(run_id), *records]
        execute(connection, f"DROP TABLE IF EXISTS {', '.join(names)}")
        execute(
            connection,
            "UPDATE dupe_audit.run SET purged_at = coalesce(purged_at, pg_catalog.clock_timestamp()) "
            f"WHERE id = {run_id}",
        )
