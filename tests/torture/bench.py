"""The database under the machine: the application's two sessions, the software's connection, and the stored rows."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine, make_url
from sqlalchemy.pool import NullPool

from torture.kills import Kill, Moment, armed, terminate
from torture.promises import runs
from torture.shadow import Row, Rows

COUNT = """
    SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off;
    SELECT count(*) FROM (SELECT FROM t {where} GROUP BY a, b HAVING count(*) > 1) AS duplicates
"""


#: a wait for a lock that another session of the machine holds never ends by itself, so it need not be long
LOCK_TIMEOUT = "10ms"


class Bench:
    """One database for many examples; ``reset`` empties it."""

    def __init__(self, database_url: str) -> None:
        self.engine = create_engine(database_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self.url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        self.app = self._session(autocommit=True)
        self.killer = psycopg.connect(self.url, autocommit=True)
        self.server_version = self.killer.info.server_version
        self._open: psycopg.Connection | None = None
        self._tool: Connection | None = None

    def _session(self, *, autocommit: bool) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=autocommit, options=f"-c lock_timeout={LOCK_TIMEOUT}")

    def close(self) -> None:
        """Close every connection."""
        self.lose_tool()
        self.end("rollback")
        self.app.close()
        self.killer.close()
        self.engine.dispose()

    def reset(self, *, primary_key: bool) -> None:
        """Start again with an empty table and no ledger."""
        self.end("rollback")
        self.sql("DROP SCHEMA IF EXISTS dupe_audit CASCADE; DROP TABLE IF EXISTS t")
        self.sql(f"CREATE TABLE t (id int {'PRIMARY KEY' if primary_key else ''}, a int, b int, v int)")

    def sql(self, statement: str) -> Any:
        """Execute SQL and return the rows of its last statement."""
        cursor = self.killer.execute(statement.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else None

    # The application

    @property
    def is_open(self) -> bool:
        """Whether a transaction of the second session is open."""
        return self._open is not None

    def session(self, name: str) -> psycopg.Connection:
        """Return one of the application's sessions; ``open`` stays in its transaction until ``end``."""
        if name != "open":
            return self.app
        if self._open is None:
            self._open = self._session(autocommit=False)
            self._open.execute("SELECT")  # makes each write's own transaction a savepoint in it
        return self._open

    def write(self, session: str, statement: str, values: tuple[Any, ...] = ()) -> int:
        """Return how many rows the statement wrote: none if a lock or the constraint prevented it."""
        connection = self.session(session)
        with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.UniqueViolation), connection.transaction():
            return connection.execute(statement.encode(), values).rowcount
        return 0

    def end(self, outcome: str) -> None:
        """Commit or roll back the open transaction."""
        if self._open is not None:
            getattr(self._open, outcome)()
            self._open.close()
            self._open = None

    # The software

    @property
    def tool(self) -> Connection:
        """The connection on which the software works; a new one if the last one was lost."""
        if self._tool is None:
            self._tool = self.engine.connect()
        return self._tool

    def lose_tool(self) -> None:
        """Close the software's connection."""
        if self._tool is not None:
            with suppress(Exception):
                self._tool.invalidate()
            self._tool.close()
            self._tool = None

    @contextmanager
    def crashing(self, n: int, moment: Moment) -> Iterator[Kill]:
        """End the software's backend at its n-th statement from now."""
        with armed(self.engine, Kill(self.killer, moment, n)) as kill:
            yield kill
        self.lose_tool()

    def terminate(self, pid: int) -> None:
        """End a backend; return when it has released its locks."""
        terminate(self.killer, pid)

    @contextmanager
    def holding_up(self, holder: str) -> Iterator[None]:
        """Keep a build waiting: before its first scan, or when its index is ready but not yet valid."""
        with psycopg.connect(self.url) as connection:
            if holder == "snapshot":
                connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                connection.execute("SELECT 1")
            else:
                connection.execute("LOCK TABLE t IN ROW EXCLUSIVE MODE")
            yield
            connection.rollback()

    # The stored rows
    def live(self) -> Rows:
        """Return the rows of the table."""
        rows = [row[0] for row in self.sql("SELECT to_jsonb(t) FROM t")]
        by_id = {row["id"]: row for row in rows}
        assert len(rows) == len(by_id), f"a row is in the table twice: {rows}"
        return by_id

    def archived(self) -> Rows:
        """Return the rows in the archives that are not restored, with the archives' own columns."""
        rows: list[Row] = []
        for run in (run for run, has_archive in runs(self.sql).items() if has_archive):
            archive = f"dupe_audit.archive_{run} r WHERE dupe_audit_restored_at IS NULL"
            rows += [row[0] for row in self.sql(f"SELECT to_jsonb(r) FROM {archive}")]
        by_id = {row["id"]: row for row in rows}
        assert len(rows) == len(by_id), f"a row is in the archives twice: {rows}"
        return by_id

    def duplicates(self, *, nulls_not_distinct: bool) -> int:
        """Count the groups in the table without using an index."""
        where = "" if nulls_not_distinct else "WHERE a IS NOT NULL AND b IS NOT NULL"
        with self.killer.transaction():
            return int(self.sql(COUNT.format(where=where))[0][0])

    def index_is_valid(self) -> bool | None:
        """Return whether the index is valid; None if it does not exist."""
        rows = self.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('uq')")
        return rows[0][0] if rows else None
