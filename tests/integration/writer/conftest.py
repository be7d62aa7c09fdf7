"""A writer for the test's own table, with each of the two ways to send a batch."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psycopg
import pytest

from dupe_audit.model import UniqueKey
from dupe_audit.writer import Writer, delivery
from waiting import wait_for

Sql = Callable[[str], list[tuple[Any, ...]] | None]
HeldBuild = Callable[..., AbstractContextManager[psycopg.Connection]]
BUILD = "CREATE UNIQUE INDEX CONCURRENTLY once ON t (k)"


@pytest.fixture(params=["row", "together"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Send batches as one statement per row, or all rows in one statement, whatever their number of rows."""
    monkeypatch.setattr(delivery, "TOGETHER_FROM", 1 if request.param == "together" else 1_000_000)
    return request.param


@pytest.fixture
def writer(psycopg_connect: Callable[..., psycopg.Connection]) -> Callable[..., Writer]:
    """Make a writer with its own connection."""

    def make(key: UniqueKey, columns: list[str], **options: Any) -> Writer:
        return Writer(psycopg_connect(autocommit=True), key, columns, **options)

    return make


@pytest.fixture
def held_build(psycopg_connect: Callable[..., psycopg.Connection], sql: Sql) -> HeldBuild:
    """Hold the build of the index ``once`` on t (k) between two of its phases."""

    @contextmanager
    def hold(*, ready: bool) -> Iterator[psycopg.Connection]:
        """Hold the build while the index exists but enforces nothing, or while it is ready but not valid."""
        # An old snapshot holds up the last phase; a writer holds up the first.
        holder = psycopg_connect()
        holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ" if ready else "SELECT 1")
        holder.execute("SELECT 1 FROM pg_class" if ready else "INSERT INTO t (k) VALUES ('held')")
        builder = psycopg_connect(autocommit=True)

        def build():
            with suppress(psycopg.errors.QueryCanceled, psycopg.errors.UniqueViolation):
                builder.execute(BUILD)

        thread = threading.Thread(target=build)
        thread.start()
        wanted = "indisready AND NOT indisvalid" if ready else "NOT indisready"
        wait_for(lambda: sql(f"SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('once') AND {wanted}"))
        try:
            yield builder
        finally:
            holder.rollback()
            thread.join()

    return hold


@pytest.fixture
def cancelled(sql: Sql) -> Callable[[psycopg.Connection], None]:
    """Cancel a held build, and wait until it has ended."""

    def cancel(builder: psycopg.Connection) -> None:
        builder.cancel_safe()
        wait_for(lambda: not sql("SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database()"))

    return cancel


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def until_blocked(sql: Sql) -> Callable[..., None]:
    """Wait until this many sessions of the test's database wait for a lock."""
    return lambda sessions=1: wait_for(lambda: [(sessions,)] == sql(WAITING))


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    """Run something in a thread; its ``result()`` is what it returns or raises."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit
