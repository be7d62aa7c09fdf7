"""A database to torture: its table, its log, and how to connect."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql as pgsql
from sqlalchemy import make_url

from torture.policies import ARCHIVE

#: of the harness's own server; the tests' server has them, too
SETTINGS = {"fsync": "off", "max_connections": "60", "track_commit_timestamp": "on"}

HERE = Path(__file__).parent

ROWS, KEYS = 12_000, 3_000

#: rows of a world in which an upgrade is quick
FEW_ROWS = 4_000

#: keys of a small world
FEW_KEYS = 20

#: in a world with a tree, so that a lock that is requested in the wrong order ends in a deadlock soon
DEADLOCK_TIMEOUT = "100ms"

#: no count relies on an index; the cost of a disabled scan would make the server compile every query
NO_INDEX = "-c enable_indexscan=off -c enable_indexonlyscan=off -c enable_bitmapscan=off -c jit=off"


@dataclass
class World:
    """A database, by its SQLAlchemy URL; the URL changes when everything moves to another database."""

    url: str
    partial: bool = False  #: whether the key is lower(k) among the live rows (of a tree, k), instead of k among all
    policy: str = ARCHIVE  #: what becomes of the extras
    tree: bool = False  #: whether the table is partitioned

    @property
    def changes_rows(self) -> bool:
        """Whether rows that stay in the table are changed, so that the application may change them again."""
        return self.policy != ARCHIVE

    def connect(self, name: str = "torture harness", options: str = "") -> psycopg.Connection:
        """Open an autocommit connection."""
        url = make_url(self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        return psycopg.connect(url, autocommit=True, application_name=name, options=options, connect_timeout=10)

    def run(self, *statements: str) -> None:
        """Execute statements, each in its own transaction."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def set_course(self, direction: str, *, promised: bool = False) -> None:
        """Record the direction of the harness, and whether a program has promised the constraint."""
        self.run(f"UPDATE course SET direction = '{direction}', promised = {promised}")

    def ask(self, question: str) -> list[Any]:
        """Return the first row of a query's result."""
        with self.connect() as connection:
            return list(connection.execute(question.encode()).fetchone() or ())


@contextmanager
def new_world(
    server_url: str, name: str, rows: int = ROWS, *, partial: bool = False, policy: str = ARCHIVE, tree: bool = False
) -> Iterator[World]:
    """Create a database with the table, its rows over 3,000 keys and their log; drop it at the end."""
    name = f"dupe_audit_{name}_{os.getpid()}"
    server = World(server_url)
    with server.connect() as connection:
        connection.execute(pgsql.SQL("CREATE DATABASE {}").format(pgsql.Identifier(name)))
    world = World(make_url(server_url).set(database=name).render_as_string(hide_password=False), partial, policy, tree)
    try:
        with world.connect() as connection:
            fill(connection, rows, partial=partial, policy=policy, tree=tree)
            add_children(connection, tree=tree)
        yield world
    finally:
        with server.connect() as connection:
            last = pgsql.Identifier(str(make_url(world.url).database))
            connection.execute(pgsql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(last))


def fill(
    connection: psycopg.Connection,
    rows: int,
    keys: int = KEYS,
    *,
    partial: bool = False,
    policy: str = ARCHIVE,
    tree: bool = False,
) -> None:
    """Create the table and the log in an empty database.

    Where the key is partial, one row in seven is not live, and outside a tree, the keys are spelled in several ways.
    """
    if connection.execute("SELECT FROM pg_available_extensions WHERE name = 'amcheck'").fetchone():
        connection.execute("CREATE EXTENSION amcheck")
    for file in ("tree.sql" if tree else "table.sql", "schema.sql"):
        connection.execute((HERE / file).read_bytes())
    if tree:
        name = pgsql.Identifier(connection.info.dbname)
        connection.execute(pgsql.SQL("ALTER DATABASE {} SET deadlock_timeout = {}").format(name, DEADLOCK_TIMEOUT))
    key, live = f"(i %% {keys} + 1)::text", "true"
    if partial:
        connection.execute((HERE / ("partial_tree.sql" if tree else "partial.sql")).read_bytes())
        key = key if tree else f"(ARRAY['key ', 'Key ', 'KEY '])[1 + i / {keys} %% 3] || {key}"
        live = "i %% 7 > 0"
    connection.execute(
        f"WITH row AS (INSERT INTO tt (k, v, live) SELECT {key}, md5(i::text), {live} "
        "FROM generate_series(0, %s) AS i RETURNING *) "
        "INSERT INTO oplog (op, id, k, v, live) SELECT 'insert', id, k, v, live FROM row ORDER BY id",
        (rows - 1,),
    )
    if policy != ARCHIVE:
        connection.execute((HERE / "outcomes.sql").read_bytes())
        connection.execute("INSERT INTO rule VALUES (%s)", (policy,))
        connection.execute(COUNTED)
    connection.execute("ANALYZE")


#: rows that are to be changed have counters, and some copies
COUNTED = """
WITH row AS (UPDATE tt SET hits = 1 + id * 37 % 1000, seen = id % 100, v = 'value ' || id % 2 RETURNING *),
     logged AS (UPDATE oplog SET v = row.v FROM row WHERE oplog.id = row.id)
INSERT INTO imagelog (after) SELECT image_of(row.*::tt) FROM row
"""


def add_children(connection: psycopg.Connection, *, tree: bool = False) -> None:
    """Give every fourth row a child."""
    key = "parent, parent_k" if tree else "parent"
    connection.execute(
        f"WITH row AS (INSERT INTO child ({key}, note) SELECT {'id, k' if tree else 'id'}, md5(id::text) FROM tt "
        "WHERE id % 4 = 1 RETURNING *) "
        "INSERT INTO childlog (op, id, parent, note) SELECT 'insert', id, parent, note FROM row ORDER BY id"
    )
    connection.execute("ANALYZE")
