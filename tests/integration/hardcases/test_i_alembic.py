"""Hard cases I: what Alembic commits, locks and stamps around the directives."""

import os
import uuid

import pytest
from sqlalchemy import create_engine, event
from sqlalchemy.pool import QueuePool

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.errors import Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from waiting import PATIENCE

KEY = UniqueKey(table="t", columns=("k",), name="uq")

ENVIRONMENT = """
import os
import dupe_audit.ops
from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=None, {options})
    with context.begin_transaction():
        context.run_migrations()
"""

REVISION = """
from alembic import op

revision, down_revision = {revision!r}, {down!r}


def upgrade():
    {up}


def downgrade():
    {way_back}
"""

TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 7, 1), (2, 7, 1), (3, 8, 1)"
MAKE = f"op.execute('{TABLE}')"
CLEAN = "op.archive_duplicates('t', ['k'])"
ENFORCE = "op.create_unique_constraint_online('uq', 't', ['k'])"
READ = "assert op.get_bind().exec_driver_sql('SELECT 1').scalar()"
RESTORE = "op.drop_unique_constraint_online('uq', 't'); op.restore_duplicates('t', ['k'])"


@pytest.fixture
def project(tmp_path, database_url, launcher):
    """Create a project with revisions a1, a2, …; return a function that starts a program in it."""

    def make(*ups, options="", backs=None):
        versions = tmp_path / "migrations" / "versions"
        versions.mkdir(parents=True)
        (tmp_path / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
        (tmp_path / "migrations" / "env.py").write_text(ENVIRONMENT.format(options=options))
        for number, up in enumerate(ups, start=1):
            down = f"a{number - 1}" if number > 1 else None
            back = (backs or {}).get(number, "pass")
            text = REVISION.format(revision=f"a{number}", down=down, up=up, way_back=back)
            (versions / f"a{number}.py").write_text(text)

        def start(*arguments, program="alembic"):
            log = tmp_path / f"{uuid.uuid4().hex}.log"
            environment = {**os.environ, "DATABASE_URL": database_url}
            with log.open("w") as out:
                return launcher.start(program, *arguments, cwd=tmp_path, env=environment, stdout=out, stderr=out), log

        return start

    return make


def ended(started):
    """Wait for a program; return its exit code and its output."""
    process, log = started
    return process.wait(PATIENCE), log.read_text()


def version(sql):
    """Return the revision that the database is stamped with."""
    return sql("SELECT version_num FROM alembic_version")


@pytest.mark.parametrize("options", ["", "transaction_per_migration=True"], ids=["one transaction", "one per revision"])
def test_h59_h165_earlier_revisions_are_committed_and_stamped(sql, project, options):
    """A directive commits and stamps the revisions before it, and does not wait for its own connection's changes."""
    start = project(MAKE, f"op.execute('ALTER TABLE t ADD COLUMN n int'); {CLEAN}; {ENFORCE}", options=options)
    assert (0, [("a2",)]) == (ended(start("upgrade", "head"))[0], version(sql))
    assert [("enforced", "a2", 1)] == sql("SELECT state, revision, archived FROM dupe_audit.run")


def test_h165_refusal_keeps_earlier_stamps(sql, project):
    """A refused revision is not stamped, those before it are, and the same command continues from there."""
    start = project(MAKE, "op.execute('UPDATE t SET v = id')", f"{CLEAN}; {ENFORCE}")
    code, output = ended(start("upgrade", "head"))
    assert (255, [("a2",)]) == (code, version(sql))
    assert "divergent-duplicates" in output
    sql("UPDATE t SET v = 0")
    assert (0, [("a3",)]) == (ended(start("upgrade", "head"))[0], version(sql))


@pytest.mark.representatives("one transaction")
@pytest.mark.parametrize("options", ["", "transaction_per_migration=True"], ids=["one transaction", "one per revision"])
def test_directives_work_inside_an_autocommit_block(sql, project, options):
    """Directives in a block that the revision has begun itself work in it, and so does what follows them there."""
    block = "with op.get_context().autocommit_block():\n        "
    index = "op.execute('CREATE INDEX CONCURRENTLY i ON t (v)')"
    up = f"{block}{CLEAN}; {ENFORCE}; {index}\n    op.execute('ALTER TABLE t ADD COLUMN n int')"
    back = f"{block}op.execute('DROP INDEX CONCURRENTLY i'); {RESTORE}\n    op.execute('ALTER TABLE t DROP COLUMN n')"
    start = project(MAKE, up, options=options, backs={2: back})
    assert (0, [("a2",)]) == (ended(start("upgrade", "head"))[0], version(sql))
    assert [("enforced", 1)] == sql("SELECT state, archived FROM dupe_audit.run")
    assert [(1, 7, 1, None), (3, 8, 1, None)] == sql("SELECT * FROM t ORDER BY id")
    assert 0 == ended(start("downgrade", "a1"))[0]
    assert [(1, 7, 1), (2, 7, 1), (3, 8, 1)] == sql("SELECT * FROM t ORDER BY id")


@pytest.mark.thorough
def test_directives_work_on_an_engine_in_autocommit(sql, project, tmp_path):
    """An env.py whose engine commits by itself, without context.begin_transaction(), needs no block of Alembic's."""
    start = project(MAKE, f"{CLEAN}; {ENFORCE}", backs={2: RESTORE})
    env = tmp_path / "migrations" / "env.py"
    text = env.read_text().replace("with context.begin_transaction():", "if True:")
    env.write_text(text.replace("poolclass=pool", "isolation_level='AUTOCOMMIT', poolclass=pool"))
    assert (0, [("a2",)]) == (ended(start("upgrade", "head"))[0], version(sql))
    assert 0 == ended(start("downgrade", "a1"))[0]
    assert [(1, 7, 1), (2, 7, 1), (3, 8, 1)] == sql("SELECT * FROM t ORDER BY id")


def test_h77_lock_of_the_attach_ends_before_the_next_revision(sql, project, psycopg_connect, wait_until):
    """Even if one transaction spans the whole upgrade, a slow later revision holds no lock on the table."""
    start = project(MAKE, f"{CLEAN}; {ENFORCE}", "op.execute('SELECT pg_advisory_lock(77)')")
    holder = psycopg_connect(autocommit=True)
    holder.execute("SELECT pg_advisory_lock(77)")
    program = start("upgrade", "head")
    waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted"
    wait_until(lambda: sql(waiting))
    assert [] == sql(f"SELECT mode FROM pg_locks WHERE relation = 't'::regclass AND pid IN ({waiting})")
    assert sql("SELECT conname FROM pg_constraint WHERE conname = 'uq'")
    holder.close()
    assert 0 == ended(program)[0]


@pytest.mark.parametrize(
    ("work", "state"),
    [(f"{CLEAN}; {ENFORCE}", "enforced"), (CLEAN, "clean"), (f"{READ}; {CLEAN}", "clean")],
    ids=["constraint", "archive", "archive after a read"],
)
@pytest.mark.representatives("archive")
def test_h168_simultaneous_upgrades_archive_once(sql, project, psycopg_connect, wait_until, work, state):
    """Of several simultaneous upgrades one archives the rows and stamps, and the others find the work done."""
    start = project(MAKE, work, backs={2: RESTORE})
    assert 0 == ended(start("upgrade", "a1"))[0]
    holder = psycopg_connect()
    holder.execute("LOCK TABLE t")
    programs = [start("upgrade", "head") for _ in range(3)]
    # A process that waits for the table, or for one that does, has read the version.
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND (wait_event_type = 'Lock' OR query ~ 'advisory')"
    )
    wait_until(lambda: [(3,)] == sql(waiting))
    holder.rollback()
    outcomes = [ended(program) for program in programs]
    assert 0 in [code for code, _ in outcomes]
    assert [("a2",)] == version(sql)
    assert [(1, state, 1)] == sql("SELECT id, state, archived FROM dupe_audit.run")
    assert [(2,)] == sql("SELECT id FROM dupe_audit.archive_1")
    # A later process finds the work done and the revision stamped, and says so instead of failing at its own stamp.
    refusals = [printed for code, printed in outcomes if code]
    assert 2 == len(refusals)
    for printed in refusals:
        assert "Another alembic process migrated this database" in printed
        assert "the revision was a1 and is now a2" in printed
        assert "Traceback" not in printed
    assert 0 == ended(start("upgrade", "head"))[0]


