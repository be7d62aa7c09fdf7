"""``alembic upgrade --sql`` prints a script that does the same as the upgrade, and psql executes it."""

import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.locking import LOCK_NAMESPACE
from waiting import wait_for

ROOT = Path(__file__).parents[2]
NAME = "unique_action_per_correlation_timestamp"
CHECKSUM = "SELECT count(*), md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM agent_actions t"


def test_offline_script_goes_up_and_down_h172(alembic, psql, sql, agent_actions, dupe_audit):
    """The printed SQL archives, builds, attaches and stamps; the downgrade's SQL restores every byte."""
    before = sql(CHECKSUM)

    up = psql(alembic("upgrade", "014:015", "--sql").stdout)
    assert (0, [("015",)]) == (up.returncode, sql("SELECT version_num FROM alembic_version")), up.stderr
    assert [("enforced", 60)] == sql("SELECT state, archived FROM dupe_audit.run")
    dupe_audit("verify")

    down = psql(alembic("downgrade", "015:014", "--sql").stdout)
    assert 0 == down.returncode, down.stderr
    assert before == sql(CHECKSUM)
    assert [("restored",)] == sql("SELECT state FROM dupe_audit.run")


def test_offline_script_can_be_run_again(alembic, psql, sql, agent_actions):
    """Executed twice, the script archives nothing twice."""
    script = alembic("upgrade", "014:015", "--sql").stdout

    assert [0, 0] == [psql(script).returncode, psql(script).returncode]
    assert [("enforced", 60)] == sql("SELECT state, archived FROM dupe_audit.run")


@pytest.mark.thorough
def test_offline_script_continues_with_a_column_added_during_a_run_h123(alembic, psql, sql, conn, agent_actions):
    """The script completes a run that began before a column was added, and each restored row has the column."""
    columns = ("correlation_id", "action_name", "created_at")
    batches = cleanup(
        conn, UniqueKey(table="agent_actions", columns=columns), CleanupRule(divergent="archive", batch_size=9)
    )
    next(batches)
    batches.close()
    sql("ALTER TABLE agent_actions ADD COLUMN region text NOT NULL DEFAULT 'here'")

    up = psql(alembic("upgrade", "014:015", "--sql").stdout)
    assert (0, [("enforced", 60)]) == (up.returncode, sql("SELECT state, archived FROM dupe_audit.run")), up.stderr
    down = psql(alembic("downgrade", "015:014", "--sql").stdout)
    assert (0, [(1060,)]) == (down.returncode, sql("SELECT count(*) FROM agent_actions WHERE region = 'here'"))


@pytest.mark.parametrize("stop", ["0", "1"])
@pytest.mark.representatives("1")
def test_offline_script_stamps_nothing_unproven(alembic, psql, sql, agent_actions, stop):
    """A blocker keeps the version from being stamped, even if psql continues after errors."""
    sql("CREATE RULE keep AS ON DELETE TO agent_actions DO INSTEAD NOTHING")

    done = psql(alembic("upgrade", "014:015", "--sql").stdout, stop=stop)

    assert "rewrite-rule" in done.stderr
    assert [("014",)] == sql("SELECT version_num FROM alembic_version")
    assert [(1060,)] == sql("SELECT count(*) FROM agent_actions")


