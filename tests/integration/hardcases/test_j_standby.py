"""Hard cases J: a real standby that lags, is read, and takes over."""

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
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.preflight import blockers, preflight
from dupe_audit.verify import verify

KEY = UniqueKey(table="t", columns=("k",), name="uq")
TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, {}) AS i"


class Standby:
    """A hot standby of the session's server, in its own directory below the server's."""

    def __init__(self, server, port):
        self._server, self._port = server, port  # the port names the socket file beside the primary's
        self._data = server._home / f"standby-{port}"
        where = ["-h", str(server._home), "-U", "postgres"]
        server._run([str(server.bin_dir / "pg_basebackup"), "-D", str(self._data), "-R", "-c", "fast", *where])
        # It reports its position every second instead of every ten.
        self._pg_ctl("start", "-l", f"{self._data}.log", "-o", f"-p {port} -c wal_receiver_status_interval=1")

    def _pg_ctl(self, action, *options):
        self._server._run([str(self._server.bin_dir / "pg_ctl"), action, "-D", str(self._data), "-w", *options])

    def url(self, database_url):
        """Return the URL of the same database on the standby."""
        return make_url(database_url).update_query_dict({"port": str(self._port)})

    def promote(self):
        """Promote it to a primary."""
        self._pg_ctl("promote")

    def stop(self):
        """Stop it and delete its data."""
        self._pg_ctl("stop", "-m", "immediate")
        shutil.rmtree(self._data)


def started(server, port) -> Iterator[Standby]:
    """Run a standby until the generator is closed."""
    if server is None:
        pytest.skip("the server of DUPE_AUDIT_TEST_URL is not ours to copy")
    if not (server.bin_dir / "pg_basebackup").exists():
        pytest.skip("no pg_basebackup beside the server's programs")
    running = Standby(server, port)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def shared_standby(own_server) -> Iterator[Standby]:
    """A hot standby that replicates from the session's server."""
    yield from started(own_server, 5433)


@pytest.fixture
def standby(request) -> Iterator[Standby]:
    """The shared standby, or a separate one to promote if the test is marked ``torture``."""
    if request.node.get_closest_marker("torture"):
        yield from started(request.getfixturevalue("own_server"), 5434)
    else:
        yield request.getfixturevalue("shared_standby")


@pytest.fixture
def on_standby(standby, database_url, wait_until):
    """Open an autocommit connection to the test's database on the standby, as soon as it is replicated."""
    engine = create_engine(standby.url(database_url), poolclass=NullPool, isolation_level="AUTOCOMMIT")

    def arrived():
        try:
            return engine.connect()
        except DBAPIError:
            return None

    with wait_until(arrived) as connection:
        yield connection


def test_h187_h189_standby_is_read_but_not_cleaned(sql, conn, standby, on_standby, database_url, wait_until):
    """On a standby, preflight counts and verify works, a cleanup is refused, and several hosts find the primary."""
    sql(TABLE.format(3))
    wait_until(lambda: on_standby.exec_driver_sql("SELECT to_regclass('t')").scalar())
    report = preflight(on_standby, KEY)
    assert report.counts
    assert (2, ["read-only-server"]) == (report.counts.extras, [f.id for f in report.findings if f.severity == "error"])
    assert ["read-only-server"] == [f.id for f in blockers(on_standby, KEY, CleanupRule())]

    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())
    wait_until(lambda: verify(on_standby, KEY).ok)

    url = make_url(database_url)
    home, standby_url = url.query["host"], standby.url(database_url)
    hosts = f"host={home},{home}&port={standby_url.query['port']},{url.query['port']}&target_session_attrs=read-write"
    several = f"postgresql://postgres@/{url.database}?{hosts}"
    with connect_as_the_command_does(several) as chosen:
        assert not chosen.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one()


