"""What the ledger records of the state of a run, and of the constraint or index that enforces its key."""

from __future__ import annotations

from sqlalchemy import Connection

from dupe_audit.model import Run, RunState
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement


def set_state(connection: Connection, run_id: int, state: RunState) -> None:
    """Change the state of a run."""
    execute(connection, _set_state_sql(run_id, state))


def _set_state_sql(run_id: int, state: RunState) -> str:
    return statement("set_state", run=str(run_id), state=literal(state))


def mark_building(connection: Connection, run_id: int | None, name: str, *, keeps_adopted: bool = False) -> None:
    """Record, before a build, that an index of that name is ours to drop if it stays invalid (H52).

    Args:
        keeps_adopted: whether the index takes the place of one that existed before the upgrade.
    """
    holes = {"run": literal(run_id), "name": literal(name), "keeps_adopted": literal(keeps_adopted)}
    execute(connection, statement("mark_building", **holes))


def mark_enforced(connection: Connection, run_id: int, name: str) -> None:
    """Record that the constraint exists and is verified."""
    for sql in mark_enforced_sql(run_id, name):
        execute(connection, sql)


def mark_enforced_sql(run_id: int | None, name: str) -> list[str]:
    """Return what records that the constraint or index of that name enforces the key of a run."""
    if run_id is None:
        return []
    return [
        statement("mark_enforced", run=str(run_id), name=literal(name)),
        _set_state_sql(run_id, "enforced"),
    ]


def mark_dropped_sql(run: Run | None) -> list[str]:
    """Return what records that neither the constraint nor an unfinished index of the run exists any more."""
    return [statement("mark_not_building", run=str(run.id)), *set_dropped_sql(run)] if run else []


def set_dropped_sql(run: Run | None) -> list[str]:
    """Return what records that the constraint of the run is dropped; nothing if it is undone already."""
    return [_set_state_sql(run.id, "dropped")] if run and run.state in ("enforced", "clean", "cleaning") else []


def has_adopted(connection: Connection, run_id: int) -> bool:
    """Return whether the index of a run existed before it."""
    return bool(execute(connection, statement("has_adopted", run=str(run_id))).scalar())
