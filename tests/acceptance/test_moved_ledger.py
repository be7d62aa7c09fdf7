"""After a dump, rename, move or re-creation, a downgrade restores rows to the table they came from, or not at all."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql as pgsql
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.restore import restore

NAME = "unique_action_per_correlation_timestamp"
CONSTRAINTS = "SELECT conrelid::regclass::text FROM pg_constraint WHERE contype = 'u' AND conkey = '{2,5,9}' ORDER BY 1"


def rows_of(table):
    return f"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {table} t"


def libpq(url):
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def programs(server) -> Path:
    """The directory of the server's programs."""
    if not (Path(server.bin_dir) / "pg_dump").exists():
        pytest.skip("no pg_dump beside the server's programs")
    return Path(server.bin_dir)


@pytest.fixture
def dump(programs, database_url) -> Callable[..., bytes]:
    """Dump the test's database; takes pg_dump's arguments."""

    def run(*arguments: str) -> bytes:
        command = [programs / "pg_dump", *arguments, libpq(database_url)]
        return subprocess.run(command, capture_output=True, check=True).stdout

    return run


@pytest.fixture
def elsewhere(server_url) -> Iterator[str]:
    """The URL of another, empty database."""
    name = f"dupe_audit_test_{uuid.uuid4().hex[:8]}"
    for statement in ("CREATE DATABASE {} TEMPLATE template0", "DROP DATABASE {} WITH (FORCE)"):
        with psycopg.connect(libpq(server_url), autocommit=True) as connection:
            connection.execute(pgsql.SQL(statement).format(pgsql.Identifier(name)))
        if statement.startswith("CREATE"):
            yield make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture
