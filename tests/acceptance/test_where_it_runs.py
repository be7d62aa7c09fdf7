"""Upgrades, downgrades and scripts on servers, tables and hosts that are refused, or that need another way."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from alembic_project import Project
from conftest import Sql
from launch import Launcher
from pgbouncer import Through, pgbouncer
from waiting import wait_for

ROWS = """
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0001');
CREATE TABLE orders (id int PRIMARY KEY, k int);
INSERT INTO orders SELECT n, 7 FROM generate_series(1, 9) AS n
"""
ARCHIVE = 'op.archive_duplicates("orders", ["k"], max_replica_lag=0.5)'
UP = f'{ARCHIVE}\nop.create_unique_constraint_online("uq", "orders", ["k"])'
DOWN = 'op.drop_unique_constraint_online("uq", "orders")\nop.restore_duplicates("orders", ["k"])'

YUGABYTE = "PostgreSQL 15.12-YB-2025.1.0.1-b3 on x86_64-pc-linux-gnu"
COCKROACH = "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)"
HYPERTABLE = """
CREATE SCHEMA _timescaledb_catalog;
CREATE TABLE _timescaledb_catalog.hypertable (id int PRIMARY KEY, schema_name name NOT NULL, table_name name NOT NULL);
INSERT INTO _timescaledb_catalog.hypertable VALUES (1, 'public', 'orders')
"""
NEON = "ep-cool-lake-123456.eu-central-1.aws.neon.tech"
NEON_POOLER = "ep-cool-lake-123456-pooler.eu-central-1.aws.neon.tech"
STATE = "SELECT to_regnamespace('dupe_audit'), (SELECT count(*) FROM orders), version_num FROM alembic_version"
UNTOUCHED = [(None, 9, "0001")]


@pytest.fixture
def project(tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql) -> Project:
    """A project whose second revision makes a column of orders unique."""
    sql(ROWS)
    project = Project(tmp_path, database_url, launcher)
    project.revision("0002", "0001", UP, DOWN)
    return project


@pytest.fixture
def in_sessions(database_url: str, server, tmp_path_factory) -> Iterator[Through]:
    """The test's database through PgBouncer in session mode, by the name of a host."""
    with pgbouncer(database_url, tmp_path_factory.mktemp("pgbouncer"), mode="session") as url:
        yield url


def call_itself(sql: Sql, text: str) -> None:
    """Let the server call itself something else in this database."""
    sql(f"CREATE OR REPLACE FUNCTION pg_catalog.version() RETURNS text LANGUAGE sql STABLE AS $$SELECT '{text}'$$")


