"""A PostgreSQL to try revisions on: an embedded one, or scratch databases on a server that the user names."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.connect import connect, describe, libpq_url
from dupe_audit.embedded import EmbeddedServerError, Server
from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import reason
from dupe_audit.statements import ident, literal, statement

log = logging.getLogger("alembic.dupe_audit")

EMBEDDED = "embedded"

#: of the embedded server; no data on it has to survive a crash
SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "max_connections": "40"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratch:
    """A server on which databases can be created and dropped."""

    url: str  #: of an existing database; nothing in it is changed
    description: str  #: such as ``PostgreSQL 18.6, embedded``

    @contextmanager
    def database(self, copy_of: str | None = None) -> Iterator[str]:
        """Yield the URL of a new database, empty or a copy; it is dropped afterwards whatever happens.

        Args:
            copy_of: the URL of another scratch database; connections to it are ended.

        Raises:
            DupeAuditError: the role may not create databases.
        """
        name = f"dupe_audit_check_{uuid.uuid4().hex[:12]}"
        template = _database(copy_of) if copy_of else "template0"
        with connect(self.url) as connection:
            try:
                if copy_of:
                    # An engine of the project may keep a connection in its pool; a database in use cannot be copied.
                    execute(connection, statement("scratch/end_sessions", database=literal(template)))
                new, copied = ident(name), ident(template)
                execute(connection, statement("scratch/create_database", database=new, template=copied))
            except DBAPIError as error:
                raise DupeAuditError(
                    f"No scratch database can be created: {reason(error)}. "
                    "Name a role with CREATEDB in --server, or leave --server out."
                ) from error
        try:
            yield _with_database(self.url, name)
        finally:
            with connect(self.url) as connection:
                execute(connection, statement("scratch/drop_database", database=ident(name)))


@contextmanager
def scratch(server: str) -> Iterator[Scratch]:
    """Yield a server: ``embedded``, which is stopped afterwards, or the one that a URL names.

    Raises:
        DupeAuditError: it cannot be started or reached.
        WrongUsage: *server* is not ``embedded`` and not a URL.
    """
    with ExitStack() as stack:
        if server == EMBEDDED:
            try:
                url = stack.enter_context(Server.start(settings=SETTINGS)).url()
            except EmbeddedServerError as error:
                raise DupeAuditError(
                    f"{error} Or name a server on which databases can be created: --server URL"
                ) from error
        elif "://" in server:
            url = server
        else:
            raise WrongUsage(f"--server must be {EMBEDDED!r} or a URL, not {server!r}.")
        url = _with_driver(url)
        with connect(url) as connection:
            description = f"PostgreSQL {_version(connection)}"
            place = (
                "a temporary server of this check" if server == EMBEDDED else f"the server of {describe(connection)}"
            )
            log.info("scratch databases are created and dropped on %s", place)
        yield Scratch(url=url, description=f"{description}, embedded" if server == EMBEDDED else description)


def _version(connection: Connection) -> str:
    return str(execute(connection, "SHOW server_version").scalar_one()).split()[0]


def _database(url: str) -> str:
    return unquote(urlsplit(libpq_url(url)).path.removeprefix("/"))


def _with_database(url: str, name: str) -> str:
    """Return *url* with another database."""
    return _with_driver(urlsplit(libpq_url(url))._replace(path="/" + quote(name)).geturl())


def _with_driver(url: str) -> str:
    """Return *url* with psycopg 3, which is always installed with us, and which async engines accept too.

    For a URL without a driver, SQLAlchemy 2.0 uses psycopg2.
    """
    return "postgresql+psycopg" + libpq_url(url).removeprefix("postgresql")
