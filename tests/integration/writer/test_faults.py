"""Passing errors are retried; other errors say whether to repeat the call later or to stop."""

import psycopg
import pytest

from dupe_audit.errors import DupeAuditError
from dupe_audit.model import UniqueKey
from dupe_audit.writer import Unavailable, Writer

KEY = UniqueKey(table="t", columns=("k",), name="once")
TABLE = "CREATE TABLE t (k int, v int, CONSTRAINT once UNIQUE (k))"


def kinds(outcomes):
    """Return the kinds of the outcomes."""
    return [outcome.kind for outcome in outcomes]


def raising(sqlstate: str, times: int) -> str:
    """Return the SQL for a trigger that raises an error for the first *times* rows."""
    return (
        "CREATE SEQUENCE tries;"
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('tries') <= {times} THEN RAISE SQLSTATE '{sqlstate}'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fail()"
    )


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "55P03", "57014", "53100", "53200"])
def test_a_passing_error_is_retried(sql, writer, way, sqlstate):
    """After a passing error the writer retries and counts, and no row is lost."""
    sql(TABLE + ";" + raising(sqlstate, 2))
    rows = writer(KEY, ["k", "v"])
    assert ["inserted", "inserted"] == kinds(rows.write([(1, 1), (2, 1)]))
    assert {sqlstate: 2} == dict(rows.retries)
    assert [(2,)] == sql("SELECT count(*) FROM t")


@pytest.mark.parametrize("sqlstate", ["53100", "40001"])
def test_an_error_that_stays(sql, writer, way, sqlstate):
    """A full disk rejects no row: the writer raises Unavailable, and the same call succeeds later."""
    sql(TABLE + ";" + raising(sqlstate, 1_000))
    rows = writer(KEY, ["k", "v"])
    with pytest.raises(Unavailable) as away:
        rows.write([(1, 1), (2, 1)])
    assert (sqlstate, False) == (away.value.sqlstate, away.value.reconnect)
    assert [(0,)] == sql("SELECT count(*) FROM t")

    sql("DROP TRIGGER fail ON t")
    assert ["inserted", "inserted"] == kinds(rows.write([(1, 1), (2, 1)]))


def test_a_lock_that_is_held(sql, psycopg_connect, way):
    """If another session locks the table, the writer waits up to its lock timeout, and then raises Unavailable."""
    sql(TABLE)
    connection = psycopg_connect(autocommit=True)
    connection.execute("SET lock_timeout = '20ms'")
    rows = Writer(connection, KEY, ["k", "v"])
    holder = psycopg_connect()
    holder.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(Unavailable) as away:
        rows.write([(1, 1)])
    assert ("55P03", False) == (away.value.sqlstate, away.value.reconnect)
    holder.rollback()
    assert ["inserted"] == kinds(rows.write([(1, 1)]))


def test_a_deadlock(sql, psycopg_connect, way, beside, until_blocked):
    """In a deadlock the writer's transaction is ended, and its batch is written after the other transaction."""
    sql(TABLE)
    connection = psycopg_connect(autocommit=True)
    connection.execute("SET deadlock_timeout = '10ms'")
    rows = Writer(connection, KEY, ["k", "v"])
    rows.probe()
    gate, other = psycopg_connect(), psycopg_connect()
    other.execute("SET deadlock_timeout = '1h'")
    gate.execute("INSERT INTO t VALUES (2, 0)")
    other.execute("INSERT INTO t VALUES (3, 0)")
    writing = beside(lambda: rows.write([(1, 1), (2, 1), (3, 1)]))
    until_blocked()
    waiting = beside(lambda: other.execute("INSERT INTO t VALUES (1, 0)"))
    until_blocked(2)
    # The server looks for a deadlock once per wait, so the circle is closed before the writer waits for key 3.
    gate.rollback()
    waiting.result()
    other.commit()
    assert ["collision", "inserted", "collision"] == kinds(writing.result())
    assert {"40P01"} == set(rows.retries)


def test_a_killed_backend(sql, psycopg_connect, way, beside, until_blocked):
    """A backend that is killed in the middle of a batch writes nothing of it, and a new connection writes all of it."""
    sql(TABLE)
    connection = psycopg_connect(autocommit=True)
    rows = Writer(connection, KEY, ["k", "v"])
    rows.probe()
    holder = psycopg_connect()
    holder.execute("INSERT INTO t VALUES (2, 0)")
    writing = beside(lambda: rows.write([(1, 1), (2, 1)]))
    until_blocked()
    sql(f"SELECT pg_terminate_backend({connection.info.backend_pid})")
    with pytest.raises(Unavailable) as away:
        writing.result()
    holder.rollback()
    assert away.value.reconnect
    assert [(0,)] == sql("SELECT count(*) FROM t")

    again = Writer(psycopg_connect(autocommit=True), KEY, ["k", "v"])
    assert ["inserted", "inserted"] == kinds(again.write([(1, 1), (2, 1)]))
    with pytest.raises(Unavailable) as still:
        rows.write([(3, 1)])
    assert still.value.reconnect


def test_a_server_that_restarts(server, database_url, sql, psycopg_connect, way):
    """A crash of the server loses no row that was reported as inserted."""
    sql(TABLE)
    rows = Writer(psycopg_connect(autocommit=True), KEY, ["k", "v"])
    assert ["inserted"] == kinds(rows.write([(1, 1)]))
    server.crash()
    server.resume()
    with pytest.raises(Unavailable) as away:
        rows.write([(2, 1)])
    assert away.value.reconnect
    again = Writer(psycopg_connect(autocommit=True), KEY, ["k", "v"])
    assert ["duplicate", "inserted"] == kinds(again.write([(1, 1), (2, 1)]))


def test_a_stage_that_was_discarded(sql, psycopg_connect, way):
    """A session whose temporary tables and prepared statements were discarded is set up again."""
    sql(TABLE)
    connection = psycopg_connect(autocommit=True)
    rows = Writer(connection, KEY, ["k", "v"])
    assert ["inserted"] == kinds(rows.write([(1, 1)]))
    psycopg.Cursor(connection).execute("DISCARD ALL")
    assert ["duplicate", "inserted"] == kinds(rows.write([(1, 1), (2, 1)]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DROP TABLE t", "Table 't' does not exist"),
        ("ALTER TABLE t DROP v", "no column 'v'"),
        ("REVOKE INSERT ON t FROM CURRENT_USER; ALTER TABLE t OWNER TO pg_monitor", "permission denied"),
    ],
)
def test_errors_that_every_row_would_have(sql, psycopg_connect, way, change, says):
    """If a table, column or permission disappears, the writer stops with an error that names it, and rejects no row."""
    database = sql("SELECT current_database()")[0][0]
    sql(f"{TABLE}; CREATE ROLE {database}_w LOGIN; GRANT SELECT, INSERT ON t TO {database}_w")
    try:
        connection = psycopg_connect(autocommit=True, user=f"{database}_w")
        rows = Writer(connection, KEY, ["k", "v"])
        assert ["inserted"] == kinds(rows.write([(1, 1)]))
        sql(change.replace("CURRENT_USER", f"{database}_w"))
        with pytest.raises(DupeAuditError, match=says) as stop:
            rows.write([(2, 1)])
        assert not isinstance(stop.value, Unavailable)
    finally:
        sql(f"DROP OWNED BY {database}_w; DROP ROLE {database}_w")
