"""The consumer's database connection: opened when needed, closed when no longer usable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from dupe_audit.connect import libpq_url
from dupe_audit.consumer.config import Config
from dupe_audit.consumer.events import Row
from dupe_audit.consumer.logs import log_event
from dupe_audit.errors import WrongUsage
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.statements import statement
from dupe_audit.writer import Arbiter, Outcome, Unavailable, Writer


class Database:
    """One connection and its writer. Every method raises ``Unavailable`` while the database is unreachable."""

    def __init__(self, url: str, config: Config) -> None:
        """Parse the URL, without connecting.

        Raises:
            WrongUsage: the URL cannot be parsed.
        """
        self._config = config
        #: retried transactions by SQLSTATE; the caller takes and clears them
        self.retries: Counter[str] = Counter()
        try:
            self._conninfo = make_conninfo(
                libpq_url(url),
                connect_timeout=max(2, config.database.connect_timeout // 1000),  # libpq treats 1 as 2
                fallback_application_name=f"dupe-audit consume {config.kafka.group}",
            )
        except psycopg.ProgrammingError:
            # Its message quotes the URL, which may contain a password.
            raise WrongUsage(
                "The database URL cannot be read. Percent-escape special characters in the password."
            ) from None
        self._connection: psycopg.Connection[Any] | None = None
        self._writer: Writer | None = None
        self._logged: dict[str, Any] = {}  #: the database that was logged last
        self._started = False  # after that, a lost connection does not turn a missing arbiter into a reason to stop

    def write(self, rows: Sequence[Row]) -> list[Outcome]:
        """Write the rows; return the outcome of each, in the same order."""
        with self._open_writer() as writer:
            return writer.write(rows)

    def probe(self) -> Arbiter:
        """Ask the server which constraint or index keeps the key unique."""
        with self._open_writer() as writer:
            return writer.probe()

    @property
    def arbiter(self) -> Arbiter:
        """What keeps the key unique, as last probed."""
        with self._open_writer() as writer:
            return writer.arbiter

    def close(self) -> None:
        """Close the connection, if it is open."""
        connection, self._connection, self._writer = self._connection, None, None
        if connection is not None:
            connection.close()

    @contextmanager
    def _open_writer(self) -> Iterator[Writer]:
        """Yield the writer; close the connection if it is no longer usable afterwards."""
        try:
            yield self._ready_writer()
        except Unavailable as unavailable:
            self._collect_retries()
            self.retries[unavailable.sqlstate or "none"] += 1
            if unavailable.reconnect:
                self.close()
            raise
        except KeyboardInterrupt:
            self.close()  # interrupted in the middle: the server rolls back the transaction
            raise
        self._started = True
        self._collect_retries()

    def _collect_retries(self) -> None:
        if self._writer is not None:
            self.retries += self._writer.retries
            self._writer.retries.clear()

    def _ready_writer(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(
                self._ready_connection(),
                self._config.table.key,
                [column.name for column in self._config.columns],
                ignore=self._config.table.ignore,
                needs_arbiter=self._config.table.needs_arbiter and not self._started,
            )
        return self._writer

    def _ready_connection(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            try:
                connection = psycopg.connect(self._conninfo, autocommit=True)
                self._connection = connection
                self._log_database(connection)
                self._set_timeouts(connection)
            except psycopg.Error as error:
                self.close()
                raise Unavailable(f"Cannot connect: {reason(error)}", sqlstate=error.sqlstate, reconnect=True) from None
        return self._connection

    def _log_database(self, connection: psycopg.Connection[Any]) -> None:
        """Log which database the consumer writes to, unless it is still the one that was logged last."""
        info = connection.info
        database: dict[str, Any] = {"database": info.dbname, "host": info.host, "port": info.port, "role": info.user}
        if database != self._logged:
            log_event("database", **database)
            self._logged = database

    def _set_timeouts(self, connection: psycopg.Connection[Any]) -> None:
        """Set the session's timeouts; not through a pooler, whose session another client uses next (H171)."""
        (backend,) = connection.execute(statement("backend_pid").encode()).fetchone() or (None,)
        if backend != connection.info.backend_pid:
            return
        settings = self._config.database
        for name, milliseconds in (
            ("statement_timeout", settings.statement_timeout),
            ("lock_timeout", settings.lock_timeout),
            ("idle_in_transaction_session_timeout", 2 * settings.statement_timeout),
        ):
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, str(milliseconds)))
