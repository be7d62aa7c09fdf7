"""The reference project, upgraded, downgraded and upgraded again, as processes."""

import contextlib
import os
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from waiting import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]
NAME = "unique_action_per_correlation_timestamp"
CHECKSUM = "SELECT count(*), md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM agent_actions t"
EXTRAS = (
    "SELECT coalesce(sum(n - 1), 0)::int FROM (SELECT count(*) AS n FROM agent_actions "
    "GROUP BY correlation_id, action_name, created_at) AS k"
)
INSERT = (
    "INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at) "
    "VALUES ('00000000-0000-0000-0000-000000000001', 'w', 'tool_call', 'Read', '2026-01-01')"
)


def constraint(sql):
    return sql(f"SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = '{NAME}'")


def test_upgrade_enforces_and_downgrade_restores_every_row_h138(alembic, sql, agent_actions):
    """Up removes the extras and enforces the key, down restores the table byte for byte, and up works again."""
    before = sql(CHECKSUM)

    alembic("upgrade", "015")
    assert [("UNIQUE (correlation_id, action_name, created_at)",)] == constraint(sql)
    assert [(1000,)] == sql("SELECT count(*) FROM agent_actions")
    assert [("enforced", "015", 60, 0)] == sql("SELECT state, revision, archived, restored FROM dupe_audit.run")

    alembic("downgrade", "014")
    assert [] == constraint(sql)
    assert before == sql(CHECKSUM)

    alembic("upgrade", "015")
    assert [(1000,)] == sql("SELECT count(*) FROM agent_actions")
    assert [("restored",), ("enforced",)] == sql("SELECT state FROM dupe_audit.run ORDER BY id")


def test_upgrade_has_a_comment_on_the_constraint(alembic, sql, agent_actions):
    """The catalog says what the constraint is for."""
    alembic("upgrade", "015")

    comment = sql(f"SELECT obj_description(oid) FROM pg_constraint WHERE conname = '{NAME}'")
    assert "duplicate" in comment[0][0]


@pytest.mark.thorough
def test_upgrade_on_an_empty_table(alembic, sql):
    """With nothing to clean, the constraint is created, nothing is archived, and the downgrade works."""
    alembic("upgrade", "015")
    assert [("enforced", 0)] == sql("SELECT state, archived FROM dupe_audit.run")

    alembic("downgrade", "014")
    assert [] == constraint(sql)


@pytest.mark.thorough
def test_downgrade_to_base(alembic, sql, agent_actions):
    """The whole project can be downgraded; the ledger stays."""
    alembic("upgrade", "015")
    alembic("downgrade", "base")

    assert [(None,)] == sql("SELECT to_regclass('agent_actions')")
    assert [("restored",)] == sql("SELECT state FROM dupe_audit.run")


