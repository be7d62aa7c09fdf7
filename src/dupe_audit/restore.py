"""Put every archived row back, byte for byte, once; report each row that cannot go back, and keep it."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.driver import reason, run, sqlstate, tidy
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import finding
from dupe_audit.model import Batch, Run
from dupe_audit.session import retrying, run_lock, step, transaction
from dupe_audit.statements import fill_known, literal, statement, template

#: classes of SQLSTATE that speak about one row: data, constraints, and what a trigger raises
ABOUT_A_ROW = ("22", "23", "44", "P0")


class _RowsDiffer(Exception):
    """What arrived in the table is not what the archive holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    connection: Connection
    known: Run
    holes: dict[str, str]
    lock_timeout: str
    give_up_after: str


def restore(
    connection: Connection,
    run_id: int,
    *,
    batch_size: int = 5000,
    lock_timeout: str = "500ms",
    give_up_after: str = "10min",
) -> Generator[Batch, None, None]:
    """Restore the archived rows of a run; yield each batch after its commit. Run again, it goes on.

    The constraint has to be gone first (``constraint.drop``).

    Args:
        connection: in autocommit.
        batch_size: rows per transaction, at most.
        lock_timeout: how long a statement may wait for a lock, as PostgreSQL writes durations.
        give_up_after: total wait for one lock.

    Raises:
        Refused: rows that could not go back; each has its reason in the archive, all others are back.
        DupeAuditError: the table or the archive is gone, or a column that was archived no longer exists.
        Blocked: the table stayed locked.
    """
    with step(connection):
        known, _ = ledger.get(connection, run_id)
        if not run(
            connection, f"SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = {known.relid})"
        ).scalar_one():
            raise DupeAuditError(
                f"The table of run {run_id}, {known.schema_name}.{known.table_name}, was dropped or made anew since. "
                f"Its rows are in {ledger.archive_name(run_id)}; insert them by hand, or purge the run."
            )
        with run_lock(connection, known.relid, give_up_after=give_up_after):
            known, _ = ledger.get(connection, run_id)
            if known.purged_at is not None:
                raise DupeAuditError(f"The archive of run {run_id} was purged at {known.purged_at}; its rows are gone.")
            if known.state == "restored":
                return
            if known.archive_bytes is None:
                if known.archived > known.restored:
                    raise Refused([finding("archive-missing", run_id)], lead="Nothing was restored.")
            else:
                holes = _holes(connection, known)
                work = _Work(
                    connection=connection,
                    known=known,
                    holes=holes,
                    lock_timeout=lock_timeout,
                    give_up_after=give_up_after,
                )
                yield from _batches(work, batch_size)
            # The list of a cleanup that was killed half way, which nobody will take up any more.
            tidy(connection, f"DROP TABLE IF EXISTS {ledger.stage_name(run_id)}")
            ledger.set_state(connection, run_id, "restored")


def _holes(connection: Connection, known: Run) -> dict[str, str]:
    archive = ledger.archive_name(known.id)
    row = (
        run(connection, statement("restore_fragments", relid=str(known.relid), archive=literal(archive)))
        .mappings()
        .one()
    )
    for what, columns in (("no longer has", row["gone"]), ("has another type for", row["retyped"])):
        if columns:
            raise DupeAuditError(
                f"The table {what} {columns}, so archived values would be lost. Nothing was restored. "
                f"Change the table back, or move the rows by hand from {archive}."
            )
    table = run(connection, statement("relation", relid=str(known.relid))).mappings().one()["name"]
    return {**{k: str(v) for k, v in row.items()}, "table": table, "archive": archive}


def _batches(work: _Work, batch_size: int) -> Iterator[Batch]:
    archive = work.holes["archive"]
    left = f"FROM {archive} WHERE dupe_audit_restored_at IS NULL"
    total = int(run(work.connection, f"SELECT count(*) {left}").scalar_one())
    low, done, kept = 0, 0, 0
    while True:
        started = time.monotonic()
        window = run(
            work.connection,
            "SELECT min(dupe_audit_id) AS low, max(dupe_audit_id) AS high, count(*) AS size FROM "
            f"(SELECT dupe_audit_id {left} AND dupe_audit_id > {low} ORDER BY 1 LIMIT {batch_size}) AS next",
        ).one()
        size = int(window.size)
        if not size:
            break
        put = _restored(work, window.low, window.high)
        low, done, kept = window.high, done + size, kept + size - put
        yield Batch(
            run_id=work.known.id,
            restored=put,
            spared=size - put,
            done=done,
            total=total,
            seconds=time.monotonic() - started,
        )
    if kept:
        raise Refused(
            [finding("rows-not-restored", kept)], lead=f"Of {total} archived rows {total - kept} are back in the table."
        )


def _restored(work: _Work, low: int, high: int) -> int:
    """Restore a range of archived rows; halve it around a row that cannot go back; return how many went."""
    try:
        return retrying(
            work.connection,
            partial(_put, work, low, high),
            relid=work.known.relid,
            what=f"restore archived rows {low} to {high}",
            lock_timeout=work.lock_timeout,
            give_up_after=work.give_up_after,
        )
    except _RowsDiffer as error:
        why = str(error)
    except DBAPIError as error:
        code = sqlstate(error) or ""
        if not code.startswith(ABOUT_A_ROW):
            raise
        why = f"{code}: {reason(error)}"
    if low < high:
        middle = (low + high) // 2
        return _restored(work, low, middle) + _restored(work, middle + 1, high)
    run(
        work.connection,
        f"UPDATE {work.holes['archive']} SET dupe_audit_problem = {literal(why)} WHERE dupe_audit_id = {low}",
    )
    return 0


def _put(work: _Work, low: int, high: int) -> int:
    connection, run_id = work.connection, work.known.id
    # Constraint triggers speak at COMMIT, still inside this block, so a row that they refuse is found too.
    with transaction(connection, lock_timeout=work.lock_timeout):
        number = ledger.next_batch(connection, run_id)
        sql = fill_known(template("restore_rows"), work.holes, low=str(low), high=str(high))
        row = run(connection, sql).mappings().one()
        if not row["chosen"] == row["put"] == row["marked"] or row["changed"]:
            raise _RowsDiffer("a trigger on the table changed the row or kept it out")
        if row["chosen"]:
            ledger.record_batch(connection, run_id, number, restored=row["put"])
    return int(row["put"])
