"""Put every archived row back, byte for byte, once; report each row that cannot go back, and keep it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import children, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import finding, quantity
from dupe_audit.model import Batch, Run
from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.postgres.planner import BATCHING
from dupe_audit.postgres.session import retrying, run_lock, step, transaction
from dupe_audit.postgres.sqlstates import (
    CLASS_CHECK_OPTION,
    CLASS_CONSTRAINT,
    CLASS_DATA,
    CLASS_RAISED,
    reason,
    sqlstate,
)
from dupe_audit.statements import fill_known, literal, statement, template

log = logging.getLogger("alembic.dupe_audit")

#: classes of SQLSTATE that speak about one row: data, constraints, and what a trigger raises
ABOUT_A_ROW = (CLASS_DATA, CLASS_CONSTRAINT, CLASS_CHECK_OPTION, CLASS_RAISED)


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
        Refused: rows that could not go back, or children that could not be pointed back at them; each has its reason
            in the archive or the record of moved children, all others are back.
        DupeAuditError: the table or the archive is gone, or a column that was archived no longer exists.
        Blocked: the table stayed locked.
    """
    with step(connection):
        known, _ = ledger.get(connection, run_id)
        if not execute(
            connection, f"SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = {known.relid}::pg_catalog.oid)"
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
                kept, total = yield from _rows_back(work, batch_size)
                refused = yield from _children_back(work, batch_size)
                findings = [finding("rows-not-restored", quantity(kept, "row"))] if kept else []
                if refused:
                    findings.append(finding("children-not-returned", quantity(refused, "child", "children")))
                if findings:
                    raise Refused(findings, lead=f"Of {total} archived rows {total - kept} are back in the table.")
            # The list of a cleanup that was killed half way, which nobody will take up any more.
            tidy(connection, f"DROP TABLE IF EXISTS {ledger.stage_name(run_id)}")
            ledger.set_state(connection, run_id, "restored")


def _holes(connection: Connection, known: Run) -> dict[str, str]:
    archive = ledger.archive_name(known.id)
    row = (
        execute(connection, statement("restore_fragments", relid=str(known.relid), archive=literal(archive)))
        .mappings()
        .one()
    )
    for what, columns in (("no longer has", row["gone"]), ("has another type for", row["retyped"])):
        if columns:
            raise DupeAuditError(
                f"The table {what} {columns}, so archived values would be lost. Nothing was restored. "
                f"Change the table back, or move the rows by hand from {archive}."
            )
    table = execute(connection, statement("relation", relid=str(known.relid))).mappings().one()["name"]
    return {**{k: str(v) for k, v in row.items()}, "table": table, "archive": archive}


def _rows_back(work: _Work, batch_size: int) -> Generator[Batch, None, tuple[int, int]]:
    """Restore the archived rows, the last one first; return how many stay in the archive, and how many there were."""
    archive = work.holes["archive"]
    left = f"FROM {archive} WHERE dupe_audit_restored_at IS NULL"
    total = int(execute(work.connection, f"SELECT count(*) {left}").scalar_one())
    above, done, kept = 2**63 - 1, 0, 0
    while True:
        started = time.monotonic()
        window = execute(
            work.connection,
            "SELECT min(dupe_audit_id) AS low, max(dupe_audit_id) AS high, count(*) AS size FROM "
            f"(SELECT dupe_audit_id {left} AND dupe_audit_id < {above} ORDER BY 1 DESC LIMIT {batch_size}) AS next",
        ).one()
        size = int(window.size)
        if not size:
            return kept, total
        put = _halving(work, "restore archived rows", archive, partial(_put, work), window.low, window.high)
        above, done, kept = window.low, done + size, kept + size - put
        yield Batch(
            run_id=work.known.id,
            restored=put,
            spared=size - put,
            done=done,
            total=total,
            seconds=time.monotonic() - started,
        )


def _children_back(work: _Work, batch_size: int) -> Generator[Batch, None, int]:
    """Point moved children back at the rows that are in the table again, the last one first; return how many cannot."""
    ranges = children.to_return(work.connection, work.known.id, work.known.relid)
    total, done, refused = sum(size for *_, size in ranges), 0, 0
    for fk, first, last, _ in ranges:
        record = fk.holes["record"]
        for high in range(last, first - 1, -batch_size):
            started, low = time.monotonic(), max(first, high - batch_size + 1)
            these = f"dupe_audit_returned_at IS NULL AND dupe_audit_id BETWEEN {low} AND {high}"
            execute(
                work.connection,
                f"UPDATE {record} SET dupe_audit_problem = NULL WHERE {these} AND dupe_audit_problem <> ''",
            )
            size = int(execute(work.connection, f"SELECT count(*) FROM {record} WHERE {these}").scalar_one())
            back = _halving(work, "point back children", record, partial(_return, work, fk), low, high)
            done += size
            refused += int(
                execute(
                    work.connection, f"SELECT pg_catalog.count(dupe_audit_problem) FROM {record} WHERE {these}"
                ).scalar_one()
            )
            yield Batch(
                run_id=work.known.id,
                repointed=back,
                spared=size - back,
                done=done,
                total=total,
                seconds=time.monotonic() - started,
            )
    _say_left(work)
    return refused


def _say_left(work: _Work) -> None:
    """Say which children stay at the survivor because the application has changed or deleted them meanwhile."""
    for row in ledger.children(work.connection, work.known.id):
        if left := row["moved"] - row["returned"]:
            record = ledger.record_name(work.known.id, row["number"])
            log.warning(
                "%d rows of %s (%s) were not pointed back: see %s", left, row["child"], row["constraint_name"], record
            )


def _halving(work: _Work, what: str, table: str, action: Callable[[int, int], int], low: int, high: int) -> int:
    """Bring back a range of rows; halve it around one that cannot go back, and note why; return how many went."""
    try:
        return retrying(
            work.connection,
            partial(action, low, high),
            relid=work.known.relid,
            what=f"{what} {low} to {high}",
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
        # The upper half first, for the last one goes back first.
        later = _halving(work, what, table, action, middle + 1, high)
        return _halving(work, what, table, action, low, middle) + later
    execute(work.connection, f"UPDATE {table} SET dupe_audit_problem = {literal(why)} WHERE dupe_audit_id = {low}")
    return 0


def _put(work: _Work, low: int, high: int) -> int:
    connection, run_id = work.connection, work.known.id
    # Constraint triggers speak at COMMIT, still inside this block, so a row that they refuse is found too.
    with transaction(connection, lock_timeout=work.lock_timeout):
        number = ledger.next_batch(connection, run_id)
        sql = fill_known(template("restore_rows"), work.holes, low=str(low), high=str(high))
        row = execute(connection, sql).mappings().one()
        if not row["chosen"] == row["put"] == row["marked"] or row["changed"]:
            raise _RowsDiffer("a trigger on the table changed the row or kept it out")
        if row["chosen"]:
            ledger.record_batch(connection, run_id, number, restored=row["put"])
    return int(row["put"])


def _return(work: _Work, fk: ForeignKey, low: int, high: int) -> int:
    connection = work.connection
    with transaction(connection, lock_timeout=work.lock_timeout, local=BATCHING):
        row = execute(
            connection, fk.sql("return_children", work.holes, run=str(work.known.id), low=str(low), high=str(high))
        ).one()
        if row.back != row.marked:
            raise DupeAuditError(f"{row.back} rows of {fk.child} went back, but {row.marked} are noted; rolled back.")
    return int(row.back)
