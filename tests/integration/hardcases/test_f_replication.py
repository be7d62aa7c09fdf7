"""Hard cases F: a published table, its subscriber, and what is not replicated."""

import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import psycopg
import pytest
from psycopg import sql as pgsql
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import blockers, preflight
from dupe_audit.statements import template

KEY = UniqueKey(table="t", columns=("k",), name="uq")
TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 8)"


def libpq(url: str, **parts: str) -> str:
    """Return a URL as libpq reads it."""
    return make_url(url).set(drivername="postgresql", **parts).render_as_string(hide_password=False)


@pytest.fixture
def subscriber(server, database_url, sql) -> Iterator[Callable[[str], SimpleNamespace]]:
    """Publish the table and subscribe to it from a second database; return a function that queries that one."""
    name = f"dupe_audit_subscriber_{uuid.uuid4().hex[:8]}"
    sql(f"CREATE DATABASE {name}")
    with psycopg.connect(libpq(database_url, database=name), autocommit=True) as connection:

        def ask(statement):
            cursor = connection.execute(statement.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else None

        def subscribe(publication):
            sql(f"{TABLE}; CREATE PUBLICATION p {publication}")
            # On a single server the slot must exist first: its creation would wait for the subscribing transaction.
            sql(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
            ask(f"{TABLE}; INSERT INTO t VALUES (4, 8)")
            connection.execute(
                pgsql.SQL(
                    "CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p "
                    "WITH (create_slot = false, slot_name = {}, copy_data = false)"
                ).format(libpq(database_url), name)
            )
            url = make_url(database_url).set(database=name)
            return SimpleNamespace(ask=ask, url=url)

        yield subscribe
        if ask("SELECT 1 FROM pg_subscription WHERE subname = 's'"):
            ask("ALTER SUBSCRIPTION s DISABLE")
            ask("DROP SUBSCRIPTION s")
    sql(f"DROP DATABASE {name} WITH (FORCE)")


def run_all(conn):
    """Clean and enforce the key."""
    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())


def test_h115_subscribed_table_is_reported(database_url, sql, conn, subscriber):
    """If a subscription writes to the table, preflight warns that a later duplicate would stop it."""
    other = subscriber("FOR TABLE t")
    assert "subscribed-table" not in [f.id for f in preflight(conn, KEY).findings]
    with create_engine(other.url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        (finding,) = [f for f in preflight(connection, KEY).findings if f.id == "subscribed-table"]
    assert ("warning", True) == (finding.severity, "subscription s" in finding.message)


def test_h115_subscriber_gets_the_deletes_but_not_the_constraint(sql, conn, subscriber, wait_until):
    """The extras are deleted on the subscriber too, but its own duplicates stay, and new ones are accepted."""
    other = subscriber("FOR TABLE t")
    (finding,) = [f for f in preflight(conn, KEY).findings if f.id == "published-table"]
    assert "the constraint is not" in finding.message
    run_all(conn)
    wait_until(lambda: [(1,), (3,), (4,)] == other.ask("SELECT id FROM t ORDER BY id"))
    assert [] == other.ask("SELECT 1 FROM pg_constraint WHERE conname = 'uq'")
    other.ask("INSERT INTO t VALUES (5, 7)")


@pytest.mark.min_pg(15)  # the first version in which a subscriber counts its errors
def test_h115_publication_of_all_tables_needs_the_ledger_on_the_subscriber(sql, conn, subscriber, wait_until):
    """FOR ALL TABLES is refused: if accepted, the subscriber stops at the ledger's rows until it has the tables."""
    other = subscriber("FOR ALL TABLES")
    (finding,) = blockers(conn, KEY, CleanupRule())
    assert ("published-ledger", True) == (finding.id, "Publication p is FOR ALL TABLES" in finding.message)
    assert [] == blockers(conn, KEY, CleanupRule(), accept=["published-ledger"])
    run_all(conn)
    wait_until(lambda: other.ask("SELECT 1 FROM pg_stat_subscription_stats WHERE apply_error_count > 0"))
    assert [(4,)] == other.ask("SELECT count(*) FROM t")

    other.ask(f"CREATE SCHEMA dupe_audit; {template('create_run_table')}; {template('create_batch_table')}")
    archive = "dupe_audit.archive_1"
    other.ask(f"CREATE TABLE {archive} AS SELECT t.*, t.id AS dupe_audit_survivor_1 FROM t WITH NO DATA")
    other.ask(template("finish_archive").replace("{archive}", archive))
    wait_until(lambda: [(1,), (3,), (4,)] == other.ask("SELECT id FROM t ORDER BY id"))


@pytest.mark.parametrize(
    "identity",
    [
        "ALTER TABLE t ADD PRIMARY KEY (id) DEFERRABLE",
        "CREATE UNIQUE INDEX i ON t (id); ALTER TABLE t REPLICA IDENTITY USING INDEX i; DROP INDEX i",
    ],
    ids=["deferrable primary key", "dropped index"],
)
def test_h113_unusable_replica_identity_is_refused(sql, conn, identity):
    """If PostgreSQL would reject every delete for lack of a replica identity, the upgrade is refused beforehand."""
    sql(f"CREATE TABLE t (id int NOT NULL, k int); {identity}; CREATE PUBLICATION p FOR TABLE t")
    sql("INSERT INTO t VALUES (1, 7), (2, 7)")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        sql("DELETE FROM t WHERE id = 2")
    assert "replica-identity" in [f.id for f in blockers(conn, KEY, CleanupRule())]
