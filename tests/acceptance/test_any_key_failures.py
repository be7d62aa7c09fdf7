"""What makes an expression or its index fail: found before a row moves, or reported without a value of a row."""

import pytest

from alembic_project import Project

TABLE = """
CREATE SCHEMA app;
CREATE TABLE app.parts (id int PRIMARY KEY, code text, writes int DEFAULT 0);
INSERT INTO app.parts VALUES (1, '7'), (2, '7'), (3, '7'), (4, '8');
CREATE FUNCTION app.helper(value text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower(value)';
SET search_path = app, public;
CREATE FUNCTION app.in_plpgsql(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN helper(value); END';
CREATE FUNCTION app.in_sql(value text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT helper(value)'
"""
COUNT = "SELECT count(*) FROM app.parts"
#: writes rows for which the expressions fail, in the middle of the work
WRITER = """
CREATE FUNCTION public.write() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {condition} THEN {action}; END IF;
END $$;
CREATE EVENT TRIGGER writer ON {event} EXECUTE FUNCTION public.write()
"""
CREATED = """EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                    WHERE command_tag = 'CREATE TABLE AS' AND object_identity ~ 'dupe_audit.{name}')"""
INSERT = "INSERT INTO app.parts VALUES (99, 'Secret-99'), (98, 'Secret-98') ON CONFLICT DO NOTHING"
#: moves two extras after the first ranking, so that the pass spares them, and changes them after the second one
CHANGE = (
    "UPDATE app.parts SET writes = writes + 1, code = CASE writes WHEN 0 THEN code ELSE 'Secret-' || id END "
    "WHERE id IN (2, 3)"
)
MOMENTS = {
    "ranking": ("ddl_command_end", CREATED.format(name="archive"), INSERT),
    "batch": ("ddl_command_end", CREATED.format(name="stage"), CHANGE),
    "build": ("ddl_command_start", "current_query() ~ '^CREATE UNIQUE INDEX CONCURRENTLY'", INSERT),
}

#: raises an error that quotes a value
PICKY = """
CREATE FUNCTION app.picky(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS
$$ BEGIN IF value ~ 'Secret' THEN RAISE EXCEPTION 'not %', value; END IF; RETURN value; END $$
"""


def write_at(sql, moment):
    """Write rows for which the expressions fail, now or at some point of the work."""
    if moment == "before":
        sql(INSERT)
    else:
        event, condition, action = MOMENTS[moment]
        sql(WRITER.format(event=event, condition=condition, action=action))


@pytest.fixture
def parts(tmp_path, database_url, launcher, sql):
    """A project whose tables are in a schema that the roles of its connections have on their search path."""
    sql(TABLE)
    sql("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public', current_database()); END $$")
    return Project(tmp_path, database_url, launcher)


def revise(project, expression, where=None):
    """Write the revision that makes an expression unique."""
    key = f'"parts", [sa.text({expression!r})]' + (f", where={where!r}" if where else "")
    project.revision(
        "0002",
        "0001",
        f'op.archive_duplicates({key}, divergent="archive")\nop.create_unique_index_online("ux", {key})',
        f'op.drop_unique_index_online("ux", "parts")\nop.restore_duplicates({key})',
    )


@pytest.mark.parametrize("call", ["in_plpgsql(code)", "in_sql(code)"])
@pytest.mark.representatives("in_plpgsql(code)")
def test_function_that_depends_on_the_search_path_stops_the_upgrade(parts, sql, call, server_version_num):
    """Where the build would fail, no row moves; elsewhere the upgrade succeeds, with a warning."""
    revise(parts, call)
    code, output = parts.run("upgrade", "head")
    if server_version_num >= 170000:
        assert (code, sql(COUNT), sql("SELECT to_regclass('dupe_audit.run')")) == (255, [(4,)], [(None,)])
        assert "[depends-on-search-path]" in output
        assert f"{call}: function helper(text) does not exist (SQLSTATE 42883)" in output
        sql("ALTER FUNCTION app.in_plpgsql(text) SET search_path = app")
        sql("ALTER FUNCTION app.in_sql(text) SET search_path = app")
        code, output = parts.run("upgrade", "head")
    else:
        assert "depends on the search path" in output
    assert (code, sql(COUNT)) == (0, [(2,)]), output
    code, output = parts.run("downgrade", "-1")
    assert (code, sql(COUNT)) == (0, [(4,)]), output


