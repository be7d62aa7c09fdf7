"""The runs in the ledger: open, find, continue, and record what each batch did."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping

from dupe_audit.errors import DupeAuditError
from dupe_audit.ledger.choice import Choice, choose_by_key, choose_by_name, table_condition
from dupe_audit.ledger.keys import is_same_run, key_holes, read_elements, read_rule, rule_holes, same_runs_sql
from dupe_audit.ledger.tables import after_name, archive_name, create, exists, record_name, stage_name
from dupe_audit.model import DROP_LOCK_TIMEOUT, CleanupRule, Run, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import transaction
from dupe_audit.statements import literal, statement

try:
    VERSION = version("dupe-audit")
except PackageNotFoundError:  # a source tree that was never installed
    VERSION = "0+unknown"


class RecordedRun(NamedTuple):
    """A run with the rule it was opened or last continued with; None if it must not clean."""

    run: Run
    rule: CleanupRule | None


def find_runs(
    connection: Connection, condition: str, *, relid: int | None = None, reading: bool = False
) -> list[RecordedRun]:
    """Return the runs that meet a trusted SQL *condition*, oldest first.

    Args:
        condition: about the run ``r`` and its table ``live``, whose ``oid`` is NULL if it cannot be found.
        relid: the table that is worked on; its owner is trusted.
        reading: whether nothing will be written.

    Raises:
        Refused: a role that is not trusted could have prepared the ledger.
        DupeAuditError: an earlier version made it.
    """
    return _read_runs(connection, condition) if exists(connection, relid=relid, reading=reading) else []


def _read_runs(connection: Connection, condition: str, order: str = "r.id") -> list[RecordedRun]:
    """Read runs of a ledger that exists and was judged immediately before."""
    sql = statement("runs", condition=condition, run_relation=statement("run_relation"), order=order)
    rows = execute(connection, sql).mappings()
    return [RecordedRun(_run(row), read_rule(row)) for row in rows]


def get_run(connection: Connection, run_id: int, *, relid: int | None = None) -> RecordedRun:
    """Return one run.

    Args:
        relid: the table that is worked on; its owner is trusted.

    Raises:
        DupeAuditError: the ledger has no such run.
    """
    runs = find_runs(connection, f"r.id = {int(run_id)}", relid=relid)
    if not runs:
        raise DupeAuditError(f"The ledger of this database has no run {run_id}. To list its runs: dupe-audit runs")
    return runs[0]


def find_latest(connection: Connection, relid: int, key: UniqueKey) -> RecordedRun | None:
    """Return the run for a table and the elements of *key*, in any order: of its constraint, or else the newest."""
    return find_run(connection, relid, choose_by_key(str(relid), key))


def find_by_constraint(connection: Connection, relid: int, name: str) -> Run | None:
    """Return the run that enforces the constraint of that name, or was meant to."""
    return chosen.run if (chosen := find_run(connection, relid, choose_by_name(name))) else None


def find_run(connection: Connection, relid: int, choice: Choice, *, owner: str | None = None) -> RecordedRun | None:
    """Return the run of a table that a choice finds; None if it finds none.

    Args:
        owner: of the table, a quoted role name; the ledger is created for it unless it exists. None to only look.
    """
    created = create(connection, owner, relid=relid) if owner else exists(connection, relid=relid)
    if created and choice.key and not choice.key.is_plain:
        execute(connection, same_runs_sql(str(relid), choice.key))
        created = exists(connection, relid=relid)  # the server may have waited for a lock on the table
    condition = f"{table_condition(str(relid))} AND {choice.condition}"
    return next(iter(_read_runs(connection, condition, choice.order)), None) if created else None


def means(connection: Connection, relid: int, run: Run, key: UniqueKey) -> bool:
    """Return whether the text of a run's key means *key*, read with the names that the columns had then.

    Args:
        key: with an expression or a predicate, which the server can read.
    """
    execute(connection, same_runs_sql(str(relid), key, trusts_index=False))
    return bool(execute(connection, f"SELECT {is_same_run(str(run.id), key)}").scalar())


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
                **key_holes(key, str(relid)),
                revision=literal(revision),
                version=literal(VERSION),
                **rule_holes(rule),
            ),
        ).scalar_one()
    )


def resume(connection: Connection, run_id: int, relid: int, key: UniqueKey, rule: CleanupRule) -> None:
    """Take up a run again, with the rule and the table's names as they are now."""
    holes = {name: value for name, value in key_holes(key, str(relid)).items() if name != "constraint_name"}
    execute(connection, statement("resume_run", run=str(run_id), relid=str(relid), **holes, **rule_holes(rule)))


