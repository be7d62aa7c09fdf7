"""A connection pooler between the client and the server is detected, and refused before anything is sent to it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, NullPool, create_engine, event

from dupe_audit import UniqueKey
from dupe_audit.model import CleanupRule
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.hosts import SUPABASE_TRANSACTIONS, documented_pooler, suspected_pooler
from dupe_audit.postgres.poolers import pooler
from dupe_audit.preflight import blockers, preflight
from dupe_audit.statements import literal, statement
from dupe_audit.watch.look import look, prepare
from pgbouncer import Through, pgbouncer

KEY = UniqueKey(table="t", columns=("k",))
TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)"
NEON = "ep-cool-lake-123456.eu-central-1.aws.neon.tech"
NEON_POOLER = "ep-cool-lake-123456-pooler.eu-central-1.aws.neon.tech"
SUPABASE = "aws-0-eu-west-1.pooler.supabase.com"


@pytest.fixture
def through(database_url, server, tmp_path) -> Iterator[Through]:
    """The test's database through PgBouncer in transaction mode, by the name of a host."""
    with pgbouncer(database_url, tmp_path) as url:
        yield url


@pytest.fixture
def in_sessions(database_url, server, tmp_path) -> Iterator[Through]:
    """The test's database through PgBouncer in session mode, by the name of a host."""
    with pgbouncer(database_url, tmp_path, mode="session") as url:
        yield url


def connected(url: str) -> Connection:
    return create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect()


def test_pooler_is_detected_h171(through, conn):
    """A connection through a pooler is distinguished from a direct one."""
    with connected(through()) as pooled:
        assert pooler(pooled) is not None
    assert pooler(conn) is None


def test_pooler_stops_the_cleanup_unless_accepted(through, sql):
    """A cleanup through a pooler is refused unless the finding is accepted, as for a pooler in session mode."""
    sql(TABLE)
    with connected(through()) as pooled:
        refused = blockers(pooled, KEY, CleanupRule())
        accepted = blockers(pooled, KEY, CleanupRule(), accept=("transaction-pooler",))

    assert ["transaction-pooler"] == [f.id for f in refused]
    assert [] == accepted


def test_nothing_is_sent_through_a_pooler_but_the_question_who_answers(through, sql):
    """A pooler is refused before a setting is changed, which another client would find in its session."""
    sql(TABLE)
    sent: list[str] = []
    for host, questions in (("127.0.0.1", 3), (NEON_POOLER, 1)):
        with connected(through(host)) as pooled:
            event.listen(pooled.engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
            for judge in (lambda: preflight(pooled, KEY).findings, lambda: blockers(pooled, KEY, CleanupRule())):
                assert ["transaction-pooler"] == [f.id for f in judge()]
                assert {"SELECT pg_catalog.version()", "SELECT pg_catalog.pg_backend_pid()"} >= set(sent)
                assert questions == len(sent)
                sent.clear()


def test_the_pooled_host_of_neon_is_redirected_to_the_direct_one(through):
    """The finding names the host without -pooler, whatever the backends answer."""
    with connected(through(NEON_POOLER)) as pooled:
        (finding,) = preflight(pooled, KEY).findings
    assert finding.message.startswith(f"A connection pooler sits in front of the server (host {NEON_POOLER} is Neon's")
    assert finding.help.startswith(f"Use the direct host: {NEON}. ")


@pytest.mark.parametrize("host", [NEON, SUPABASE])
def test_services_that_keep_sessions_are_not_taken_for_poolers(in_sessions, sql, host):
    """Neon's direct host and Supabase's session port greet with a number of their own, and are no pooler to avoid."""
    sql(TABLE)
    with connected(in_sessions()) as pooled, connected(in_sessions(host)) as direct:
        assert "the backend that answers is not the one" in str(pooler(pooled))
        assert pooler(direct) is None
        assert ["duplicates"] == [f.id for f in preflight(direct, KEY).findings]


def test_backends_that_change_betray_a_pooler_on_any_host(through, sql):
    """Where two statements are answered by different backends, even a host that should keep sessions is refused."""
    sql(TABLE)
    with connected(through()) as other, connected(through(NEON)) as pooled:
        assert pooler(pooled) is None
        held: list[Connection] = []

        def hold(*_: object) -> None:
            if not held:  # another client takes the only backend, so the next statement gets a new one
                held.append(other)
                other.exec_driver_sql("BEGIN")
                other.exec_driver_sql("SELECT 1")

        event.listen(pooled.engine, "after_cursor_execute", hold)
        detected = pooler(pooled)
        other.exec_driver_sql("ROLLBACK")
    assert detected is not None
    assert "different backends" in detected.sign


ADDRESSES = [
    ("db-primary", 5432),
    ("db-primary", 6432),
    ("db-primary", 6543),
    ("/var/run/postgresql", 5432),
    ("", 5432),
    (NEON, 5432),
    (NEON_POOLER, 5432),
    (NEON_POOLER.upper(), 5432),
    ("my-pooler.internal", 5432),
    ("pooler.internal", 5432),
    (SUPABASE, 5432),
    (SUPABASE, 6543),
    ("db.abcdefgh.supabase.co", 5432),
    ("db.abcdefgh.supabase.co", 6543),
    ("orders.proxy-abc123.eu-west-1.rds.amazonaws.com", 5432),
    ("orders.endpoint.proxy-abc123.eu-west-1.rds.amazonaws.com", 5432),
    ("orders.proxy-abc123.cn-north-1.rds.amazonaws.com.cn", 5432),
    ("orders.abc123.eu-west-1.rds.amazonaws.com", 5432),
    ("orders.cluster-abc123.eu-west-1.rds.amazonaws.com", 5432),
]


@pytest.mark.parametrize(("host", "port"), ADDRESSES)
def test_the_script_knows_the_same_addresses(conn, host, port):
    """The script names a pooler exactly where the online way does with a driver that does not say who greeted."""
    sign = statement("pooled_address", host=literal(host), port=literal(str(port)))
    in_script = execute(conn, sign).scalar_one()
    online = documented_pooler(host, port) or suspected_pooler(port)
    assert (in_script is None) == (online is None)
    if in_script and port == SUPABASE_TRANSACTIONS:
        assert in_script == f"port 6543 of {host}"


def test_watch_sets_nothing_in_a_pooled_session(through):
    """The viewer's own limits are not set in a session that the pooler gives to other clients next."""
    with connected(through()) as pooled:
        prepare(pooled)
        assert not look(pooled).ledger
        assert "off" == pooled.exec_driver_sql("SHOW default_transaction_read_only").scalar_one()