def test_offline_script_waits_a_limited_time_for_the_ledger_h197(alembic, psql, sql, agent_actions, psycopg_connect):
    """A script that waits for a session which creates the ledger holds no snapshot, ends in time, and names it."""
    script = alembic("upgrade", "014:015", "--sql").stdout
    patience = "interval '10s'"
    assert patience in script
    creator, builder = psycopg_connect(autocommit=True), psycopg_connect(autocommit=True)
    creator.execute(f"SELECT pg_advisory_lock({LOCK_NAMESPACE}, 0)")
    done = psql(script.replace(patience, "interval '200ms'"))
    assert (
        f"another session (pid {creator.info.backend_pid}) has been creating the ledger for 00:00:00.2" in done.stderr
    )
    assert [(None, "014")] == sql("SELECT to_regnamespace('dupe_audit')::text, version_num FROM alembic_version")
    waiting = threading.Thread(target=lambda: psql(script.replace(patience, "interval '1min'")))
    waiting.start()
    wait_for(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query ~ '^CALL'"))
    builder.execute("SET statement_timeout = '8s'")
    builder.execute("CREATE INDEX CONCURRENTLY ON alembic_version (version_num)")
    creator.close()
    waiting.join()
    assert [("015",)] == sql("SELECT version_num FROM alembic_version")


def test_offline_script_names_the_session_that_works_on_the_table(alembic, psql, sql, agent_actions, psycopg_connect):
    """A script that cannot get the run lock of its table says which session has it."""
    other = psycopg_connect(autocommit=True)
    other.execute(f"SELECT pg_advisory_lock({LOCK_NAMESPACE}, 'agent_actions'::regclass::oid::int)")
    script = alembic("upgrade", "014:015", "--sql").stdout
    done = psql(script.replace("interval '600000 ms'", "interval '200ms'"))
    assert f"another session (pid {other.info.backend_pid}) is working on table agent_actions" in done.stderr


def test_offline_script_pauses_between_builds_and_says_what_it_does_not_do(alembic, psql, sql, agent_actions):
    """A script pauses before each further build, longer each time, and a comment says that it does not hold writers."""
    script = alembic("upgrade", "014:015", "--sql").stdout
    pauses = [float(seconds) for seconds in re.findall(r"pg_sleep\(([\d.]+) \* .* \\gset", script)]
    assert pauses == [0.1, 0.16, 0.26, 0.41]
    assert "this script does not hold the writers of a small table" in script
    failing = script.replace("CREATE UNIQUE INDEX CONCURRENTLY", "SELECT failing; --", 2)
    done = psql(failing)
    assert (0, 2) == (done.returncode, done.stderr.count('column "failing" does not exist')), done.stderr
    assert [("enforced",)] == sql("SELECT state FROM dupe_audit.run")


@pytest.mark.thorough
def test_offline_script_drops_its_own_unfinished_index(alembic, psql, sql, agent_actions):
    """An invalid index that a killed run left behind is dropped and rebuilt."""
    alembic("upgrade", "015")
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = '" + NAME + "'::regclass")
    sql("ALTER TABLE agent_actions DROP CONSTRAINT " + NAME)
    sql(
        "INSERT INTO agent_actions SELECT gen_random_uuid(), correlation_id, agent_name, action_type, action_name, "
        "action_details, debug_mode, duration_ms, created_at FROM agent_actions LIMIT 1"
    )
    with pytest.raises(Exception, match="could not create unique index"):
        sql(f"CREATE UNIQUE INDEX CONCURRENTLY {NAME} ON agent_actions (correlation_id, action_name, created_at)")
    sql("UPDATE dupe_audit.run SET building = true, state = 'clean'")
    sql("UPDATE alembic_version SET version_num = '014'")

    done = psql(alembic("upgrade", "014:015", "--sql").stdout)

    assert 0 == done.returncode, done.stderr
    assert [("enforced", 61)] == sql("SELECT state, archived FROM dupe_audit.run")


OTHERS = {
    "an index": f"CREATE UNIQUE INDEX {NAME} ON agent_actions (id, created_at)",
    "a constraint of another kind": f"ALTER TABLE agent_actions ADD CONSTRAINT {NAME} CHECK (action_name <> '')",
}


@pytest.mark.parametrize("kind", OTHERS)
def test_offline_script_drops_nothing_but_a_unique_constraint(alembic, psql, sql, agent_actions, kind):
    """The downgrade's script refuses an index or another constraint of the name, and does not stamp."""
    sql(OTHERS[kind])
    sql("UPDATE alembic_version SET version_num = '015'")
    done = psql(alembic("downgrade", "015:014", "--sql").stdout)
    assert f"{NAME} on agent_actions is {kind}, not a unique constraint; nothing was dropped" in done.stderr
    objects = "SELECT 1 FROM pg_class WHERE relname = '{0}' UNION ALL SELECT 1 FROM pg_constraint WHERE conname = '{0}'"
    assert [(1,)] == sql(objects.format(NAME))
    assert [("015",)] == sql("SELECT version_num FROM alembic_version")


@pytest.mark.thorough
def test_offline_script_drops_no_replica_identity(alembic, psql, sql, agent_actions):
    """The downgrade's script keeps a constraint whose index is the replica identity of a published table."""
    assert 0 == psql(alembic("upgrade", "014:015", "--sql").stdout).returncode
    columns = "ALTER correlation_id SET NOT NULL, ALTER action_name SET NOT NULL, ALTER created_at SET NOT NULL"
    sql(f"ALTER TABLE agent_actions {columns}, REPLICA IDENTITY USING INDEX {NAME}")
    sql("CREATE PUBLICATION p FOR TABLE agent_actions")
    script = alembic("downgrade", "015:014", "--sql").stdout
    done = psql(script)
    assert "constraint-in-use: the constraint of agent_actions is needed by publications (p)" in done.stderr
    assert [("015",)] == sql("SELECT version_num FROM alembic_version")
    sql("ALTER TABLE agent_actions REPLICA IDENTITY DEFAULT")
    done = psql(script)
    assert 0 == done.returncode, done.stderr
    assert [("014",)] == sql("SELECT version_num FROM alembic_version")


@pytest.mark.thorough
def test_offline_script_uses_no_operator_of_a_schema_before_pg_catalog_h199(alembic, psql, sql, agent_actions):
    """With ``search_path = app, pg_catalog`` both scripts work, guards included, without an operator of schema app."""
    sql("CREATE SCHEMA app")
    for type_ in ("name", "text", "oid", "int4", "int8", "bool"):
        operands = f"pg_catalog.{type_}, pg_catalog.{type_}"
        sql(
            f"CREATE FUNCTION app.trap({operands}) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;"
            f"CREATE OPERATOR app.= (LEFTARG = {type_}, RIGHTARG = {type_}, FUNCTION = app.trap)"
        )
    path = "SET search_path = app, pg_catalog, public;\n"
    assert "trapped" in psql(f"{path}SELECT 1 WHERE 1 = 1").stderr
    for command, span in (("upgrade", "014:015"), ("downgrade", "015:014")):
        script = alembic(command, span, "--sql").stdout
        # Alembic's own statement is not under our control.
        statements, stamps = re.subn(r"(?m)^UPDATE alembic_version .*$", "", script)
        done = psql(path + statements)
        assert (0, 1) == (done.returncode, stamps), done.stderr
    assert [("restored",)] == sql("SELECT state FROM dupe_audit.run")


def test_offline_script_warns_if_there_is_nothing_to_drop(alembic, psql, sql, agent_actions):
    """A downgrade's script that finds no constraint says so once and stamps: it may have been executed before."""
    assert 0 == psql(alembic("upgrade", "014:015", "--sql").stdout).returncode
    script = alembic("downgrade", "015:014", "--sql").stdout
    assert 0 == psql(script).returncode
    sql("UPDATE alembic_version SET version_num = '015'")
    done = psql(script)
    assert 0 == done.returncode, done.stderr
    assert 1 == done.stderr.count(f"constraint {NAME} on agent_actions does not exist, so nothing is dropped")


@pytest.mark.thorough
def test_offline_script_knows_an_adopted_index(alembic, psql, sql, agent_actions, dupe_audit):
    """The script records that it adopted an index; its downgrade is left to the online way, which leaves the index."""
    sql("DELETE FROM agent_actions a USING agent_actions b WHERE a.id > b.id AND a.correlation_id = b.correlation_id")
    sql(f"CREATE UNIQUE INDEX {NAME} ON agent_actions (correlation_id, action_name, created_at)")
    up = psql(alembic("upgrade", "014:015", "--sql").stdout)
    assert 0 == up.returncode, up.stderr
    assert [("enforced", True)] == sql("SELECT state, adopted_index LIKE 'CREATE UNIQUE INDEX%' FROM dupe_audit.run")
    down = psql(alembic("downgrade", "015:014", "--sql").stdout)
    assert "has adopted an index that existed before the upgrade" in down.stderr
    assert [("015",)] == sql("SELECT version_num FROM alembic_version")
    alembic("downgrade", "014")
    assert [(True,)] == sql(f"SELECT indisvalid FROM pg_index WHERE indexrelid = '{NAME}'::regclass")
    assert [] == sql(f"SELECT 1 FROM pg_constraint WHERE conname = '{NAME}'")


CHILDREN = """
CREATE TABLE c (id int PRIMARY KEY, action_id uuid REFERENCES agent_actions ON DELETE CASCADE, tag text);
INSERT INTO c SELECT row_number() OVER (), id, 'tag ' || row_number() OVER () FROM agent_actions;
"""
ARCHIVE = 'divergent="archive")'


#: a trigger in which a statement waits for the test; the referential actions come after it, with a later snapshot
GATE = """
CREATE TABLE opened ();
CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    FOR _ IN 1 .. 3000 LOOP
        EXIT WHEN EXISTS (SELECT FROM public.opened);
        PERFORM pg_catalog.pg_sleep(0.01);
    END LOOP;
    RETURN coalesce(NEW, OLD);
END $$;
"""
RANKED = (
    "SELECT id, row_number() OVER (PARTITION BY correlation_id, action_name, created_at ORDER BY id) AS place "
    "FROM agent_actions"
)
ACCEPTED = ("-x", "dupe_audit.accept=delete-trigger", "upgrade", "014:015", "--sql")


@pytest.fixture
def stray_children(sql, psycopg_connect):
    """Insert children without a lock on their parents while a statement of the script waits at the gate; open it."""
    stranger = psycopg_connect(autocommit=True)
    stranger.execute("SET session_replication_role = replica")

    @contextmanager
    def arriving(insert):
        def meanwhile():
            wait_for(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query ~ '^CALL'"))
            stranger.execute(insert.encode())
            stranger.execute("INSERT INTO opened DEFAULT VALUES")

        thread = threading.Thread(target=meanwhile)
        thread.start()
        yield
        thread.join()

    return arriving


@pytest.mark.thorough
def test_offline_script_deletes_no_child_of_a_writer_without_locks_h103(
    alembic, psql, sql, agent_actions, stray_children
):
    """Children that a session without key-share locks commits during a batch of the script are not deleted."""
    sql("CREATE TABLE c (action_id uuid REFERENCES agent_actions ON DELETE CASCADE)")
    sql(GATE)
    sql("CREATE TRIGGER gate BEFORE DELETE ON agent_actions FOR EACH ROW EXECUTE FUNCTION gate()")
    with stray_children(f"INSERT INTO c SELECT id FROM ({RANKED}) AS ranked WHERE place > 1"):
        done = psql(alembic(*ACCEPTED).stdout)
    assert "foreign-key-references: rows of public.c" in done.stderr, done.stderr
    assert [(60, 1060)] == sql("SELECT (SELECT count(*) FROM c), (SELECT count(*) FROM agent_actions)")


@pytest.fixture
def one_extra(sql, agent_actions):
    """One extra in the table, so that a batch has one row; its delete waits until the table "opened" has a row."""
    sql(f"DELETE FROM agent_actions WHERE id IN (SELECT id FROM ({RANKED}) AS ranked WHERE place > 1 OFFSET 1)")
    sql(GATE)
    sql("CREATE TRIGGER gate BEFORE DELETE ON agent_actions FOR EACH ROW EXECUTE FUNCTION gate()")


@pytest.mark.thorough
def test_offline_script_blames_no_trigger_for_a_child_of_a_writer_without_locks_h103(
    alembic, psql, sql, one_extra, stray_children
):
    """One child without a lock in a batch of one row is a reference in the next pass, with a delete trigger too."""
    sql("CREATE TABLE c (action_id uuid REFERENCES agent_actions ON DELETE CASCADE)")
    with stray_children(f"INSERT INTO c SELECT id FROM ({RANKED}) AS ranked WHERE place > 1"):
        done = psql(alembic(*ACCEPTED).stdout)
    assert "foreign-key-references: rows of public.c" in done.stderr, done.stderr
    assert "trigger gate" not in done.stderr
    assert [(1, 1001)] == sql("SELECT (SELECT count(*) FROM c), (SELECT count(*) FROM agent_actions)")


def test_offline_script_tries_a_disturbed_batch_again(alembic, psql, sql, agent_actions):
    """A batch of the script that meets a row on its way to another partition is tried again with half of its rows."""
    sql("CREATE SEQUENCE deletes")
    sql(
        "CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN IF nextval('deletes') = 5 THEN RAISE 'moved' USING ERRCODE = '40001'; END IF; RETURN OLD; END$$"
    )
    sql("CREATE TRIGGER move BEFORE DELETE ON agent_actions FOR EACH ROW EXECUTE FUNCTION move()")
    done = psql(alembic(*ACCEPTED).stdout)
    assert (0, [("enforced", 60)]) == (done.returncode, sql("SELECT state, archived FROM dupe_audit.run")), done.stderr
    assert 60 < sql("SELECT last_value FROM deletes")[0][0]


@pytest.mark.thorough
def test_offline_script_names_a_trigger_that_changes_children(alembic, psql, sql, agent_actions):
    """A trigger that changes rows of a referencing table stops the script, which names it; nothing has changed."""
    sql("CREATE TABLE c (n int, action_id uuid REFERENCES agent_actions ON DELETE CASCADE); INSERT INTO c VALUES (0)")
    body = "BEGIN UPDATE c SET n = n + 1; RETURN OLD; END"
    sql(f"CREATE FUNCTION add_one() RETURNS trigger LANGUAGE plpgsql AS '{body}'")
    sql("CREATE TRIGGER counting BEFORE DELETE ON agent_actions FOR EACH ROW EXECUTE FUNCTION add_one()")
    done = psql(alembic(*ACCEPTED).stdout)
    assert "most likely by trigger counting" in done.stderr, done.stderr
    assert [(0, 1060)] == sql("SELECT (SELECT n FROM c), (SELECT count(*) FROM agent_actions)")


@pytest.mark.thorough
def test_offline_script_keeps_what_could_not_be_inserted_again_h131(alembic, psql, sql, agent_actions):
    """The script refuses extras that an INSERT would refuse, before any row is archived."""
    sql("ALTER TABLE agent_actions ADD CONSTRAINT named CHECK (agent_name <> 'agent') NOT VALID")
    script = alembic("upgrade", "014:015", "--sql").stdout
    done = psql(script)
    assert "cannot-restore" in done.stderr
    assert "(extras: 60): check constraint named" in done.stderr
    assert [(1060, "014")] == sql("SELECT (SELECT count(*) FROM agent_actions), version_num FROM alembic_version")
    sql("ALTER TABLE agent_actions DROP CONSTRAINT named")
    assert 0 == psql(script).returncode
    assert [("enforced", 60)] == sql("SELECT state, archived FROM dupe_audit.run")


def test_offline_script_refuses_a_table_of_citus(alembic, psql, sql, agent_actions):
    """The script refuses a table that Citus manages before it creates anything."""
    sql(
        "SET allow_system_table_mods = on; CREATE TABLE pg_catalog.pg_dist_partition "
        '(logicalrelid regclass NOT NULL, partmethod "char" NOT NULL, partkey text, colocationid int, '
        'repmodel "char" NOT NULL)'
    )
    sql("INSERT INTO pg_catalog.pg_dist_partition VALUES ('agent_actions', 'n', NULL, 1, 't')")
    done = psql(alembic("upgrade", "014:015", "--sql").stdout)
    assert (
        "citus-table: Citus manages table agent_actions, as a reference table, where a script does not work"
        in done.stderr
    )
    assert [(None, "014")] == sql("SELECT to_regnamespace('dupe_audit'), version_num FROM alembic_version")


@pytest.fixture
def repointing(alembic, tmp_path):
    """Print the SQL of the reference project with references="repoint"; takes alembic's arguments."""
    shutil.copytree(ROOT / "alembic", tmp_path / "alembic")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    revision = tmp_path / "alembic" / "versions" / "015_unique_action.py"
    assert ARCHIVE in revision.read_text()
    revision.write_text(
        revision.read_text().replace(ARCHIVE, 'divergent="archive", references="repoint", batch_size=7)')
    )

    return lambda *arguments: alembic(*arguments, "--sql", cwd=tmp_path).stdout


def test_offline_script_moves_children_and_back(repointing, alembic, psql, sql, agent_actions, dupe_audit):
    """Children follow the survivor in the script as they do online, and are pointed back at their own parents."""
    sql(CHILDREN)
    before = sql(CHECKSUM), sql("SELECT * FROM c ORDER BY id")
    up = psql(repointing("upgrade", "014:015"))
    assert (0, [("015",)]) == (up.returncode, sql("SELECT version_num FROM alembic_version")), up.stderr
    assert [("enforced", 60, 60)] == sql("SELECT state, archived, moved FROM dupe_audit.run r, dupe_audit.child c")
    assert [(0,)] == sql(
        "SELECT count(*) FROM c WHERE NOT EXISTS (SELECT FROM agent_actions a WHERE a.id = c.action_id)"
    )
    assert [(1060, 1000)] == sql("SELECT count(*), count(DISTINCT action_id) FROM c")
    dupe_audit("verify")

    down = psql(repointing("downgrade", "015:014"))
    assert 0 == down.returncode, down.stderr
    assert before == (sql(CHECKSUM), sql("SELECT * FROM c ORDER BY id"))
    assert [("restored", 60)] == sql("SELECT state, returned FROM dupe_audit.run r, dupe_audit.child c")


@pytest.mark.thorough
def test_offline_script_moves_a_child_that_arrives_while_others_move_h103(
    repointing, psql, sql, agent_actions, stray_children
):
    """A child that arrives without a lock while the other children of its extra move follows the survivor, too."""
    sql(CHILDREN)
    sql(GATE)
    sql("CREATE TRIGGER gate BEFORE UPDATE ON c FOR EACH ROW EXECUTE FUNCTION gate()")
    strays = f"SELECT 9000 + row_number() OVER (), id, 'stray' FROM ({RANKED}) AS ranked WHERE place > 1"
    with stray_children(f"INSERT INTO c {strays}"):
        done = psql(repointing("-x", "dupe_audit.accept=child-trigger", "upgrade", "014:015"))
    assert 0 == done.returncode, done.stderr
    assert [("enforced", 60, 120)] == sql("SELECT state, archived, moved FROM dupe_audit.run r, dupe_audit.child c")
    assert [(1120,)] == sql(
        "SELECT count(*) FROM c WHERE EXISTS (SELECT FROM agent_actions a WHERE a.id = c.action_id)"
    )


@pytest.mark.thorough
def test_offline_script_moves_a_child_that_arrives_during_the_delete_h103(
    repointing, psql, sql, one_extra, stray_children
):
    """A child that arrives without a lock while a batch of one row deletes its parent follows in the next pass."""
    sql(CHILDREN)
    strays = f"SELECT 9000 + row_number() OVER (), id, 'stray' FROM ({RANKED}) AS ranked WHERE place > 1"
    with stray_children(f"INSERT INTO c {strays}"):
        done = psql(repointing("-x", "dupe_audit.accept=delete-trigger", "upgrade", "014:015"))
    assert 0 == done.returncode, done.stderr
    assert [("enforced", 1, 2)] == sql("SELECT state, archived, moved FROM dupe_audit.run r, dupe_audit.child c")
    assert [(1002,)] == sql(
        "SELECT count(*) FROM c WHERE EXISTS (SELECT FROM agent_actions a WHERE a.id = c.action_id)"
    )


@pytest.mark.parametrize(
    ("child", "problem"),
    [
        (
            "CREATE TABLE c (id uuid REFERENCES agent_actions); INSERT INTO c SELECT id FROM agent_actions",
            "cannot-repoint: rows of public.c",
        ),
        (
            CHILDREN + "UPDATE c SET tag = 'same'; ALTER TABLE c ADD UNIQUE (action_id, tag)",
            "repoint-collision: rows of public.c would collide on c_action_id_tag_key once they",
        ),
        (
            CHILDREN + "CREATE TRIGGER audit BEFORE UPDATE ON c FOR EACH ROW EXECUTE FUNCTION "
            "suppress_redundant_updates_trigger()",
            "child-trigger: audit on public.c",
        ),
    ],
    ids=["no primary key", "collision", "trigger"],
)
@pytest.mark.representatives("collision")
def test_offline_script_refuses_what_cannot_follow(repointing, alembic, psql, sql, agent_actions, child, problem):
    """Children that cannot follow stop the script before anything is archived, and are counted."""
    sql(child)
    up = psql(repointing("upgrade", "014:015"))
    assert (3, True) == (up.returncode, problem in up.stderr), up.stderr
    assert [("014", 1060)] == sql("SELECT version_num, (SELECT count(*) FROM agent_actions) FROM alembic_version")


def test_offline_needs_no_database(alembic, environment):
    """The script is printed without any connection."""
    environment["DATABASE_URL"] = "postgresql://nobody@localhost:1/nothing"

    assert "CREATE UNIQUE INDEX CONCURRENTLY" in alembic("upgrade", "014:015", "--sql").stdout


HOSTILE = "o'Brien\"s %s :x {table} $tag$ \\\\ naïve"


def test_offline_script_survives_hostile_names(alembic, psql, sql, tmp_path):
    """Quotes, percent signs, colons, braces, dollar signs and backslashes in names reach the catalog unchanged."""
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    sql(f"CREATE SCHEMA {quoted}; CREATE TABLE {quoted}.{quoted} (id int PRIMARY KEY, {quoted} int)")
    sql(f"INSERT INTO {quoted}.{quoted} VALUES (1, 7), (2, 7), (3, 8)")
    (tmp_path / "alembic" / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        shutil.copy(ROOT / "alembic" / name, tmp_path / "alembic")
    shutil.copy(ROOT / "alembic.ini", tmp_path)
    (tmp_path / "alembic" / "versions" / "1.py").write_text(
        "from alembic import op\nrevision, down_revision = '1', None\n"
        f"NAME = {HOSTILE!r}\n"
        "def upgrade():\n"
        "    op.archive_duplicates(NAME, [NAME], schema=NAME, divergent='archive')\n"
        "    op.create_unique_constraint_online('u ' + NAME, NAME, [NAME], schema=NAME, comment=NAME)\n"
        "def downgrade():\n"
        "    op.drop_unique_constraint_online('u ' + NAME, NAME, schema=NAME)\n"
        "    op.restore_duplicates(NAME, [NAME], schema=NAME)\n"
    )

    up = psql(alembic("upgrade", "head", "--sql", cwd=tmp_path).stdout)
    assert (0, [(2,)]) == (up.returncode, sql(f"SELECT count(*) FROM {quoted}.{quoted}")), up.stderr
    assert [("u " + HOSTILE,)] == sql(
        "SELECT conname FROM pg_constraint WHERE contype = 'u' AND conrelid IN (SELECT relid FROM dupe_audit.run)"
    )
    down = psql(alembic("downgrade", "1:base", "--sql", cwd=tmp_path).stdout)
    assert (0, [(3,)]) == (down.returncode, sql(f"SELECT count(*) FROM {quoted}.{quoted}")), down.stderr


@pytest.mark.parametrize("way", ["online", "script"])
@pytest.mark.thorough
def test_row_that_fits_no_later_index_stays_alone(alembic, psql, sql, agent_actions, way):
    """One row that is too wide for an index created since stays archived with the reason, and all others go back."""
    alembic("upgrade", "015")
    long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) AS i)"
    sql(f"UPDATE dupe_audit.archive_1 SET agent_name = {long} WHERE dupe_audit_id = 7")
    sql("CREATE INDEX narrow ON agent_actions (agent_name)")

    if way == "online":
        assert "59 of 60 archived rows restored" in alembic("downgrade", "014", code=255).stderr
    else:
        done = psql(alembic("downgrade", "015:014", "--sql").stdout)
        assert (3, True) == (done.returncode, "rows-not-restored" in done.stderr), done.stderr
    assert [(1059,)] == sql("SELECT count(*) FROM agent_actions")
    assert [(7, "54000")] == sql(
        "SELECT dupe_audit_id, left(dupe_audit_problem, 5) FROM dupe_audit.archive_1 "
        "WHERE dupe_audit_restored_at IS NULL"
    )
    assert [("015",)] == sql("SELECT version_num FROM alembic_version")


@pytest.mark.thorough
def test_script_restores_a_row_whose_generated_column_changed(alembic, psql, sql, agent_actions):
    """The script puts rows back whose generated column has another expression since, and names one that became such."""
    sql("ALTER TABLE agent_actions ADD COLUMN g int GENERATED ALWAYS AS (1) STORED, ADD COLUMN p int DEFAULT 5")
    alembic("upgrade", "015")
    sql("ALTER TABLE agent_actions DROP COLUMN g, ADD COLUMN h int")
    sql("ALTER TABLE agent_actions ADD COLUMN g int GENERATED ALWAYS AS (2) STORED")
    down = alembic("downgrade", "015:014", "--sql").stdout
    sql(
        "ALTER TABLE agent_actions DROP COLUMN p;"
        "ALTER TABLE agent_actions ADD COLUMN p int GENERATED ALWAYS AS (6) STORED"
    )
    refused = psql(down)
    assert (3, True) == (refused.returncode, "rows-not-restored" in refused.stderr), refused.stderr
    assert [(60,)] == sql(
        "SELECT count(*)::int FROM dupe_audit.archive_1 "
        "WHERE dupe_audit_problem LIKE '%column p, which is generated now%'"
    )
    sql("ALTER TABLE agent_actions ALTER COLUMN p DROP EXPRESSION")
    done = psql(down)
    assert 0 == done.returncode, done.stderr
    assert [(60, 2)] == sql("SELECT count(*), max(g) FROM agent_actions WHERE p = 5 AND g = 2")


def test_ledger_of_the_script_is_private_and_its_archive_new(alembic, psql, sql, agent_actions):
    """The script's ledger is private whatever the default privileges are, and it uses no archive that exists before."""
    kinds = ("SCHEMAS", "TABLES", "SEQUENCES")
    for kind in kinds:
        sql(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON {kind} TO PUBLIC")
    script = alembic("upgrade", "014:015", "--sql").stdout
    assert psql(script).returncode == 0
    for kind in kinds:
        sql(f"ALTER DEFAULT PRIVILEGES REVOKE ALL ON {kind} FROM PUBLIC")
    assert [] == sql(
        "SELECT c.oid::regclass FROM pg_class c, aclexplode(relacl) g "
        "WHERE relnamespace = 'dupe_audit'::regnamespace AND grantee <> relowner UNION ALL "
        "SELECT n.oid::regclass FROM pg_namespace n, aclexplode(nspacl) g "
        "WHERE nspname = 'dupe_audit' AND grantee <> nspowner"
    )
    assert psql(alembic("downgrade", "015:014", "--sql").stdout).returncode == 0

    sql("CREATE TABLE dupe_audit.archive_2 (LIKE dupe_audit.archive_1 INCLUDING ALL)")
    refused = psql(script, stop="0")
    assert "untrusted-ledger: run 2 has just been opened" in refused.stderr
    assert [("014", 1060)] == sql("SELECT version_num, (SELECT count(*) FROM agent_actions) FROM alembic_version")


IN_BLOCK = """
op.execute("SELECT 1")
with op.get_context().autocommit_block():
    {index}
    {inside}
{outside}
"""


def test_directive_in_an_autocommit_block_is_refused_in_a_script(small_project, sql, psql):
    """A script that could not continue the revision's own autocommit block is not printed; beside a block it works."""
    sql("CREATE TABLE t (k int, v int); INSERT INTO t VALUES (1, 1), (1, 1)")
    assert small_project.run("upgrade", "0001")[0] == 0
    directives = {
        "up": ("op.archive_duplicates('t', ['k'])", "op.create_unique_constraint_online('t_key', 't', ['k'])"),
        "down": ("op.drop_unique_constraint_online('t_key', 't')", "op.restore_duplicates('t', ['k'])"),
    }
    concurrently = {"up": "CREATE INDEX CONCURRENTLY i ON t (v)", "down": "DROP INDEX CONCURRENTLY i"}
    index = {way: f"op.execute({statement!r})" for way, statement in concurrently.items()}
    parts = {
        way: IN_BLOCK.format(index=index[way], inside=first, outside=second)
        for way, (first, second) in directives.items()
    }
    small_project.revision("0002", "0001", **parts)
    for command, name, line in (
        (("upgrade", "0001:0002"), "archive_duplicates", 13),
        (("downgrade", "0002:0001"), "drop_unique_constraint_online", 23),
    ):
        code, output = small_project.run(*command, "--sql")
        reason = f"directives. op.{name}() is inside autocommit_block() (0002.py, line {line}), and in a script it"
        assert (255, True) == (code, reason in output), output
        assert "dupe_audit_open" not in output
        assert "UPDATE alembic_version" not in output
    parts = {
        way: IN_BLOCK.format(index=index[way], inside="", outside="\n".join(directives[way])) for way in directives
    }
    small_project.revision("0002", "0001", **parts)
    for command, rows in ((("upgrade", "0001:0002"), 1), (("downgrade", "0002:0001"), 2)):
        done = psql(small_project.script(*command))
        assert (0, [(rows,)]) == (done.returncode, sql("SELECT count(*) FROM t")), done.stderr
