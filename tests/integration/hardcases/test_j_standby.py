"""Hard cases J: a real standby, which lags, which is read, and which takes over."""

import logging
import shutil
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.connect import connect as connect_as_the_command_does
from dupe_audit.constraint import enforce
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import blockers, preflight
from dupe_audit.verify import verify

KEY = UniqueKey(table="t", columns=("k",), name="uq")
TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, {}) AS i"
PORT = 5433  # names the socket file beside the primary's


class Standby:
    """A hot standby of the session's server, in a directory of its own below it."""

    def __init__(self, server):
        self._server = server
        self._data = server._home / "standby"
        where = ["-h", str(server._home), "-U", "postgres"]
        server._run([str(server.bin_dir / "pg_basebackup"), "-D", str(self._data), "-R", "-c", "fast", *where])
        self._pg_ctl("start", "-l", str(server._home / "standby.log"), "-o", f"-p {PORT}")

    def _pg_ctl(self, action, *options):
        self._server._run([str(self._server.bin_dir / "pg_ctl"), action, "-D", str(self._data), "-w", *options])

    def url(self, database_url):
        """Return the URL of the same database here."""
        return make_url(database_url).update_query_dict({"port": str(PORT)})

    def promote(self):
        """Make it a primary."""
        self._pg_ctl("promote")

    def stop(self):
        """Stop it and delete its data."""
        self._pg_ctl("stop", "-m", "immediate")
        shutil.rmtree(self._data)


@pytest.fixture
def standby(server) -> Iterator[Standby]:
    """A hot standby that replicates from the session's server."""
    if not (server.bin_dir / "pg_basebackup").exists():
        pytest.skip("no pg_basebackup beside the server's programs")
    running = Standby(server)
    yield running
    running.stop()


@pytest.fixture
def there(standby, database_url, wait_until):
    """Open an autocommit connection to the test's database on the standby, as soon as it has arrived there."""
    engine = create_engine(standby.url(database_url), poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def arrived():
        try:
            return engine.connect()
        except DBAPIError:
            return None

    wait_until(arrived)
    with engine.connect() as connection:
        yield connection


def test_h187_h189_standby_is_read_and_never_worked_on(sql, conn, standby, there, database_url, wait_until):
    """On a standby preflight counts, verify proves, an upgrade is refused, and several hosts lead to the primary."""
    sql(TABLE.format(3))
    wait_until(lambda: there.exec_driver_sql("SELECT to_regclass('t')").scalar())
    report = preflight(there, KEY)
    assert report.counts
    assert (2, ["read-only-server"]) == (report.counts.extras, [f.id for f in report.findings if f.severity == "error"])
    assert ["read-only-server"] == [f.id for f in blockers(there, KEY, CleanupRule())]

    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())
    wait_until(lambda: verify(there, KEY).ok)

    url = make_url(database_url)
    home = url.query["host"]
    hosts = f"host={home},{home}&port={PORT},{url.query['port']}&target_session_attrs=read-write"
    several = f"postgresql://postgres@/{url.database}?{hosts}"
    with connect_as_the_command_does(several) as chosen:
        assert not chosen.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one()


def test_h194_batches_wait_for_a_standby_that_lags(sql, connect, there, wait_until, beside, caplog):
    """While a standby replays later than agreed no batch begins; once it has caught up the cleanup goes on."""
    caplog.set_level(logging.INFO, logger="alembic.dupe_audit")
    sql(TABLE.format(9))
    there.exec_driver_sql("SELECT pg_wal_replay_pause()")
    sql("CREATE TABLE traffic (n int); INSERT INTO traffic VALUES (1)")
    wait_until(lambda: sql("SELECT 1 FROM pg_stat_replication WHERE replay_lag > interval '1 s'"), seconds=40)
    worker, rule = connect(), CleanupRule(batch_size=2, max_replica_lag=1)
    thread = beside(lambda: list(cleanup(worker, KEY, rule)))
    wait_until(lambda: "behind (limit 1.0 s)" in caplog.text)
    assert [(9,)] == sql("SELECT count(*) FROM t")

    there.exec_driver_sql("SELECT pg_wal_replay_resume()")
    thread.join(40)
    assert [(1,)] == sql("SELECT count(*) FROM t")


def test_h194_lag_that_cannot_be_seen_is_said(sql, connect, member, standby, caplog):
    """A role that may not see the standbys is told so, and does not wait for what it cannot know."""
    caplog.set_level(logging.INFO, logger="alembic.dupe_audit")
    sql(f"{TABLE.format(3)}; ALTER TABLE t OWNER TO {member}")
    sql(f"DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {member}', current_database()); END$$")
    list(cleanup(connect(role=member), KEY, CleanupRule(max_replica_lag=0.001)))
    assert "the lag of standbys cannot be seen" in caplog.text
    assert [(1,)] == sql("SELECT count(*) FROM t")


@pytest.mark.torture
def test_h193_standby_that_takes_over_has_a_ledger_that_is_true(
    server, database_url, connect, standby, there, wait_until
):
    """After a failover to a standby that lacks the last batches, rows and archive still agree, and the run goes on."""
    with psycopg.connect(make_url(database_url).set(drivername="postgresql").render_as_string()) as before:
        before.execute(TABLE.format(60).encode())
    batches = cleanup(connect(), KEY, CleanupRule(batch_size=1))
    for _ in range(10):
        next(batches)
    ledger = "SELECT max(archived) FROM dupe_audit.run"
    wait_until(lambda: there.exec_driver_sql("SELECT to_regclass('dupe_audit.batch')").scalar())
    wait_until(lambda: there.exec_driver_sql(ledger).scalar())
    there.exec_driver_sql("ALTER SYSTEM SET primary_conninfo = ''")  # from here on it receives nothing
    there.exec_driver_sql("SELECT pg_reload_conf()")
    wait_until(lambda: not there.exec_driver_sql("SELECT 1 FROM pg_stat_wal_receiver").scalar())
    for _ in range(10):
        next(batches)
    server.crash()
    try:
        with pytest.raises(DBAPIError):
            list(batches)
        standby.promote()
        done = there.exec_driver_sql(ledger).scalar_one()
        assert 0 < done < 20
        held = "SELECT id FROM t UNION ALL SELECT id FROM dupe_audit.archive_1 ORDER BY id"
        assert list(range(1, 61)) == there.exec_driver_sql(held).scalars().all()
        assert 59 - done == sum(batch.archived for batch in cleanup(there, KEY, CleanupRule(batch_size=5)))
        assert list(range(1, 61)) == there.exec_driver_sql(held).scalars().all()
        enforce(there, KEY, BuildRule())
        assert [] == [f.id for f in verify(there, KEY).findings if f.severity == "error"]
    finally:
        server.resume()