def load(programs, elsewhere) -> Callable[..., None]:
    """Load a dump into the other database by the program for its format; no statement may fail."""

    def run(dumped: bytes) -> None:
        if dumped.startswith(b"PGDMP"):
            command = [programs / "pg_restore", "--exit-on-error", "-d", libpq(elsewhere)]
        else:
            command = [programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", libpq(elsewhere)]
        done = subprocess.run(command, input=dumped, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    return run


@pytest.fixture
def copy(elsewhere, environment) -> Callable[[str], list[tuple]]:
    """Execute SQL in the other database; from now on alembic and dupe-audit use it too."""
    environment["DATABASE_URL"] = elsewhere

    def run(statement: str) -> list[tuple]:
        with psycopg.connect(libpq(elsewhere), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def moved(sql, alembic, agent_actions, dump, load, request):
    """Upgrade, dump, and load the dump into the other database; return what executes SQL copy, and the rows before."""

    def move(*arguments: str, before: str = "SELECT"):
        # A dropped column is not dumped, so the columns of the table get other numbers.
        sql("ALTER TABLE agent_actions ADD COLUMN gone int; ALTER TABLE agent_actions DROP COLUMN gone")
        rows = sql(rows_of("agent_actions"))
        alembic("upgrade", "015")
        sql(before)
        load(dump(*arguments))
        return request.getfixturevalue("copy"), rows

    return move


@pytest.mark.parametrize("arguments", [(), ("-Fc",), ("--inserts",)], ids=["plain", "custom", "inserts"])
@pytest.mark.representatives("custom")
def test_downgrade_after_dump_and_restore(moved, alembic, dupe_audit, arguments):
    """Rows archived in one database are put back in another that was loaded from its dump."""
    copy, before = moved(*arguments)
    assert "run 1" in dupe_audit("verify").stdout

    alembic("downgrade", "014")

    assert before == copy(rows_of("agent_actions"))
    assert [("restored", 60, 60)] == copy("SELECT state, archived, restored FROM dupe_audit.run")
    alembic("upgrade", "015")
    assert [(2, "enforced", 60)] == copy("SELECT id, state, archived FROM dupe_audit.run WHERE id = 2")


@pytest.mark.thorough
def test_restore_by_script_after_dump_and_restore(moved, alembic, programs, elsewhere):
    """The script of the downgrade finds the run after a dump too."""
    copy, before = moved()
    script = alembic("downgrade", "015:014", "--sql").stdout

    done = subprocess.run(
        [programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", libpq(elsewhere)],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert before == copy(rows_of("agent_actions"))


@pytest.mark.thorough
def test_children_are_pointed_back_after_a_dump(sql, conn, dump, load, elsewhere):
    """Children that followed the survivor are pointed back in a database whose columns have other numbers."""
    sql(
        "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7);"
        "CREATE TABLE c (gone int, id int PRIMARY KEY, gone_too int, t_id int REFERENCES t);"
        "ALTER TABLE c DROP COLUMN gone, DROP COLUMN gone_too; INSERT INTO c VALUES (8, 1), (9, 2)"
    )
    list(cleanup(conn, UniqueKey(table="t", columns=("k",)), CleanupRule(references="repoint")))
    assert [(8, 1), (9, 1)] == sql("SELECT * FROM c ORDER BY id")
    load(dump())
    engine = create_engine(elsewhere, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        list(restore(connection, 1))
        assert [(8, 1), (9, 2)] == [tuple(row) for row in connection.exec_driver_sql("SELECT * FROM c ORDER BY id")]


@pytest.mark.thorough
def test_table_renamed_and_moved_before_a_dump(moved, dupe_audit):
    """A table that was renamed and moved to another schema is found after a dump as well."""
    copy, before = moved(
        before="CREATE SCHEMA app; ALTER TABLE agent_actions RENAME TO actions; ALTER TABLE actions SET SCHEMA app"
    )

    dupe_audit("restore", "1", "--yes")

    assert [] == copy(CONSTRAINTS)
    assert before == copy(rows_of("app.actions"))


@pytest.mark.thorough
def test_dump_of_a_dropped_table_can_be_loaded(moved, dupe_audit):
    """The run of a dropped table does not stop a dump from loading, and its rows go into no other table."""
    copy, _ = moved(before="DROP TABLE agent_actions; CREATE TABLE agent_actions (LIKE dupe_audit.archive_1)")
    ((number,),) = copy("SELECT relation::text FROM dupe_audit.run")
    assert number.isdigit()
    # The dump has the oid of the dropped table, which can be another table's here.
    copy("CREATE TABLE stranger (LIKE dupe_audit.archive_1)")
    copy("ALTER TABLE stranger DROP dupe_audit_id, DROP dupe_audit_batch, DROP dupe_audit_archived_at")
    copy("UPDATE dupe_audit.run SET relation = 'stranger'::regclass, relid = 'stranger'::regclass")

    assert "was dropped" in dupe_audit("restore", "1", code=3).stderr
    assert [(0, 0)] == copy("SELECT (SELECT count(*) FROM stranger), (SELECT count(*) FROM agent_actions)")
    # What the message says helps if the table does exist.
    copy(
        "UPDATE dupe_audit.run SET relation = 'public.stranger', schema_name = 'public', table_name = 'stranger' "
        "WHERE id = 1"
    )
    dupe_audit("restore", "1", "--yes")
    assert [(60,)] == copy("SELECT count(*) FROM stranger")


@pytest.mark.parametrize("parts", [[("-N", "dupe_audit"), ("-n", "dupe_audit")], [("-s",), ("-a",)]], ids=str)
@pytest.mark.thorough
def test_dump_in_two_parts(sql, alembic, agent_actions, dump, load, copy, environment, database_url, parts):
    """The ledger can be dumped and loaded on its own, after the tables that it names, and its data after its form."""
    elsewhere, environment["DATABASE_URL"] = environment["DATABASE_URL"], database_url
    before = sql(rows_of("agent_actions"))
    alembic("upgrade", "015")
    for part in parts:
        load(dump(*part))
    environment["DATABASE_URL"] = elsewhere
    alembic("downgrade", "014")
    assert before == copy(rows_of("agent_actions"))


def test_ledger_that_was_not_restored_stops_the_downgrade(moved, alembic):
    """Without the ledger nothing is dropped, because the archived rows could not be put back."""
    copy, _ = moved("-N", "dupe_audit")

    failed = alembic("downgrade", "014", code=255)

    assert "run-missing" in failed.stderr
    assert [("agent_actions",)] == copy(CONSTRAINTS)
    alembic("-x", "dupe_audit.accept=run-missing", "downgrade", "014")
    assert [] == copy(CONSTRAINTS)


def test_ledger_that_is_gone_fails_verify(alembic, sql, agent_actions, dupe_audit):
    """Verify reports a ledger that is gone although an applied revision opened a run, until that is accepted."""
    sql("DROP SCHEMA IF EXISTS dupe_audit CASCADE")
    dupe_audit("verify")
    alembic("upgrade", "015")
    dupe_audit("verify")
    sql("DROP SCHEMA dupe_audit CASCADE")

    done = dupe_audit("verify", code=1)
    assert "[run-missing] The ledger has no run of this key, although the upgrade of revision 015 always opens one" in (
        " ".join(done.stdout.split())
    )
    assert "enforced yes" in " ".join(done.stdout.replace("|", " ").split())
    assert "[run-missing]" in dupe_audit("verify", "--accept", "run-missing").stdout


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("DELETE FROM dupe_audit.batch; DELETE FROM dupe_audit.run", "run-missing"),
        ("DROP TABLE dupe_audit.archive_1", "archive-missing"),
        ("TRUNCATE dupe_audit.archive_1", "ledger-mismatch"),
        ("DELETE FROM dupe_audit.archive_1 WHERE dupe_audit_id = 1", "ledger-mismatch"),
    ],
    ids=["no runs", "no archive", "empty archive", "a row less"],
)
@pytest.mark.representatives("a row less")
def test_damaged_ledger_stops_the_way_back(alembic, psql, sql, agent_actions, dupe_audit, damage, problem):
    """If rows could not all be put back, neither alembic, nor the script, nor the command drops the constraint."""
    alembic("upgrade", "015")
    sql(damage)

    assert problem in alembic("downgrade", "014", code=255).stderr
    script = psql(alembic("downgrade", "015:014", "--sql").stdout, stop="0")
    assert problem in script.stderr
    if problem != "run-missing":
        assert problem in dupe_audit("restore", "1", code=1).stderr
        assert problem in dupe_audit("runs", code=1).stderr
    assert problem in dupe_audit("verify", code=1).stdout

    assert [("agent_actions",)] == sql(CONSTRAINTS)
    assert [(1000,)] == sql("SELECT count(*) FROM agent_actions")
    assert [("015",)] == sql("SELECT version_num FROM alembic_version")


@pytest.mark.thorough
def test_rows_erased_on_purpose_are_entered(alembic, sql, agent_actions, dupe_audit):
    """Rows that were erased from an archive, and entered in the ledger, do not stop the restore of the others."""
    alembic("upgrade", "015")
    sql(
        "WITH erased AS (DELETE FROM dupe_audit.archive_1 WHERE dupe_audit_id < 3 RETURNING 1) "
        "UPDATE dupe_audit.run SET erased = erased + (SELECT count(*) FROM erased) WHERE id = 1"
    )
    dupe_audit("verify")
    assert "holds the only copy of 58 rows" in dupe_audit("purge", "1", code=2).stderr
    alembic("downgrade", "014")
    assert [(1058,)] == sql("SELECT count(*) FROM agent_actions")
    assert [("restored",)] == sql("SELECT state FROM dupe_audit.run")


def test_renamed_table_and_a_new_one_of_its_name(alembic, psql, sql, agent_actions, dupe_audit):
    """A downgrade touches neither table; the command drops and restores on the table that was cleaned."""
    before = sql(rows_of("agent_actions"))
    alembic("upgrade", "015")
    sql(f"ALTER TABLE agent_actions RENAME TO old; ALTER INDEX {NAME} RENAME TO old_key")
    sql(
        f"CREATE TABLE agent_actions (LIKE old); ALTER TABLE agent_actions ADD CONSTRAINT {NAME} "
        "UNIQUE (correlation_id, action_name, created_at)"
    )

    assert "table-replaced" in alembic("downgrade", "014", code=255).stderr
    assert "table-replaced" in psql(alembic("downgrade", "015:014", "--sql").stdout, stop="0").stderr
    assert "table-replaced" in dupe_audit("verify", code=1).stdout
    assert [("agent_actions",), ("old",)] == sql(CONSTRAINTS)
    assert "public.old" in dupe_audit("runs").stdout

    dupe_audit("restore", "1", "--yes")
    assert [("agent_actions",)] == sql(CONSTRAINTS)
    assert (before, [(0,)]) == (sql(rows_of("old")), sql("SELECT count(*) FROM agent_actions"))
    alembic("downgrade", "014", code=255)


def test_dropped_and_re_created_table(alembic, sql, agent_actions, dupe_audit):
    """A table re-created under the name gets no rows of the old one, and keeps its key until the run is purged."""
    alembic("upgrade", "015")
    sql("CREATE TABLE new (LIKE agent_actions INCLUDING ALL); DROP TABLE agent_actions")
    sql(
        "ALTER TABLE new RENAME TO agent_actions; ALTER INDEX "
        f"new_correlation_id_action_name_created_at_key RENAME TO {NAME}"
    )

    assert "table-replaced" in alembic("downgrade", "014", code=255).stderr
    assert "was dropped" in dupe_audit("restore", "1", code=3).stderr
    assert [("agent_actions",)] == sql(CONSTRAINTS)
    dupe_audit("purge", "1", "--yes")
    alembic("-x", "dupe_audit.accept=run-missing", "downgrade", "014")
    assert [] == sql(CONSTRAINTS)
    assert [(0,)] == sql("SELECT count(*) FROM agent_actions")


def test_swapped_columns_stop_the_way_back(alembic, psql, sql, agent_actions, dupe_audit):
    """If two columns have exchanged their names, no value goes into the wrong one, and nothing is dropped."""
    before = sql(rows_of("agent_actions"))
    alembic("upgrade", "015")
    swap = (
        "ALTER TABLE agent_actions RENAME COLUMN agent_name TO swap; "
        "ALTER TABLE agent_actions RENAME COLUMN action_name TO agent_name; "
        "ALTER TABLE agent_actions RENAME COLUMN swap TO action_name"
    )
    sql(swap)

    for refused in (
        alembic("downgrade", "014", code=255).stderr,
        psql(alembic("downgrade", "015:014", "--sql").stdout, stop="0").stderr,
        dupe_audit("restore", "1", code=3).stderr,
    ):
        assert "agent_name, action_name" in refused
        assert "wrong one" in refused
    assert [("agent_actions",)] == sql(CONSTRAINTS)
    assert [(1000,)] == sql("SELECT count(*) FROM agent_actions")
    sql(swap)
    alembic("downgrade", "014")
    assert before == sql(rows_of("agent_actions"))


@pytest.mark.thorough
def test_columns_swapped_before_a_dump_stop_the_way_back(moved, alembic):
    """A dump numbers the columns again, but keeps their order, by which a swap is noticed."""
    copy, _ = moved(
        before="ALTER TABLE agent_actions RENAME COLUMN agent_name TO swap; "
        "ALTER TABLE agent_actions RENAME COLUMN action_name TO agent_name; "
        "ALTER TABLE agent_actions RENAME COLUMN swap TO action_name"
    )
    assert "wrong one" in alembic("downgrade", "014", code=255).stderr
    assert [(1000,)] == copy("SELECT count(*) FROM agent_actions")


@pytest.mark.parametrize("way", ["online", "script"])
@pytest.mark.thorough
def test_run_that_enforces_another_constraint_since_is_found(alembic, psql, sql, agent_actions, way):
    """A run that a later constraint of the same columns has taken over does not stop the downgrade of the first."""
    before = sql(rows_of("agent_actions"))
    alembic("upgrade", "015")
    sql("UPDATE dupe_audit.run SET constraint_name = 'later'")
    if way == "online":
        alembic("downgrade", "014")
    else:
        assert psql(alembic("downgrade", "015:014", "--sql").stdout).returncode == 0
    assert before == sql(rows_of("agent_actions"))


@pytest.mark.parametrize("way", ["online", "script"])
@pytest.mark.representatives("script")
def test_downgrade_without_a_run_needs_a_word(alembic, psql, sql, agent_actions, way):
    """A database whose revision was only stamped has no run: the downgrade says so, and is possible if accepted."""
    sql(
        "DELETE FROM agent_actions a USING agent_actions b WHERE a.ctid < b.ctid AND a.action_name = b.action_name "
        "AND a.correlation_id = b.correlation_id AND a.created_at = b.created_at"
    )
    sql(f"ALTER TABLE agent_actions ADD CONSTRAINT {NAME} UNIQUE (correlation_id, action_name, created_at)")
    alembic("stamp", "015")
    if way == "online":
        assert "run-missing" in alembic("downgrade", "014", code=255).stderr
        alembic("-x", "dupe_audit.accept=run-missing", "downgrade", "014")
    else:
        refused = psql(alembic("downgrade", "015:014", "--sql").stdout, stop="0")
        assert "run-missing" in refused.stderr
        assert [("015",)] == sql("SELECT version_num FROM alembic_version")
        accepted = alembic("-x", "dupe_audit.accept=run-missing", "downgrade", "015:014", "--sql").stdout
        assert psql(accepted).returncode == 0
    assert ([], [("014",)]) == (sql(CONSTRAINTS), sql("SELECT version_num FROM alembic_version"))