@pytest.fixture
def psql_at(server, tmp_path: Path):
    """Execute a script with psql at a URL; return the process."""
    program = Path(server.bin_dir) / "psql"
    if not program.exists():
        pytest.skip("no psql beside the server's programs")

    def start(script: str, url: str, *, stop: str = "1") -> subprocess.Popen[str]:
        path = tmp_path / "script.sql"
        path.write_text(script)
        target = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        return subprocess.Popen(
            [program, "-X", "-q", "-v", f"ON_ERROR_STOP={stop}", "-f", str(path), target],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def test_upgrade_and_downgrade_refuse_another_server(project, sql):
    """Neither direction changes anything on a server that is not PostgreSQL, and the message names the recipe."""
    call_itself(sql, YUGABYTE)
    code, output = project.run("upgrade", "head")
    assert 1 <= code
    assert "Refused: op.archive_duplicates(), revision 0002. No row was changed." in output
    assert "[yugabytedb] The server is YugabyteDB (2025.1.0.1-b3), not PostgreSQL" in output
    assert "docs/reference/findings/yugabytedb.md" in output
    assert UNTOUCHED == sql(STATE)

    call_itself(sql, "PostgreSQL 18.1")
    assert 0 == project.run("upgrade", "head")[0]
    call_itself(sql, YUGABYTE)
    code, output = project.run("downgrade", "0001")
    assert 1 <= code
    assert "[yugabytedb]" in output
    assert [(1, "0002")] == sql("SELECT (SELECT count(*) FROM orders), version_num FROM alembic_version")
    assert [(1,)] == sql("SELECT count(*) FROM pg_constraint WHERE conname = 'uq'")


def test_preflight_reports_another_server_as_a_finding(project, sql):
    """The finding has its id in the output and the exit code of a finding, for pending revisions too."""
    call_itself(sql, YUGABYTE)
    code, output = project.run("preflight", "--format", "json", program="dupe_audit.cli")
    assert 1 == code
    assert '"id": "yugabytedb"' in output


def test_every_command_refuses_cockroachdb_in_words(project, sql):
    """A server that SQLAlchemy cannot talk to is named, with exit code 1 and without a traceback."""
    call_itself(sql, COCKROACH)
    for command in (("preflight",), ("runs",), ("verify",), ("restore", "1")):
        code, output = project.run(*command, program="dupe_audit.cli")
        assert (1, True) == (code, "[cockroachdb] The server is CockroachDB (23.1.11), not PostgreSQL" in output), (
            output
        )


@pytest.mark.parametrize(
    ("sign", "message"),
    [
        (YUGABYTE, "yugabytedb: the server is not PostgreSQL but PostgreSQL 15.12-YB-2025.1.0.1-b3 on"),
        (COCKROACH, "cockroachdb: the server is not PostgreSQL but CockroachDB CCL v23.1.11"),
        (None, "timescaledb-table: table orders is a hypertable of TimescaleDB"),
    ],
    ids=["YugabyteDB", "CockroachDB", "TimescaleDB"],
)
@pytest.mark.parametrize("stop", ["1", "0"])
def test_script_refuses_before_it_changes_anything(project, psql, sql, sign, message, stop):
    """The script stops at another server or a hypertable before its first change, even if psql was to continue."""
    # A revision of several directives is judged again before the first, and stops there.
    project.revision("0002", "0001", ARCHIVE, 'op.restore_duplicates("orders", ["k"])')
    script = project.script("upgrade", "0001:0002")
    if sign:
        call_itself(sql, sign)
    else:
        sql(HYPERTABLE)
    done = psql(script, stop=stop)
    assert 3 == done.returncode
    assert message in done.stderr
    assert "no directive has changed anything" in done.stderr
    assert UNTOUCHED == sql(STATE)


def test_script_judges_a_later_table_before_the_first_changes(project, psql, sql):
    """A hypertable that only the second directive is about stops the script before the first directive acts."""
    sql("CREATE TABLE events (id int PRIMARY KEY, k int)")
    project.revision("0002", "0001", f"{UP}\nop.archive_duplicates('events', ['k'])", DOWN)
    sql(HYPERTABLE.replace("'orders'", "'events'"))
    done = psql(project.script("upgrade", "0001:0002"))
    assert "timescaledb-table: table events is a hypertable" in done.stderr
    assert UNTOUCHED == sql(STATE)


@pytest.mark.parametrize("way", ["online", "script"])
@pytest.mark.thorough
def test_table_that_has_become_a_hypertable_goes_the_way_back(project, psql, sql, way):
    """A table that was turned into a hypertable after its upgrade is downgraded, and refused by the next upgrade."""
    assert 0 == project.run("upgrade", "head")[0]
    sql(HYPERTABLE)
    if way == "online":
        assert 0 == project.run("downgrade", "0001")[0]
        code, output = project.run("upgrade", "head")
        assert (True, True) == (code > 0, "[timescaledb-table] public.orders is a hypertable" in output)
    else:
        assert 0 == psql(project.script("downgrade", "0002:0001")).returncode
        assert 3 == psql(project.script("upgrade", "0001:0002")).returncode
    assert [(9, "0001")] == sql("SELECT (SELECT count(*) FROM orders), version_num FROM alembic_version")


def test_upgrade_through_a_documented_pooler_is_redirected(project, in_sessions, sql):
    """Through Neon's pooled host nothing is changed and the message names the direct host, through which it works."""
    project.environment["DATABASE_URL"] = in_sessions(NEON_POOLER)
    code, output = project.run("upgrade", "head")
    assert 1 <= code
    assert f"[transaction-pooler] A connection pooler sits in front of the server (host {NEON_POOLER}" in output
    assert f"Use the direct host: {NEON}." in output
    assert UNTOUCHED == sql(STATE)

    project.environment["DATABASE_URL"] = in_sessions(NEON)
    assert 0 == project.run("upgrade", "head")[0]
    assert [(1, "0002")] == sql("SELECT (SELECT count(*) FROM orders), version_num FROM alembic_version")
    assert 0 == project.run("downgrade", "0001")[0]
    assert [(9, "0001")] == sql("SELECT (SELECT count(*) FROM orders), version_num FROM alembic_version")


def test_script_refuses_the_address_of_a_pooler_unless_accepted(project, in_sessions, psql_at, sql):
    """The script compares psql's host with the documented ones; accepted when it is printed, it works in a session."""
    url = in_sessions(NEON_POOLER)
    refused = psql_at(project.script("upgrade", "0001:0002"), url)
    message = refused.communicate()[1]
    assert 3 == refused.returncode
    assert f"transaction-pooler: host {NEON_POOLER} belongs to a connection pooler" in message
    assert UNTOUCHED == sql(STATE)

    script = project.script("-x", "dupe_audit.accept=transaction-pooler", "upgrade", "0001:0002")
    accepted = psql_at(script, url)
    message = accepted.communicate()[1]
    assert (0, [(1, "0002")]) == (
        accepted.returncode,
        sql("SELECT (SELECT count(*) FROM orders), version_num FROM alembic_version"),
    ), message


@pytest.mark.thorough
def test_script_waits_for_a_reader_of_aurora_h194(project, psql_at, database_url, sql):
    """No batch of the script starts while a reader lags more than max_replica_lag; then it continues."""
    sql(
        "CREATE TABLE cluster (session_id text, replica_lag_in_msec float8, last_update_timestamp timestamptz); "
        "INSERT INTO cluster VALUES ('MASTER_SESSION_ID', 900000, now()), ('f0f1', 5000, now()); "
        "CREATE FUNCTION pg_catalog.aurora_replica_status(OUT session_id text, OUT replica_lag_in_msec float8, "
        "OUT last_update_timestamp timestamptz) RETURNS SETOF record LANGUAGE sql AS 'SELECT * FROM public.cluster'"
    )
    process = psql_at(project.script("upgrade", "0001:0002"), database_url)
    sleeping = "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CALL%dupe_audit_clean%' AND wait_event = 'PgSleep'"
    wait_for(lambda: sql(sleeping))
    assert [(9,)] == sql("SELECT count(*) FROM orders")
    sql("UPDATE cluster SET replica_lag_in_msec = 20 WHERE session_id = 'f0f1'")
    message = process.communicate()[1]
    assert (0, [(1,)]) == (process.returncode, sql("SELECT count(*) FROM orders")), message