def test_refused_index_stops_the_upgrade(parts, sql):
    """What PostgreSQL refuses in an index is known before a row moves."""
    revise(parts, "lower(code)", where="tableoid = 'parts'::regclass")
    code, output = parts.run("upgrade", "head")
    assert (code, sql(COUNT), sql("SELECT to_regclass('dupe_audit.run')")) == (255, [(4,)], [(None,)]), output
    assert "tableoid = 'parts'::regclass: index creation on system columns is not supported" in output


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("call", ["code::int", "picky(code)"])
@pytest.mark.representatives("picky(code)-batch")
def test_row_that_fails_later_is_counted_and_not_printed(parts, sql, call, moment):
    """A row written after the check stops the step, with the expression, the number of rows and what to do next."""
    sql(PICKY)
    revise(parts, call)
    write_at(sql, moment)
    code, output = parts.run("upgrade", "head")
    state = "P0001" if "picky" in call else "22P02"
    assert (code, "Secret" in output) == (255, False), output
    assert (
        f"[expression-fails] An expression cannot be computed for some rows of app.parts: {call} fails for 2 rows "
        in output
    )
    assert f"(SQLSTATE {state})" in output
    assert "failed for rows that were written or changed after the check" in output
    assert "then run the same command again" in output
    assert ("run 1 has archived 2 rows" in output) == (moment == "build")
    sql("DROP EVENT TRIGGER writer; DELETE FROM app.parts WHERE id > 90; UPDATE app.parts SET code = '7' WHERE id < 4")
    code, output = parts.run("upgrade", "head")
    assert (code, sql(COUNT)) == (0, [(2,)]), output
    code, output = parts.run("downgrade", "-1")
    assert (code, sql(COUNT)) == (0, [(4,)]), output


def stamped(sql):
    """Return the version that the database has."""
    return sql("SELECT version_num FROM alembic_version")


@pytest.mark.parametrize("call", ["in_plpgsql(code)", "in_sql(code)"])
@pytest.mark.representatives("in_sql(code)")
def test_script_stops_at_a_function_that_depends_on_the_search_path(parts, sql, psql, call, server_version_num):
    """The script finds what the upgrade finds, before a row moves."""
    revise(parts, call)
    assert parts.run("upgrade", "0001")[0] == 0
    script = parts.script("upgrade", "0001:0002")
    done = psql(script)
    if server_version_num >= 170000:
        assert (done.returncode, sql(COUNT), stamped(sql)) == (3, [(4,)], [("0001",)])
        assert f"depends-on-search-path: {call}: function helper(text) does not exist (SQLSTATE 42883)" in done.stderr
        sql(f"ALTER FUNCTION app.{call.partition('(')[0]}(text) SET search_path = app")
        done = psql(script)
    else:
        assert "WARNING:  dupe-audit: depends-on-search-path" in done.stderr
    assert (done.returncode, sql(COUNT), stamped(sql)) == (0, [(2,)], [("0002",)]), done.stderr
    done = psql(parts.script("downgrade", "0002:0001"))
    assert (done.returncode, sql(COUNT), stamped(sql)) == (0, [(4,)], [("0001",)]), done.stderr


def test_script_stops_at_an_index_that_is_refused(parts, sql, psql):
    """What PostgreSQL refuses in an index stops the script before a row moves."""
    revise(parts, "lower(code)", where="tableoid = 'parts'::regclass")
    assert parts.run("upgrade", "0001")[0] == 0
    done = psql(parts.script("upgrade", "0001:0002"))
    assert (done.returncode, sql(COUNT), stamped(sql)) == (3, [(4,)], [("0001",)]), done.stderr
    reason = "index creation on system columns is not supported (SQLSTATE 0A000) (table parts)"
    assert f"index-refused: tableoid = 'parts'::regclass: {reason}" in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["before", *MOMENTS])
@pytest.mark.parametrize("call", ["code::int", "picky(code)"])
def test_script_counts_rows_that_fail_and_prints_no_value(parts, sql, psql, call, moment):
    """Whenever such a row is written, the script stops with the number of rows, and psql prints no value."""
    sql(PICKY)
    revise(parts, call)
    assert parts.run("upgrade", "0001")[0] == 0
    write_at(sql, moment)
    script = parts.script("upgrade", "0001:0002")
    done = psql(script)
    state = "P0001" if "picky" in call else "22P02"
    assert (done.returncode, stamped(sql)) == (3, [("0001",)]), done.stderr
    assert "Secret" not in done.stderr + done.stdout
    assert f"some rows of table app.parts ({call} fails for 2 rows (SQLSTATE {state}))" in done.stderr
    assert ("the batch was rolled back" in done.stderr) == (moment == "batch")
    sql("DROP EVENT TRIGGER IF EXISTS writer; DELETE FROM app.parts WHERE id > 90")
    sql("UPDATE app.parts SET code = '7' WHERE id < 4")
    done = psql(script)
    assert (done.returncode, sql(COUNT), stamped(sql)) == (0, [(2,)], [("0002",)]), done.stderr
    done = psql(parts.script("downgrade", "0002:0001"))
    assert (done.returncode, sql(COUNT), stamped(sql)) == (0, [(4,)], [("0001",)]), done.stderr
