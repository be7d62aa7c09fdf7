"""Fixtures for the tests of the steps: execute a step, read a table, or clean and restore it."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql as pgsql
from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup, pace
from dupe_audit.constraint import drop, enforce, window
from dupe_audit.model import Batch, BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.restore import restore
from dupe_audit.statements import ident
from dupe_audit.verify import verify
from waiting import wait_for

Rows = list[tuple[Any, ...]] | None
Sql = Callable[[str], Rows]
Dump = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _patient_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server keep a silent client longer than a busy machine takes between two statements of a held build."""
    monkeypatch.setattr(window, "HELD_IDLE_LIMIT", "1min")


@pytest.fixture
def clean(conn: Connection) -> Callable[..., list[Batch]]:
    """Clean a whole key and return the batches; the keyword arguments are the rule."""

    def clean(key: UniqueKey, **rule: Any) -> list[Batch]:
        return list(cleanup(conn, key, CleanupRule(**rule), give_up_after="2s"))

    return clean


@pytest.fixture
def dump(sql: Sql) -> Dump:
    """Return every row of a table as PostgreSQL prints it, sorted, so that dumps compare byte for byte."""

    def read(*name: str) -> list[str]:
        rows = sql(f'SELECT t::text FROM ONLY {ident(*name)} AS t ORDER BY t::text COLLATE "C"')
        return [row[0] for row in rows or []]

    return read


@pytest.fixture
def value(sql: Sql) -> Callable[[str], Any]:
    """Execute SQL and return the first value of its first row."""

    def read(statement: str) -> Any:
        rows = sql(statement)
        assert rows
        return rows[0][0]

    return read


@pytest.fixture
def there_and_back(conn: Connection, dump: Dump) -> Callable[..., int]:
    """Clean, enforce, drop and restore twice, check that nothing is lost, and return the number of extras."""

    def walk(key: UniqueKey, **rule: Any) -> int:
        where = (key.schema, key.table) if key.schema else (key.table,)
        before, archived = dump(*where), 0
        for _ in range(2):
            batches = list(cleanup(conn, key, CleanupRule(**rule), give_up_after="2s"))
            archived = sum(batch.archived for batch in batches)
            enforce(conn, key, BuildRule())
            report = verify(conn, key)
            assert [f.id for f in report.findings if f.severity == "error"] == []
            assert len(before) - archived == len(dump(*where))
            drop(conn, key, BuildRule())
            assert report.run
            list(restore(conn, report.run.id))
            assert before == dump(*where)
        return archived

    return walk


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no batch be smaller because the machine is busy, for tests that count rows per batch."""
    monkeypatch.setattr(pace, "TARGET", 600)


@pytest.fixture
def plans_of_a_batch(conn: Connection) -> Callable[..., str]:
    """Execute two batches, explain every statement of the second as if executed again, and return the plans."""

    def explain(batches: Generator[Batch, None, None]) -> str:
        ran: list[str] = []
        event.listen(conn, "before_cursor_execute", lambda *args: ran.append(args[2]))
        next(batches)
        next(batches)
        begin = max(n for n, text in enumerate(ran) if text.startswith("BEGIN"))
        opening, batch = ran[begin : begin + 2], ran[begin + 2 :]

        for statement in opening:
            execute(conn, statement)
        explainable = [text for text in batch if text.startswith(("SELECT", "INSERT", "UPDATE", "WITH"))]
        rows = [row[0] for text in explainable for row in execute(conn, f"EXPLAIN {text}")]
        execute(conn, "ROLLBACK")
        batches.close()
        return "\n".join(rows)

    return explain


@pytest.fixture
def connect(database_url: str) -> Iterator[Callable[..., Connection]]:
    """Open another autocommit connection, with settings that a role, a database or a URL could have."""
    with ExitStack() as opened:

        def open_(**settings: str) -> Connection:
            escaped = {name: setting.replace(" ", "\\ ") for name, setting in settings.items()}
            options = " ".join(f"-c {name}={setting}" for name, setting in escaped.items())
            engine = create_engine(
                database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"options": options}
            )
            return opened.enter_context(engine.connect())

        yield open_


@pytest.fixture(scope="session")
def member(server_url: str) -> Iterator[str]:
    """Create a role without special rights; use it with ``connect(role=member)``."""
    name = f"dupe_audit_member_{uuid.uuid4().hex[:8]}"
    url = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)
    for statement in ("CREATE ROLE {}", "DROP ROLE {}"):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(pgsql.SQL(statement).format(pgsql.Identifier(name)))
        if statement.startswith("CREATE"):
            yield name


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Wait until a question is answered with something true."""
    return wait_for


PROLOGUE = """
import sys
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool
from dupe_audit.cleanup import cleanup, pace
from dupe_audit.constraint import enforce
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore
conn = create_engine(sys.argv[1], poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()
"""


@pytest.fixture
def client(database_url: str) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a program in another process, with its own connection ``conn``; tests may kill it."""
    with ExitStack() as started:

        def start(program: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", PROLOGUE + program, database_url],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start