def mark_not_building(connection: Connection, run_id: int | None) -> None:
    """Record that no build of ours left an index, so that another session's does not count as ours."""
    execute(connection, statement("mark_not_building", run=literal(run_id)))


def record_index(connection: Connection, run_id: int, relid: int) -> None:
    """Record what the index of a run compares, before it is dropped."""
    execute(connection, record_index_sql(str(run_id), str(relid)))


def record_index_sql(run: str, relid: str) -> str:
    """Return the statement of ``record_index``; both arguments are SQL."""
    parts = {name: statement(name, relid=relid) for name in ("index_elements", "column_places")}
    return statement("record_index", run=run, **parts)


def is_building(connection: Connection, relid: int, name: str) -> bool:
    """Return whether a build of ours may have left an index of that name."""
    run = find_by_constraint(connection, relid, name)
    return bool(run and run.building)


def record_ranking(connection: Connection, run_id: int, *, rows: int | None, groups: int, extras: int) -> None:
    """Record the counts of a ranking; ``rows_before`` keeps the count of the run's first one."""
    counts = {"rows": literal(rows), "groups": str(groups), "extras": str(extras)}
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


def record_images(
    connection: Connection, run_id: int, number: int, *, amended: int = 0, merged: int = 0, reverted: int = 0
) -> None:
    """Add to a batch that was recorded in this transaction the rows that it changed, or changed back."""
    counts = {"amended": str(amended), "merged": str(merged), "reverted": str(reverted)}
    execute(connection, statement("record_images", run=str(run_id), batch=str(number), **counts))


def moved_children(connection: Connection, run_id: int) -> list[Mapping[str, Any]]:
    """Return the foreign keys whose children a run moves, with their sums."""
    return [dict(row) for row in execute(connection, moved_children_sql(run_id)).mappings()]


def moved_children_sql(run_id: int | str) -> str:
    """Return the query for the foreign keys whose children a run moves."""
    return statement("moved_children", run=str(run_id))


def archived_by_others(connection: Connection, run: Run) -> int:
    """Return how many rows of its table other runs have archived since a run began, less those they restored."""
    holes = {"run": str(run.id), "relid": str(run.relid), "run_relation": statement("run_relation")}
    return int(execute(connection, statement("other_runs", **holes)).scalar_one())


def record_moved_children(connection: Connection, run_id: int, number: int, moved: int) -> None:
    """Add the children that a batch has moved to the sum of the foreign key of that number."""
    execute(connection, statement("record_moved_children", run=str(run_id), number=str(number), moved=str(moved)))


def purge(connection: Connection, run_id: int) -> None:
    """Drop a run's archive and its records of moved children; the ledger keeps what happened.

    Nothing in them is read or executed, whoever owns them.

    Raises:
        DupeAuditError: the ledger has no such run.
    """
    get_run(connection, run_id)
    with transaction(connection, lock_timeout=DROP_LOCK_TIMEOUT):
        records = [record_name(run_id, row["number"]) for row in moved_children(connection, run_id)]
        tables = ", ".join([archive_name(run_id), after_name(run_id), stage_name(run_id), *records])
        execute(connection, statement("drop_run_tables", tables=tables))
        execute(connection, statement("forget_leaves", run=str(run_id)))
        execute(connection, statement("mark_purged", run=str(run_id)))


def _run(row: RowMapping) -> Run:
    values = {name: row[name] for name in Run.__slots__}
    return Run(**{**values, "key_columns": read_elements(row)})
