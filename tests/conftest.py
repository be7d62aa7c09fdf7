"""A real PostgreSQL for every test: one server per session, one fresh database per test."""

import gc
import os
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, LiteralString

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql as pgsql
from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.pool import NullPool

from dupe_audit.embedded import Server
from launch import Launcher
from thoroughness import THOROUGH, selection

SETTINGS = {
    # It locks tables, holds snapshots and collects statistics at moments that no test can know.
    "autovacuum": "off",
    "fsync": "off",
    "max_connections": "60",
    "max_prepared_transactions": "10",
    "max_wal_size": "256MB",
    "track_commit_timestamp": "on",
    "wal_keep_size": "256MB",
    "wal_level": "logical",
    "wal_retrieve_retry_interval": "100ms",
}
EXTENSIONS = ("citext", "hstore", "amcheck")
SERVER_VERSION = pytest.StashKey[str]()

#: An example has no deadline, because it takes longer while the machine does other work.
settings.register_profile("thorough", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=25)
settings.load_profile("thorough" if THOROUGH else "quick")

Rows = list[tuple[Any, ...]] | None
Sql = Callable[[str], Rows]


def conninfo(url: URL | str, **overrides: Any) -> str:
    """Return the libpq form of a SQLAlchemy URL, whose parts may be replaced."""
    return make_url(url).set(drivername="postgresql", **overrides).render_as_string(hide_password=False)