def test_h168_ledger_may_change_while_another_process_ranks(sql, conn):
    """A process that ranks does not fail because another one records something of the same run meanwhile."""
    sql(TABLE)
    list(cleanup(conn, KEY, CleanupRule()))
    sql("INSERT INTO t VALUES (9, 7, 1)")

    def interfere(_conn, _cursor, statement, *_):
        if "count(*) FROM ONLY" in statement:
            sql("UPDATE dupe_audit.run SET state = 'enforced'")

    event.listen(conn, "after_cursor_execute", interfere)
    assert [1] == [batch.archived for batch in cleanup(conn, KEY, CleanupRule())]
    assert [("clean", 2)] == sql("SELECT state, archived FROM dupe_audit.run")


def test_h174_stamp_without_a_constraint_is_reported(sql, project):
    """Verify reports a database that was stamped without executing the revision."""
    start = project(MAKE, f"{CLEAN}; {ENFORCE}")
    assert 0 == ended(start("upgrade", "a1"))[0]
    assert 0 == ended(start("stamp", "head"))[0]
    code, output = ended(start("verify", program="dupe_audit.cli"))
    assert (1, True, True) == (code, "constraint-missing" in output, "duplicates-remain" in output)


def test_h174_constraint_without_a_stamp_is_adopted(sql, conn, project):
    """If the constraint exists but the stamp is missing, the upgrade builds nothing and stamps."""
    start = project(MAKE, f"{CLEAN}; {ENFORCE}")
    assert 0 == ended(start("upgrade", "a1"))[0]
    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())
    node = sql("SELECT relfilenode FROM pg_class WHERE relname = 'uq'")
    assert 0 == ended(start("upgrade", "head"))[0]
    assert (node, [("a2",)]) == (sql("SELECT relfilenode FROM pg_class WHERE relname = 'uq'"), version(sql))
    assert [("enforced", 1)] == sql("SELECT state, archived FROM dupe_audit.run")


