"""A writer on the test's own table, in each of the two ways in which a batch can be sent."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psycopg
import pytest

from dupe_audit.model import UniqueKey
from dupe_audit.writer import Writer, delivery

Sql = Callable[[str], list[tuple[Any, ...]] | None]
HeldBuild = Callable[..., AbstractContextManager[psycopg.Connection]]
BUILD = "CREATE UNIQUE INDEX CONCURRENTLY once ON t (k)"


@pytest.fixture(params=["row", "stage"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether batches are sent as one statement per row or through the stage, however few rows they have."""
    monkeypatch.setattr(delivery, "STAGE_FROM", 1 if request.param == "stage" else 1_000_000)
    return request.param


@pytest.fixture
def writer(psycopg_connect: Callable[..., psycopg.Connection]) -> Callable[..., Writer]:
    """Make a writer over its own connection."""

    def make(key: UniqueKey, columns: list[str], **options: Any) -> Writer:
        return Writer(psycopg_connect(autocommit=True), key, columns, **options)

    return make


@pytest.fixture
def held_build(psycopg_connect: Callable[..., psycopg.Connection], sql: Sql) -> HeldBuild:
    """Hold the build of the index ``once`` on t (k) between two of its phases."""

    @contextmanager
    def hold(*, ready: bool) -> Iterator[psycopg.Connection]:
        """Hold an index build between its phases: it exists but enforces nothing, or is ready and not valid."""
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
        deadline = time.monotonic() + 60
        while not sql(f"SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('once') AND {wanted}"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield builder
        finally:
            holder.rollback()
            thread.join(20)

    return hold