def pytest_configure() -> None:
    """Handle Ctrl-C even in a shell's background job, which ignores it, as would the programs started from it."""
    gc.disable()  # until the tests are collected: it would take a third of that time
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only thorough tests need, or run nothing else."""
    if not THOROUGH:
        items[:], left_out = selection(items, config.args)
        config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Leave the thousands of collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)  # by default, collections take 4 % of the time


def pytest_report_header() -> str:
    """Say where the server of this run comes from."""
    if "DUPE_AUDIT_TEST_URL" in os.environ:
        return "PostgreSQL: DUPE_AUDIT_TEST_URL"
    return f"PostgreSQL: {os.environ.get('DUPE_AUDIT_TEST_PG_BIN', 'embedded')}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the server version of the tests, which is known only after they have run."""
    if version := config.stash.get(SERVER_VERSION, None):
        terminalreporter.write_line(f"tested on PostgreSQL {version}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the version from a pytest-xdist worker; each worker has its own server."""
    if version := getattr(node, "workeroutput", {}).get("server_version"):
        node.config.stash[SERVER_VERSION] = version


@pytest.fixture(scope="session")
def pg_bin() -> Path | None:
    """The directory of the server programs to test with; None means those of the embedded wheel."""
    directory = os.environ.get("DUPE_AUDIT_TEST_PG_BIN")
    return Path(directory).resolve() if directory else None


def _in_memory() -> str | None:
    """Return a directory in memory with enough space for a server, or None."""
    directory = "/dev/shm"  # noqa: S108 - the server creates a private directory in it
    with suppress(OSError):
        if shutil.disk_usage(directory).free > 8 << 30:
            return directory
    return None


@pytest.fixture(scope="session")
def own_server(pg_bin: Path | None) -> Iterator[Server | None]:
    """The session's server, unless a URL is given; in memory if possible, because every test creates a database."""
    if "DUPE_AUDIT_TEST_URL" in os.environ:
        yield None
        return
    before, tempfile.tempdir = tempfile.tempdir, _in_memory() or tempfile.tempdir
    try:
        server = Server.start(pg_bin, SETTINGS)
    finally:
        tempfile.tempdir = before
    with server as running:
        yield running


@pytest.fixture
def server(own_server: Server | None) -> Server:
    """The session's server, for tests that restart or crash it."""
    if own_server is None:
        pytest.skip("the server of DUPE_AUDIT_TEST_URL is not ours to stop")
    return own_server


@pytest.fixture(scope="session")
def server_url(own_server: Server | None, pytestconfig: pytest.Config) -> str:
    """A superuser's URL of the server."""
    url = own_server.url() if own_server else os.environ["DUPE_AUDIT_TEST_URL"]
    with psycopg.connect(conninfo(url)) as connection:
        version = connection.info.parameter_status("server_version") or "?"
    pytestconfig.stash[SERVER_VERSION] = version
    if hasattr(pytestconfig, "workeroutput"):
        pytestconfig.workeroutput["server_version"] = version
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def server_version_num(server_url: str) -> int:
    """The server's version number, in PostgreSQL's form: 150014 is 15.14."""
    with psycopg.connect(conninfo(server_url)) as connection:
        return connection.info.server_version


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """End a test that hangs, for example on a lock that is never released."""

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError("the test took longer than fifteen minutes")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(900)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _min_pg(request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("min_pg")
    if marker and request.getfixturevalue("server_version_num") < marker.args[0] * 10000:
        pytest.skip(f"needs PostgreSQL {marker.args[0]}")


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    """Starts alembic and dupe-audit as processes."""
    with Launcher() as started:
        yield started


class Administrator:
    """Creates and drops databases, on one connection, because opening one takes longer than the work."""

    def __init__(self, url: str, version: int) -> None:
        self._url, self._version = conninfo(url), version
        self._connection: psycopg.Connection | None = None

    def execute(self, statement: LiteralString, **names: str) -> None:
        """Execute one statement outside a transaction, with the names as quoted identifiers."""
        identifiers = {key: pgsql.Identifier(name) for key, name in names.items()}
        composed = pgsql.SQL(statement).format(**identifiers)
        if self._connection:
            try:
                self._connection.execute(composed)
            except psycopg.OperationalError:
                if not self._connection.broken:
                    raise
                self._connection = None  # a test has stopped the server, which is running again
            else:
                return
        self._connection = psycopg.connect(self._url, autocommit=True)
        self._connection.execute(composed)

    def copy(self, original: str, name: str) -> None:
        """Create a database as a copy of another."""
        # Copying the files takes half the time of logging every page, which PostgreSQL 15 and newer do by default.
        # It also copies the cache of the catalog, which the first connection would have to build.
        if self._version >= 150000:
            self.execute("CREATE DATABASE {name} TEMPLATE {original} STRATEGY file_copy", name=name, original=original)
        else:
            self.execute("CREATE DATABASE {name} TEMPLATE {original}", name=name, original=original)

    def drop(self, name: str) -> None:
        """Drop a database, and end whoever is connected to it."""
        # The server looks for other sessions only every 100 ms, and those that a test has just closed end in two.
        self.execute("SELECT 1")
        for _ in range(10):
            query = "SELECT FROM pg_stat_activity WHERE datname = %s"
            if self._connection and not self._connection.execute(query, [name]).rowcount:
                break
            time.sleep(0.002)
        self.execute("DROP DATABASE {name} WITH (FORCE)", name=name)

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()


@pytest.fixture(scope="session")
def administrator(server_url: str, server_version_num: int) -> Iterator[Administrator]:
    """Creates and drops databases."""
    opened = Administrator(server_url, server_version_num)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def template(server_url: str, administrator: Administrator) -> Iterator[str]:
    """An empty database with the extensions."""
    name = f"dupe_audit_template_{uuid.uuid4().hex[:8]}"
    administrator.execute("CREATE DATABASE {name}", name=name)
    with psycopg.connect(conninfo(server_url, database=name), autocommit=True) as connection:
        rows = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
        for extension in set(EXTENSIONS) & {row[0] for row in rows}:
            connection.execute(pgsql.SQL("CREATE EXTENSION {}").format(pgsql.Identifier(extension)))
    yield name
    administrator.drop(name)


@pytest.fixture(scope="session")
def prepared(
    server_url: str, administrator: Administrator, template: str
) -> Iterator[Callable[[str, Callable[[str], None]], str]]:
    """Return the name of a database to clone; a function prepares it, once per name, given its URL."""
    names: dict[str, str] = {}

    def prepare(name: str, work: Callable[[str], None]) -> str:
        if name not in names:
            full = names[name] = f"{template}_{name}"
            administrator.copy(template, full)
            work(make_url(server_url).set(database=full).render_as_string(hide_password=False))
        return names[name]

    yield prepare
    for name in names.values():
        administrator.drop(name)


@pytest.fixture
def original(template: str) -> str:
    """The database that this test's own is cloned from."""
    return template


@pytest.fixture
def database_url(server_url: str, administrator: Administrator, original: str) -> Iterator[str]:
    """The SQLAlchemy URL of a fresh database, dropped after the test."""
    name = f"dupe_audit_test_{uuid.uuid4().hex[:8]}"
    administrator.copy(original, name)
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    administrator.drop(name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An autocommit engine for the test's database, which keeps no connection open."""
    engine = create_engine(database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    """An autocommit connection to the test's database."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def psycopg_connect(database_url: str) -> Iterator[Callable[..., psycopg.Connection]]:
    """Open one more psycopg connection to the test's database; takes psycopg's arguments."""
    opened: list[psycopg.Connection] = []

    def connect(**options: Any) -> psycopg.Connection:
        opened.append(psycopg.connect(conninfo(database_url), **options))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture
def sql(psycopg_connect: Callable[..., psycopg.Connection]) -> Sql:
    """Execute one or more SQL statements in autocommit; return the rows of the last one, or None."""
    connection = psycopg_connect(autocommit=True)

    def run(statement: str) -> Rows:
        cursor = connection.execute(statement.encode())  # no parameters, so psycopg uses the simple protocol
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else None

    return run