def test_h188_version_table_may_be_anywhere(sql, project):
    """Pending revisions are read through the project's own env.py, wherever its version table is."""
    sql("CREATE SCHEMA elsewhere")
    start = project(MAKE, f"{CLEAN}; {ENFORCE}", options="version_table='stamp', version_table_schema='elsewhere'")
    assert 0 == ended(start("upgrade", "a1"))[0]
    code, output = ended(start("preflight", program="dupe_audit.cli"))
    assert (1, True) == (code, "1 extra to archive" in output), output
    assert 0 == ended(start("upgrade", "head"))[0]
    assert [("a2",)] == sql("SELECT version_num FROM elsewhere.stamp")
    assert "No pending revision" in ended(start("preflight", program="dupe_audit.cli"))[1]
    assert 0 == ended(start("verify", program="dupe_audit.cli"))[0]


def test_h170_connection_returns_to_its_pool_without_the_lock(sql, database_url):
    """A refused step leaves no lock and no setting on a connection that returns to its pool."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 7, 1), (2, 7, 2)")
    engine = create_engine(
        database_url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
        pool_reset_on_return=None,
    )
    names = ("lock_timeout", "statement_timeout", "row_security", "idle_in_transaction_session_timeout")
    query = f"SELECT pg_backend_pid(), {', '.join(f'current_setting({name!r})' for name in names)}"
    with engine.connect() as connection:
        before = connection.exec_driver_sql(query).one()
        with pytest.raises(Refused):
            list(cleanup(connection, KEY, CleanupRule()))
    with engine.connect() as again:
        assert before == again.exec_driver_sql(query).one()
        assert [] == sql(f"SELECT locktype FROM pg_locks WHERE pid = {before[0]} AND locktype = 'advisory'")
    engine.dispose()