def test_standby_finds_what_depends_on_the_search_path(sql, standby, on_standby, wait_until, server_version_num):
    """On a standby, preflight computes the expressions under the path of an index build too."""
    sql(TABLE.format(3))
    sql("CREATE FUNCTION helper(value int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT value'")
    body = "BEGIN RETURN helper(value); END"
    sql(f"CREATE FUNCTION caller(value int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS '{body}'")
    wait_until(lambda: on_standby.exec_driver_sql("SELECT to_regproc('caller')").scalar())
    report = preflight(on_standby, UniqueKey(table="t", columns=(Expression("caller(k)"),)))
    severity = "error" if server_version_num >= 170000 else "warning"
    assert [severity] == [each.severity for each in report.findings if each.id == "depends-on-search-path"]


def test_h194_batches_wait_for_a_lagging_standby(sql, connect, on_standby, wait_until, beside, caplog):
    """While a standby lags more than max_replica_lag, no batch starts; once it has caught up, they continue."""
    caplog.set_level(logging.INFO, logger="alembic.dupe_audit")
    sql(TABLE.format(9))
    on_standby.exec_driver_sql("SELECT pg_wal_replay_pause()")
    sql("CREATE TABLE traffic (n int); INSERT INTO traffic VALUES (1)")
    wait_until(lambda: sql("SELECT 1 FROM pg_stat_replication WHERE replay_lag > interval '0.1 s'"))
    worker, rule = connect(), CleanupRule(batch_size=2, max_replica_lag=0.1)
    thread = beside(lambda: list(cleanup(worker, KEY, rule)))
    wait_until(lambda: "behind (limit 0.1 s)" in caplog.text)
    assert [(9,)] == sql("SELECT count(*) FROM t")

    on_standby.exec_driver_sql("SELECT pg_wal_replay_resume()")
    thread.join()
    assert [(1,)] == sql("SELECT count(*) FROM t")


def test_h194_invisible_lag_is_reported(sql, connect, member, standby, caplog):
    """If the role may not see the standbys' lag, the run logs that and does not wait."""
    caplog.set_level(logging.INFO, logger="alembic.dupe_audit")
    sql(f"{TABLE.format(3)}; ALTER TABLE t OWNER TO {member}")
    sql(f"DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {member}', current_database()); END$$")
    list(cleanup(connect(role=member), KEY, CleanupRule(max_replica_lag=0.001)))
    assert "the lag of standbys cannot be seen" in caplog.text
    assert [(1,)] == sql("SELECT count(*) FROM t")


@pytest.mark.torture
def test_h193_ledger_is_correct_after_a_failover(server, database_url, connect, standby, on_standby, wait_until):
    """After a failover to a standby that lacks the last batches, rows and archive agree, and the run continues."""
    with psycopg.connect(make_url(database_url).set(drivername="postgresql").render_as_string()) as before:
        before.execute(TABLE.format(60).encode())
    batches = cleanup(connect(), KEY, CleanupRule(batch_size=1))
    for _ in range(10):
        next(batches)
    ledger = "SELECT max(archived) FROM dupe_audit.run"
    wait_until(lambda: on_standby.exec_driver_sql("SELECT to_regclass('dupe_audit.batch')").scalar())
    wait_until(lambda: on_standby.exec_driver_sql(ledger).scalar())
    on_standby.exec_driver_sql("ALTER SYSTEM SET primary_conninfo = ''")  # from now on it receives nothing
    on_standby.exec_driver_sql("SELECT pg_reload_conf()")
    wait_until(lambda: not on_standby.exec_driver_sql("SELECT 1 FROM pg_stat_wal_receiver").scalar())
    for _ in range(10):
        next(batches)
    server.crash()
    try:
        with pytest.raises(DBAPIError):
            list(batches)
        standby.promote()
        done = on_standby.exec_driver_sql(ledger).scalar_one()
        assert 0 < done < 20
        held = "SELECT id FROM t UNION ALL SELECT id FROM dupe_audit.archive_1 ORDER BY id"
        assert list(range(1, 61)) == on_standby.exec_driver_sql(held).scalars().all()
        assert 59 - done == sum(batch.archived for batch in cleanup(on_standby, KEY, CleanupRule(batch_size=5)))
        assert list(range(1, 61)) == on_standby.exec_driver_sql(held).scalars().all()
        enforce(on_standby, KEY, BuildRule())
        assert [] == [f.id for f in verify(on_standby, KEY).findings if f.severity == "error"]
    finally:
        server.resume()
