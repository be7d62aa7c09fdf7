"""The runs in the ledger: open, find, continue, and record what each batch did."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from sqlalchemy import Connection

from dupe_audit.errors import DupeAuditError
from dupe_audit.ledger.tables import archive_name, exists, record_name, stage_name
from dupe_audit.model import CleanupRule, Run, RunState, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import transaction
from dupe_audit.statements import literal, statement, text_array

try:
    VERSION = version("dupe-audit")
except PackageNotFoundError:  # a source tree that was never installed
    VERSION = "0+unknown"


class RecordedRun(NamedTuple):
    """A run with the rule it was opened or last continued with; None if it must not clean."""

    run: Run
    rule: CleanupRule | None


def find_runs(connection: Connection, condition: str) -> list[RecordedRun]:
    """Return the runs that meet a trusted SQL *condition*, oldest first."""
    if not exists(connection):
        return []
    rows = execute(connection, statement("runs", condition=condition)).mappings()
    return [RecordedRun(_run(row), _rule(row)) for row in rows]


def get_run(connection: Connection, run_id: int) -> RecordedRun:
    """Return one run.

    Raises:
        DupeAuditError: the ledger has no such run.
    """
    runs = find_runs(connection, f"r.id = {int(run_id)}")
    if not runs:
        raise DupeAuditError(f"The ledger of this database has no run {run_id}. To list its runs: dupe-audit runs")
    return runs[0]


def find_latest(connection: Connection, relid: int, key: UniqueKey) -> RecordedRun | None:
    """Return the newest run for a table and the columns of *key*, in any order."""
    runs = find_runs(
        connection,
        f"r.relid = {relid}::pg_catalog.oid AND r.key_columns OPERATOR(pg_catalog.@>) {text_array(key.columns)} "
        f"AND r.key_columns OPERATOR(pg_catalog.<@) {text_array(key.columns)}",
    )
    return runs[-1] if runs else None


def find_by_constraint(connection: Connection, relid: int, name: str) -> Run | None:
    """Return the newest run that enforces the constraint of that name, or was meant to."""
    runs = find_runs(connection, f"r.relid = {relid}::pg_catalog.oid AND r.constraint_name = {literal(name)}")
    return runs[-1].run if runs else None


def open_run(
    connection: Connection, *, relid: int, key: UniqueKey, rule: CleanupRule | None, revision: str | None
) -> int:
    """Open a run and return its id; *rule* is None if it must not clean."""
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
    """Return the ledger's columns of a rule as SQL values; all NULL or empty without one."""
    if rule is None:
        names = ("keep", "divergent", "on_reference", "batch_size", "pause", "max_replica_lag")
        nulls = dict.fromkeys(names, "NULL")
        return {**nulls, "order_by": text_array(()), "ignore": text_array(())}
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


def resume(connection: Connection, run_id: int, rule: CleanupRule, *, nulls_not_distinct: bool) -> None:
    """Take up a run again, with the rule as it is now."""
    holes = rule_holes(rule)
    sql = statement("resume_run", run=str(run_id), nulls_not_distinct=literal(nulls_not_distinct), **holes)
    execute(connection, sql)


def set_state(connection: Connection, run_id: int, state: RunState) -> None:
    """Change the state of a run."""
    execute(connection, statement("set_state", run=str(run_id), state=literal(state)))


def mark_building(connection: Connection, run_id: int | None, name: str) -> None:
    """Record, before a build, that an index of that name is ours to drop if it stays invalid (H52)."""
    execute(connection, statement("mark_building", run=literal(run_id), name=literal(name)))


def is_building(connection: Connection, relid: int, name: str) -> bool:
    """Return whether a build of ours may have left an index of that name."""
    run = find_by_constraint(connection, relid, name)
    return bool(run and run.building)


def mark_enforced(connection: Connection, run_id: int, name: str) -> None:
    """Record that the constraint exists and is verified."""
    execute(connection, statement("mark_enforced", run=str(run_id), name=literal(name)))
    set_state(connection, run_id, "enforced")


def record_ranking(connection: Connection, run_id: int, *, rows: int, groups: int, extras: int) -> None:
    """Record the counts of a ranking; ``rows_before`` keeps the count of the run's first one."""
    counts = {"rows": str(rows), "groups": str(groups), "extras": str(extras)}
    execute(connection, statement("record_ranking", run=str(run_id), **counts))


def next_batch(connection: Connection, run_id: int) -> int:
    """Return the number of a run's next batch."""
    return int(execute(connection, statement("next_batch", run=str(run_id))).scalar_one())


def record_batch(
    connection: Connection, run_id: int, number: int, *, archived: int = 0, restored: int = 0, spared: int = 0
) -> None:
    """Record a batch, inside the batch's own transaction."""
    counts = {"archived": str(archived), "restored": str(restored), "spared": str(spared)}
    execute(connection, statement("record_batch", run=str(run_id), batch=str(number), **counts))


def moved_children(connection: Connection, run_id: int) -> list[Mapping[str, Any]]:
    """Return the foreign keys whose children a run moves, with their sums."""
    return [dict(row) for row in execute(connection, statement("moved_children", run=str(run_id))).mappings()]


def record_moved_children(connection: Connection, run_id: int, number: int, moved: int) -> None:
    """Add the children that a batch has moved to the sum of the foreign key of that number."""
    sql = statement("record_moved_children", run=str(run_id), number=str(number), moved=str(moved))
    execute(connection, sql)


def adopt_new_columns(connection: Connection, relid: int, archive: str) -> None:
    """Give the archive the columns that the table has gained since.

    Raises:
        DupeAuditError: a column has another type than in the archive, so its values could not be restored unchanged.
    """
    drift = statement("archive_drift", relid=str(relid), archive=literal(archive))
    for column in execute(connection, drift).mappings():
        name, type_ = column["name"], column["type"]
        if column["archived_type"] is not None:
            raise DupeAuditError(
                f"Column {name} is {type_} in the table, but {column['archived_type']} in {archive}. "
                "Restore or purge that run first (dupe-audit runs lists it), then run the same command again."
            )
        added = {"archive": archive, "column": name, "type": type_, "filling": column["filling"]}
        execute(connection, statement("add_archive_column", **added))
        if column["filler"]:
            execute(connection, statement("drop_column_filler", archive=archive, column=name, filler=column["filler"]))


def purge(connection: Connection, run_id: int) -> None:
    """Drop a run's archive and its records of moved children; the ledger keeps what happened.

    Raises:
        DupeAuditError: the ledger has no such run.
    """
    get_run(connection, run_id)
    with transaction(connection, lock_timeout="5s"):
        records = [record_name(run_id, row["number"]) for row in moved_children(connection, run_id)]
        tables = ", ".join([archive_name(run_id), stage_name(run_id), *records])
        execute(connection, statement("drop_run_tables", tables=tables))
        execute(connection, statement("mark_purged", run=str(run_id)))


def _run(row: Any) -> Run:
    values = {name: row[name] for name in Run.__slots__}
    return Run(**{**values, "key_columns": tuple(row["key_columns"])})


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
