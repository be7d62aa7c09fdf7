"""The ``-x dupe_audit.…`` options of Alembic's command line take effect in the scripts of ``--sql``, or are refused."""

import re

import pytest

#: an element of a key that says under which settings it is computed, and by which statement
SHOWN = """
CREATE FUNCTION shown(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    RAISE NOTICE 'shown: % | % | % | % | %', left(current_query(), 10), current_setting('enable_hashagg'),
        current_setting('work_mem'), current_setting('maintenance_work_mem'),
        current_setting('max_parallel_maintenance_workers');
    RETURN value;
END $$;
"""
TABLE = SHOWN + "CREATE TABLE t (day int, k text); INSERT INTO t VALUES (1, 'a'), (1, 'a'), (1, 'b')"
TREE = SHOWN + (
    "CREATE TABLE t (day int, k text) PARTITION BY LIST (day); CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1); "
    "INSERT INTO t VALUES (1, 'a'), (1, 'a'), (1, 'b')"
)
UP = """
op.archive_duplicates("t", ["day", sa.text("shown(k)")])
op.create_unique_index_online("t_key", "t", ["day", sa.text("shown(k)")])
op.execute("SELECT shown('afterwards')")
"""
DOWN = """
op.drop_unique_index_online("t_key", "t")
op.restore_duplicates("t", ["day", sa.text("shown(k)")])
"""
MEMORY = ("work_mem=7MB", "maintenance_work_mem=11MB", "max_parallel_maintenance_workers=1")
SETTINGS = "SELECT " + ", ".join(f"current_setting('{option.partition('=')[0]}')" for option in MEMORY)


def options(*values):
    """Return the arguments of Alembic for options of ours."""
    return [part for value in values for part in ("-x", f"dupe_audit.{value}")]


@pytest.mark.parametrize(
    ("table", "counted"),
    [(TABLE, {"CALL pg_te", "DO $guard$"}), (TREE, {"CALL pg_te"})],
    ids=["table", "tree"],
)
def test_script_ranks_counts_and_builds_with_the_memory_of_the_options(small_project, sql, psql, table, counted):
    """Rankings and counts have work_mem, builds the other two settings, and nothing else in the session has them."""
    sql(table)
    assert small_project.run("upgrade", "0001")[0] == 0
    small_project.revision("0002", "0001", UP, DOWN)
    partitioned = ["partitioned=t"] if table == TREE else []
    script = small_project.script(*options(*MEMORY, *partitioned), "upgrade", "0001:0002")
    done = psql(script.replace("\\set VERBOSITY sqlstate", "") + f"\n{SETTINGS};")
    assert done.returncode == 0, done.stderr
    shown = {tuple(line.split(" | ")) for line in re.findall("NOTICE:  shown: (.*)", done.stderr)}
    default = sql(SETTINGS)[0]
    ranked = {line for line in shown if line[1] == "off"}
    built = {line for line in shown if line[0] == "CREATE UNI"}
    assert counted == {line[0] for line in ranked}
    assert {("7MB", *default[1:])} == {line[2:] for line in ranked}
    assert {(default[0], "11MB", "1")} == {line[2:] for line in built}
    assert {default} == {line[2:] for line in shown - ranked - built}
    assert ("SELECT sho", "on", *default) in shown
    assert default == tuple(part.strip() for part in done.stdout.splitlines()[-3].split("|"))


@pytest.mark.parametrize("stop", ["0", "1"])
@pytest.mark.parametrize("option", ["work_mem=1kB", "maintenance_work_mem=1kB"])
def test_script_with_a_setting_that_the_server_refuses_changes_nothing(small_project, sql, psql, option, stop):
    """A value that only the server can judge stops the script before its first change, whatever psql's settings."""
    sql(TABLE)
    assert small_project.run("upgrade", "0001")[0] == 0
    small_project.revision("0002", "0001", UP)
    done = psql(small_project.script(*options(option), "upgrade", "0001:0002"), stop=stop)
    assert (3, True) == (done.returncode, "1 kB is outside the valid range" in done.stderr), done.stderr
    assert [(None, 3)] == sql("SELECT to_regnamespace('dupe_audit')::text, count(*) FROM t")


def test_scripts_move_no_more_rows_per_batch_than_the_options_say(alembic, sql, psql, agent_actions):
    """The batch size of the command line holds in both scripts, and that of the upgrade ends with its result."""
    up = alembic(*options("batch_size=7", "pause=0.001"), "upgrade", "014:015", "--sql").stdout
    done = psql(up)
    assert (0, 1) == (done.returncode, done.stderr.count("is enforced and valid, and no duplicate was found")), (
        done.stderr
    )
    assert [(7, 0.001, 7)] == sql(
        "SELECT batch_size, pause, (SELECT max(archived) FROM dupe_audit.batch) FROM dupe_audit.run"
    )
    down = psql(alembic(*options("batch_size=13"), "downgrade", "015:014", "--sql").stdout)
    assert down.returncode == 0, down.stderr
    assert [(13, 60)] == sql("SELECT max(restored), sum(restored)::int FROM dupe_audit.batch")


#: the timeouts of a role or database, in the place of other settings that ``shown()`` reports
TIMEOUTS = (
    TABLE.replace("'enable_hashagg'", "'statement_timeout'").replace("'work_mem'", "'transaction_timeout', true")
    + "; CREATE TABLE earlier (k text); "
    "CREATE FUNCTION altered() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM shown('altered'); END $$; "
    "CREATE EVENT TRIGGER altered ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION altered()"
)
CONSTRAINT = 'op.create_unique_constraint_online("earlier_key", "earlier", ["k"])\n'


def test_script_is_ended_by_no_timeout_of_a_database(small_project, sql, psql, database_url):
    """Limits of a database hold for the revision's own statements, but not for work and counts of its script."""
    name, version = database_url.rpartition("/")[2].partition("?")[0], sql("SHOW server_version_num")[0][0]
    has_both = int(version) >= 170000
    limit = ("7min", "8min") if has_both else ("7min", "<NULL>")
    sql(f"{TIMEOUTS}; ALTER DATABASE {name} SET statement_timeout = '7min'")
    if has_both:
        sql(f"ALTER DATABASE {name} SET transaction_timeout = '8min'")
    assert small_project.run("upgrade", "0001")[0] == 0
    down = f"{DOWN}\nop.drop_unique_constraint_online('earlier_key', 'earlier')\nop.execute(\"SELECT shown('back')\")"
    small_project.revision("0002", "0001", CONSTRAINT + UP, down)
    limits = {}
    for command in (("upgrade", "0001:0002"), ("downgrade", "0002:0001")):
        script = small_project.script(*command).replace("\\set VERBOSITY sqlstate", "")
        done = psql(script + "\nSELECT current_setting('statement_timeout');")
        assert (0, "7min") == (done.returncode, done.stdout.split()[-3]), done.stderr
        for line in re.findall("NOTICE:  shown: (.*)", done.stderr):
            start, *settings, _, _ = line.split(" | ")
            limits.setdefault(start, set()).add(tuple(settings))
    off = ("0", "0") if has_both else ("0", "<NULL>")
    work = ("DO $judge$", "CALL pg_te", "CREATE UNI", "DO $guard$", "DO $attach")
    expected = {**{start: {off} for start in work}, "SELECT sho": {limit}}
    assert expected == {start: limits[start] for start in expected}
