"""One measurement: a copy of the template, a checkpoint, the writers, and one way."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import BrokenBarrierError

import psycopg

from dupe_audit.embedded import Server
from migration.results import BenchmarkError, Run
from migration.table import KEY, NAME, GroupedRow, conninfo, fill
from migration.ways import Outcome, alembic, execute
from migration.writers import START_LIMIT, Account, WriterError, Writers

WARM_UP = 1.0  #: seconds of traffic before a way begins
REMAINING = f"SELECT count(*) FROM (SELECT FROM agent_actions GROUP BY {KEY} HAVING count(*) > 1) AS extra"
WRITTEN = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::int8"
VALID = f"""
SELECT count(*) FROM pg_constraint JOIN pg_index ON indexrelid = conindid
WHERE conname = '{NAME}' AND indisvalid AND indisready AND indisunique
"""


@contextmanager
def template_of(server: Server, rows: int, seed: int) -> Iterator[str]:
    """Provide a database with this many rows, and drop it afterwards."""
    name = f"rows_{rows}"
    _administer(server, f"CREATE DATABASE {name}")
    try:
        alembic(server.url(name), "014")
        fill(server.url(name), rows, seed)
        yield name
    finally:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def copy_of(server: Server, template: str) -> Iterator[str]:
    """Provide a copy of the template after a checkpoint, and drop it afterwards."""
    name = f"copy_of_{template}"
    # The files are copied; otherwise the copy alone would write more WAL than a way does, and fill the cache.
    strategy = "STRATEGY file_copy" if server.version_num >= 150000 else ""
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {template} {strategy}", "CHECKPOINT")
    try:
        yield name
    finally:
        _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def measure(server: Server, way: str, repetition: int, template: str, rows: Sequence[GroupedRow], seed: int) -> Run:
    """Execute one way on a copy of the template, under traffic.

    Raises:
        BenchmarkError: the way or a writer failed, or the key is not unique afterwards.
    """
    with copy_of(server, template) as database:
        url = server.url(database)
        try:
            with Writers(conninfo(url), rows, seed + repetition) as writers:
                outcome, wal = _follow(server, way, url, writers)
                accounts = writers.stop()
        except WriterError as error:
            raise BenchmarkError(f"{way}: {error}") from None
        if outcome.error:
            raise BenchmarkError(f"{way} failed: {outcome.error}")
        temp = _temp_bytes(server, database)
        with psycopg.connect(conninfo(url)) as connection:
            if [connection.execute(query).fetchone() for query in (REMAINING, VALID)] != [(0,), (1,)]:
                raise BenchmarkError(f"{way} left duplicates or no valid constraint, so its time means nothing")
    return Run(
        way=way,
        repetition=repetition,
        wall=outcome.ended - outcome.started,
        steps=outcome.steps,
        statements=outcome.statements,
        waits=_waits(accounts, outcome),
        wal=wal,
        temp=temp,
        memory=outcome.memory,
        rejected=sum(account.rejected for account in accounts),
    )


def _follow(server: Server, way: str, url: str, writers: Writers) -> tuple[Outcome, int]:
    """Execute the way in a process, after the writers have started; return its outcome and the bytes of WAL."""
    context = multiprocessing.get_context("spawn")
    begin, (receiver, sender) = context.Barrier(2), context.Pipe(duplex=False)
    process = context.Process(target=execute, args=(way, url, begin, sender), daemon=True)
    process.start()
    sender.close()  # so that the end of the process is noticed
    try:
        with psycopg.connect(conninfo(server.url()), autocommit=True) as connection:
            writers.start()
            begin.wait(timeout=START_LIMIT)
            time.sleep(WARM_UP)
            writers.settle()
            before = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
            begin.wait(timeout=START_LIMIT)
            outcome = receiver.recv()
            written = connection.execute(WRITTEN, before).fetchone()
    except (EOFError, BrokenBarrierError):
        raise BenchmarkError(f"the process of {way} ended without a result") from None
    finally:
        process.kill()
        process.join()
    return outcome, written[0]


def _waits(accounts: Sequence[Account], outcome: Outcome) -> dict[str, list[float]]:
    """Return, by profile, the milliseconds of each write that overlapped with the way."""
    waits: dict[str, list[float]] = {account.profile: [] for account in accounts}
    for account in accounts:
        waits[account.profile] += [
            round(1000 * (ended - due), 2)
            for due, ended in account.times
            if ended > outcome.started and due < outcome.ended
        ]
    return waits


def _temp_bytes(server: Server, database: str) -> int:
    """Return the bytes of temporary files of a database; a session adds its own when it ends."""
    with psycopg.connect(conninfo(server.url()), autocommit=True) as connection:
        while connection.execute("SELECT FROM pg_stat_activity WHERE datname = %s", [database]).rowcount:
            time.sleep(0.01)
        if server.version_num < 150000:
            time.sleep(1)  # until the statistics collector has written its file
        row = connection.execute("SELECT temp_bytes FROM pg_stat_database WHERE datname = %s", [database]).fetchone()
    return row[0]


def _administer(server: Server, *statements: str) -> None:
    with psycopg.connect(conninfo(server.url()), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)