def test_ten_simultaneous_identical_inserts_make_one_row(alembic, sql, agent_actions, psycopg_connect):
    """After the upgrade, one of ten sessions that insert the same key at once succeeds."""
    alembic("upgrade", "015")
    start, outcomes = threading.Barrier(10, timeout=PATIENCE), []
    connections = [psycopg_connect(autocommit=True) for _ in range(10)]

    def insert(connection):
        start.wait()
        try:
            connection.execute(INSERT)
            outcomes.append("inserted")
        except psycopg.errors.UniqueViolation:
            outcomes.append("duplicate")

    threads = [threading.Thread(target=insert, args=(c,)) for c in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ["duplicate"] * 9 + ["inserted"] == sorted(outcomes)
    sql(INSERT.replace("'2026-01-01'", "'2026-01-01 00:00:00.000001'"))


ONE_BY_ONE = ("-x", "dupe_audit.batch_size=1", "upgrade", "015")
HALF = "SELECT FROM agent_actions WHERE correlation_id IN (SELECT md5(i::text)::uuid FROM generate_series(1, 30) AS i)"
STOPS = {
    "before its first row": (
        "LOCK TABLE agent_actions",
        "SELECT 1 FROM pg_locks WHERE relation = 'agent_actions'::regclass AND NOT granted",
    ),
    "with half of the extras": (
        f"{HALF} FOR UPDATE",
        "SELECT 1 FROM dupe_audit.run WHERE archived = 30",
    ),
    "in the build": (
        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT",
        "SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase ~ 'old snapshots'",
    ),
    "before it attaches": (
        "SELECT FROM agent_actions",
        "SELECT 1 FROM pg_locks WHERE relation = 'agent_actions'::regclass AND mode = 'AccessExclusiveLock'",
    ),
}


@pytest.mark.parametrize(("hold", "stopped"), STOPS.values(), ids=STOPS)
@pytest.mark.representatives("in the build")
def test_killed_upgrade_continues_h164(
    alembic, sql, agent_actions, environment, launcher, psycopg_connect, hold, stopped
):
    """An upgrade that is killed while it waits for a lock loses no row, and the same command completes it."""
    before = sql(CHECKSUM)
    holder = psycopg_connect()
    holder.execute(hold.encode())
    with Path(os.devnull).open("w") as nothing:
        victim = launcher.start("alembic", *ONE_BY_ONE, cwd=ROOT, env=environment, stdout=nothing, stderr=nothing)

        def is_stopped():
            with contextlib.suppress(psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedTable):
                return sql(stopped)

        wait_for(is_stopped)
        victim.kill()
        victim.wait()
    holder.rollback()

    alembic("upgrade", "015")

    # A run that was killed before its first commit leaves nothing but a gap in the run ids.
    [(run, *result)] = sql("SELECT id, state, archived FROM dupe_audit.run")
    assert ["enforced", 60] == result
    assert [(60, 60)] == sql(f"SELECT count(*), count(DISTINCT id) FROM dupe_audit.archive_{run}")
    alembic("downgrade", "014")
    assert before == sql(CHECKSUM)


COPY = (
    "INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at) "
    "SELECT correlation_id, agent_name, action_type, action_name, created_at FROM agent_actions LIMIT 1"
)
WAITS_FOR_A_COPY = """
CREATE SEQUENCE builds;
CREATE FUNCTION wait_for_a_copy() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT count(*) FROM public.agent_actions);
BEGIN
    IF nextval('public.builds') <= {builds} THEN
        WHILE (SELECT count(*) FROM public.agent_actions) = before LOOP
            PERFORM pg_sleep(0.01);
        END LOOP;
    END IF;
END $$;
CREATE EVENT TRIGGER wait_for_a_copy ON ddl_command_start WHEN TAG IN ('CREATE INDEX')
EXECUTE FUNCTION wait_for_a_copy()
"""
WAITING = """
SELECT last_value FROM builds WHERE EXISTS (
    SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()
)
"""


@pytest.fixture
def duplicator(sql, psycopg_connect):
    """Start an old writer that duplicates a row between the cleanup and each of the first *builds* builds."""
    stop, threads = threading.Event(), []

    def start(*, builds):
        sql(WAITS_FOR_A_COPY.format(builds=builds))
        connection = psycopg_connect(autocommit=True)

        def duplicate():
            copied = None
            while not stop.wait(0.01):
                build = connection.execute(WAITING).fetchone()
                if build not in (None, copied):  # once per build: a second copy could arrive during the next one
                    connection.execute(COPY)
                    copied = build

        threads.append(threading.Thread(target=duplicate))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join()


def test_upgrade_succeeds_despite_new_duplicates(alembic, sql, agent_actions, duplicator):
    """New duplicates that arrive during the upgrade are cleaned under the same run, and the build is tried again."""
    duplicator(builds=2)

    alembic("upgrade", "015")

    assert [(0,)] == sql(EXTRAS)
    assert [(1, "enforced")] == sql("SELECT id, state FROM dupe_audit.run")
    assert [(3,)] == sql("SELECT last_value FROM builds")


@pytest.mark.thorough
def test_upgrade_succeeds_against_a_faster_writer_h67(alembic, sql, agent_actions, duplicator, patient):
    """If as many builds as build_attempts meet a new duplicate, the upgrade continues and succeeds."""
    before = sql("SELECT count(*) FROM agent_actions")[0][0]
    duplicator(builds=5)

    alembic("upgrade", "015", cwd=patient)

    assert [(6,)] == sql("SELECT last_value FROM builds")
    assert [(0,)] == sql(EXTRAS)
    assert [("enforced", 65, 65)] == sql(
        "SELECT state, archived, (SELECT count(*) FROM dupe_audit.archive_1) FROM dupe_audit.run"
    )
    alembic("downgrade", "014")
    assert [(before + 5,)] == sql("SELECT count(*) FROM agent_actions")


BUILDING = (
    "SELECT pid FROM pg_stat_progress_create_index WHERE datname = current_database() AND phase ~ 'old snapshots'"
)


def test_upgrade_right_after_its_client_was_killed_waits_for_its_orphan(
    alembic, sql, agent_actions, environment, launcher, psycopg_connect
):
    """If the backend of a killed upgrade still builds, the same command waits for it instead of refusing its build."""
    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT 1")
    with Path(os.devnull).open("w") as nothing:
        victim = launcher.start("alembic", "upgrade", "015", cwd=ROOT, env=environment, stdout=nothing, stderr=nothing)
        [(orphan,)] = wait_for(lambda: sql(BUILDING))
        # So that the orphan lives until the next upgrade waits for it: a frozen client is not noticed as gone.
        victim.send_signal(signal.SIGSTOP)
        # Who asks for the lock's holder has not got it, and says so; the attempt itself could still succeed.
        waiting = "SELECT 1 FROM pg_stat_activity WHERE query ~ 'objsubid = 2' AND datname = current_database()"
        with ThreadPoolExecutor(1) as pool:
            again = pool.submit(alembic, "upgrade", "015")
            wait_for(lambda: sql(f"{waiting} AND pid NOT IN ({orphan}, pg_backend_pid())"))
            victim.kill()
            old.rollback()
            done = again.result()
        victim.wait()
    assert "waiting for another session that is working on this table" in done.stderr
    assert [("enforced", 60)] == sql("SELECT state, archived FROM dupe_audit.run")


def test_divergent_groups_stop_the_upgrade_if_refused_h23(alembic, sql, agent_actions, tmp_path):
    """With divergent='refuse' nothing is archived, the finding is named, and the version is not stamped."""
    project = tmp_path / "alembic"
    (project / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako", "versions/014_agent_actions.py", "versions/015_unique_action.py"):
        text = (ROOT / "alembic" / name).read_text()
        (project / name).write_text(text.replace('divergent="archive"', 'divergent="refuse"'))
    shutil.copy(ROOT / "alembic.ini", tmp_path)

    done = alembic("upgrade", "015", cwd=tmp_path, code=255)

    assert "divergent-duplicates" in done.stderr
    assert "Rows of public.agent_actions (correlation_id, action_name, created_at) with the same key" in done.stderr
    assert "They differ in duration_ms (1 group). The rule, keep='first'" in done.stderr
    assert "Traceback" not in done.stderr
    assert [(1060,)] == sql("SELECT count(*) FROM agent_actions")
    assert [("014",)] == sql("SELECT version_num FROM alembic_version")


def test_refusal_names_the_table_the_key_and_the_revision(alembic, sql, agent_actions):
    """A finding stops the directive before any row changes, and the message says where and what to do."""
    sql("CREATE RULE keep AS ON DELETE TO agent_actions DO INSTEAD NOTHING")

    done = alembic("upgrade", "015", code=255)

    key = "public.agent_actions (correlation_id, action_name, created_at)"
    assert f"Refused: {key}, revision 015. No row was changed." in done.stderr
    assert "[rewrite-rule]" in done.stderr
    assert [(1060,)] == sql("SELECT count(*) FROM agent_actions")


LATE = """
    op.execute("INSERT INTO agent_actions SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff', correlation_id, agent_name, "
        "action_type, action_name, action_details, debug_mode, duration_ms, created_at FROM agent_actions LIMIT 1")
    op.execute("INSERT INTO child VALUES (0, 'ffffffff-ffff-ffff-ffff-ffffffffffff')")
    op.create_unique_constraint_online("""


def test_children_follow_on_upgrade_and_return_on_downgrade(alembic, sql, agent_actions, tmp_path):
    """Children of extras that arrive between the two directives follow too, and downgrade points every child back."""
    sql(
        "CREATE TABLE child (n int PRIMARY KEY, action uuid REFERENCES agent_actions ON DELETE CASCADE);"
        "INSERT INTO child SELECT row_number() OVER (), id FROM agent_actions"
    )
    before = sql("SELECT * FROM child ORDER BY n")
    shutil.copytree(ROOT / "alembic", tmp_path / "alembic")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    revision = tmp_path / "alembic" / "versions" / "015_unique_action.py"
    text = revision.read_text().replace('divergent="archive"', 'divergent="archive", references="repoint"')
    revision.write_text(text.replace("\n    op.create_unique_constraint_online(", LATE))

    upgraded = alembic("upgrade", "015", cwd=tmp_path).stderr
    assert "60 extras archived, 60 children repointed" in upgraded
    assert [("enforced", 61, 61)] == sql("SELECT state, archived, moved FROM dupe_audit.run r, dupe_audit.child c")
    assert [(1061, 1000)] == sql("SELECT count(*), count(DISTINCT action) FROM child")

    downgraded = alembic("downgrade", "014", cwd=tmp_path).stderr
    assert "61 rows restored, 61 children pointed back" in downgraded
    assert before == sql("SELECT * FROM child WHERE n > 0 ORDER BY n")
    assert [("ffffffff-ffff-ffff-ffff-ffffffffffff",)] == sql("SELECT action::text FROM child WHERE n = 0")


def test_connection_in_a_transaction_is_refused_h166_h185(alembic, sql, agent_actions, engine):
    """If env.py opened a transaction first, the directive reports that instead of an AssertionError."""
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.set_main_option("path_separator", "os")
    with engine.execution_options(isolation_level="READ COMMITTED").connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        config.attributes["connection"] = connection
        with pytest.raises(CommandError, match="already in a transaction"):
            command.upgrade(config, "015")

    assert [(1060,)] == sql("SELECT count(*) FROM agent_actions")


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("batchsize=5", "-x dupe_audit.batchsize does not exist. The options are: dupe_audit.batch_size,"),
        ("batch_size=5.5", "-x dupe_audit.batch_size=5.5: the value must be a whole number"),
        ("pause=long", "-x dupe_audit.pause=long: the value must be a number"),
        ("partitioned=", "-x dupe_audit.partitioned=: the value must be names of tables"),
        ('partitioned="t"', "the value must be names of tables, separated by commas and written without quotes"),
        ("batch_size=0", "batch_size must be between 1 and 100,000"),
        ("work_mem=lots", "-x dupe_audit.work_mem=lots: the value must be a size as PostgreSQL writes it"),
        ("work_mem=1kB", '1 kB is outside the valid range for parameter "work_mem"'),
        ("maintenance_work_mem=1XB", "-x dupe_audit.maintenance_work_mem=1XB: the value must be a size"),
        ("max_parallel_maintenance_workers=-1", "max_parallel_maintenance_workers"),
    ],
)
@pytest.mark.representatives("batchsize=5*", "batch_size=0*", "work_mem=1kB*")
def test_unknown_or_unreadable_option_is_refused(alembic, sql, agent_actions, option, problem):
    """A misspelt -x option, or one with a value that is not valid, stops the upgrade before it changes anything."""
    done = alembic("-x", f"dupe_audit.{option}", "upgrade", "015", code=255)

    assert problem in done.stderr
    assert "Traceback" not in done.stderr
    assert sql("SELECT to_regnamespace('dupe_audit')") == [(None,)]


@pytest.mark.parametrize("argument", ["dupe-audit.pause=1", "dupe_audit_pause=1", "DupeAudit.batch_size=1"])
def test_a_mistyped_prefix_of_an_option_is_refused(alembic, sql, agent_actions, argument):
    """An option of ours whose prefix is mistyped would be ignored in silence, so it stops the upgrade."""
    done = alembic("-x", argument, "upgrade", "015", code=255)
    assert f"-x {argument.partition('=')[0]} does not exist. The options are: dupe_audit.batch_size," in done.stderr
    assert sql("SELECT to_regnamespace('dupe_audit')") == [(None,)]


def test_nothing_is_written_to_stdout(alembic, agent_actions):
    """The directives are silent on stdout, which is the stream of the offline SQL."""
    assert "" == alembic("upgrade", "015").stdout
    assert "" == alembic("downgrade", "014").stdout


def test_unreachable_server_is_reported_without_a_traceback(alembic, environment):
    """If the server cannot be reached, Alembic exits without a traceback and does not print the password."""
    environment["DATABASE_URL"] = "postgresql://u:secret@localhost:1/d"

    done = alembic("upgrade", "015", code=255)

    assert "Cannot connect" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr + done.stdout
