"""The consumer's connection: opened when it is needed, given up when it is of no more use."""

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
from dupe_audit.errors import WrongUsage
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.writer import Arbiter, Outcome, Unavailable, Writer


class Database:
    """One connection and its writer. Every method raises ``Unavailable`` while the database is away."""

    def __init__(self, url: str, config: Config) -> None:
        """Connect to nothing yet.

        Raises:
            WrongUsage: the URL cannot be read.
        """
        self._config = config
        self.retries: Counter[str] = (
            Counter()
        )  #: by SQLSTATE, transactions that were tried again; for the caller to take
        try:
            self._conninfo = make_conninfo(
                libpq_url(url),
                connect_timeout=max(2, config.database.connect_timeout // 1000),  # libpq takes 1 for 2
                fallback_application_name=f"dupe-audit consume {config.kafka.group}",
            )
        except psycopg.ProgrammingError:
            # Its message quotes the URL, which may hold a password.
            raise WrongUsage(
                "The database URL cannot be read. Percent-escape special characters in the password."
            ) from None
        self._connection: psycopg.Connection[Any] | None = None
        self._writer: Writer | None = None

    def write(self, rows: Sequence[Row]) -> list[Outcome]:
        """Write the rows; return what became of each."""
        with self._held() as writer:
            return writer.write(rows)

    def look(self) -> Arbiter:
        """Ask the server what keeps the key unique."""
        with self._held() as writer:
            return writer.probe()

    @contextmanager
    def _held(self) -> Iterator[Writer]:
        """Give the writer; let go of the connection when it is of no more use."""
        try:
            yield self._opened()
        except Unavailable as away:
            self._count_retries()
            self.retries[away.sqlstate or "none"] += 1
            if away.reconnect:
                self.close()
            raise
        except KeyboardInterrupt:
            self.close()  # broken off in the middle: the server rolls back whatever it was doing
            raise
        self._count_retries()

    def _count_retries(self) -> None:
        if self._writer is not None:
            self.retries += self._writer.retries
            self._writer.retries.clear()

    @property
    def arbiter(self) -> Arbiter:
        """What keeps the key unique, as last seen."""
        with self._held() as writer:
            return writer.arbiter

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection, self._writer = self._connection, None, None
        if connection is not None:
            connection.close()

    def _opened(self) -> Writer:
        if self._writer is None:
            self._writer = Writer(
                self._opened_connection(),
                self._config.table.key,
                [column.name for column in self._config.columns],
                ignore=self._config.table.ignore,
            )
        return self._writer

    def _opened_connection(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            try:
                connection = psycopg.connect(self._conninfo, autocommit=True)
                self._connection = connection
                self._set_timeouts(connection)
            except psycopg.Error as error:
                self.close()
                raise Unavailable(f"Cannot connect: {reason(error)}", sqlstate=error.sqlstate, reconnect=True) from None
        return self._connection

    def _set_timeouts(self, connection: psycopg.Connection[Any]) -> None:
        """Set them for the session; not through a pooler, where the session is another's next (H171)."""
        (backend,) = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone() or (None,)
        if backend != connection.info.backend_pid:
            return
        rule = self._config.database
        for name, value in (
            ("statement_timeout", rule.statement_timeout),
            ("lock_timeout", rule.lock_timeout),
            ("idle_in_transaction_session_timeout", 2 * rule.statement_timeout),
        ):
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, str(value)))
