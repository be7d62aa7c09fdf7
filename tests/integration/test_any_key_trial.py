"""What PostgreSQL would refuse when it builds the index is known before a row moves."""

import psycopg
import pytest
from sqlalchemy import text

from dupe_audit.model import CleanupRule, Expression, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import transaction
from dupe_audit.preflight import blockers, judge, preflight, try_index
from dupe_audit.statements import literal, statement, text_array

FUNCTIONS = """
CREATE SCHEMA app;
CREATE TABLE app.users (id int PRIMARY KEY, email text, note json, code text COLLATE "C", mark text COLLATE "POSIX",
                        doubled text GENERATED ALWAYS AS (email || email) STORED);
INSERT INTO app.users VALUES (1, 'Secret', '{}'), (2, 'secret', '{}'), (3, NULL, NULL);
CREATE FUNCTION app.helper(value text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower(value)';
SET search_path = app, public;
CREATE FUNCTION app.in_plpgsql(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN helper(value); END';
CREATE FUNCTION app.in_sql(value text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT helper(value)';
CREATE FUNCTION app.in_caps(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql
    AS 'BEGIN IF value <> lower(value) THEN RETURN helper(value); END IF; RETURN value; END'
"""


def of(*columns, where=None, name="ux", **options):
    """Return a key of app.users, with an expression for every text in parentheses."""
    elements = tuple(Expression(part) if "(" in part else part for part in columns)
    return UniqueKey(table="users", schema="app", columns=elements, where=where, name=name, form="index", **options)


@pytest.fixture
def users(sql, conn):
    """A connection with the search path under which the functions of the table find one another."""
    sql(FUNCTIONS)
    conn.execute(text("SET search_path = app, public"))
    conn.commit()
    return conn


@pytest.fixture
def restricted(server_version_num):
    """Whether the server builds indexes under its own search path."""
    return server_version_num >= 170000


def problems(findings, *, severity="error"):
    """Return the findings of a severity, each as its id and message."""
    return [(each.id, each.message) for each in findings if each.severity == severity]


LEAD = (
    "An expression fails under the search path that PostgreSQL uses to build an "
    "index of app.users (pg_catalog, pg_temp): "
)


@pytest.mark.parametrize("call", ["in_plpgsql(email)", "app.in_caps(email)", "in_sql(email)"])
@pytest.mark.parametrize("way", ["preflight", "judge"])
@pytest.mark.representatives("preflight-in_sql(email)", "judge-in_plpgsql(email)")
def test_function_that_depends_on_the_search_path_is_found(users, restricted, call, way):
    """A call without a schema stops the change where builds have their own path, and is a warning elsewhere."""
    key = of(call)
    findings = preflight(users, key).findings if way == "preflight" else judge(users, key, CleanupRule())
    missing = f"{call}: function helper(text) does not exist (SQLSTATE 42883)"
    if restricted:
        assert ("depends-on-search-path", f"{LEAD}{missing}.") in problems(findings)
    else:
        assert [] == [each for each in problems(findings) if each[0] == "depends-on-search-path"]
        (warning,) = (each for each in problems(findings, severity="warning") if each[0] == "depends-on-search-path")
        assert warning[1] == (
            f"An expression over app.users depends on the search path: {missing}. This server builds the index, but "
            "then autovacuum cannot analyze the table, and a dump of it cannot be restored."
        )


def test_finding_agrees_with_the_build(users, sql, restricted):
    """What is reported as an error is what the build meets, and a function with its own path is neither."""
    for call in ("in_plpgsql(email)", "in_caps(email)"):
        build = f"SET search_path = app, public; CREATE INDEX ON users ({call})"
        if restricted:
            with pytest.raises(psycopg.errors.UndefinedFunction):
                sql(build)
        else:
            sql(build)
    sql("ALTER FUNCTION app.in_plpgsql(text) SET search_path = app, pg_temp")
    assert [] == problems(blockers(users, of("in_plpgsql(email)"), CleanupRule()))
    assert [] == try_index(users, of("in_plpgsql(email)"))
    sql("SET search_path = app, public; CREATE INDEX ON users (in_plpgsql(email))")


def test_predicate_that_depends_on_the_search_path_is_found(users, restricted):
    """A predicate is computed for every row; an expression, only for the rows of the predicate."""
    predicate = "in_caps(email) = 'secret'"
    findings = preflight(users, of("email", where=predicate)).findings
    severity = "error" if restricted else "warning"
    assert ["depends-on-search-path"] == [
        id_ for id_, message in problems(findings, severity=severity) if f"{predicate}: function" in message
    ]
    findings = preflight(users, of("in_caps(email)", where="email = 'secret'")).findings
    assert [] == [each.id for each in findings if each.id == "depends-on-search-path"]


@pytest.mark.parametrize(("call", "reads"), [("lower(email)", False), ("in_sql(email)", True)])
def test_table_is_read_only_for_a_function_that_could_depend_on_the_path(users, call, reads):
    """An expression that calls only PostgreSQL's own functions costs no scan of the table."""
    with transaction(users, read_only=True):
        queries = text_array([f"SELECT pg_catalog.count({call}) FROM app.users"])
        execute(users, statement("path_problems", queries=queries, texts=literal(call)))
        locks = execute(users, "SELECT count(*) FROM pg_locks WHERE relation = 'app.users'::regclass").scalar_one()
    assert (locks > 0) == reads


def test_merged_function_is_found_by_the_trial_whatever_its_name(users, sql, restricted):
    """A function in SQL becomes a part of the expression when the index is planned, with the path of the build."""
    sql("CREATE FUNCTION public.in_sql(value int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT value'")
    assert judge(users, of("in_sql(email)"), CleanupRule()) == []
    findings = try_index(users, of("in_sql(email)"))
    missing = "in_sql(email): function helper(text) does not exist (SQLSTATE 42883)"
    assert problems(findings) == ([("depends-on-search-path", f"{LEAD}{missing}.")] if restricted else [])


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (of("(tableoid::int)"), "(tableoid::int): index creation on system columns is not supported (SQLSTATE 0A000)"),
        (
            of("email", where="ctid <> '(0,1)'"),
            "ctid <> '(0,1)': index creation on system columns is not supported (SQLSTATE 0A000)",
        ),
        (
            of("(code || mark)"),
            "(code || mark): could not determine which collation to use for index expression (SQLSTATE 42P22)",
        ),
        (
            of("point(id, id)"),
            'point(id, id): data type point has no default operator class for access method "btree" (SQLSTATE 42704)',
        ),
    ],
    ids=["system column", "predicate", "collation", "operator class"],
)
def test_refused_index_is_reported_by_its_part(users, key, reason):
    """What PostgreSQL refuses in an index is named with the part of the key, and nothing of the trial remains."""
    assert problems(try_index(users, key)) == [
        ("index-refused", f"PostgreSQL cannot build the index of app.users: {reason}.")
    ]
    assert users.execute(text("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")).scalar() == 0


def test_trial_of_a_sound_key_leaves_nothing_and_reports_nothing(users):
    """No trial fails because of duplicates, NULLs, INCLUDE of a type without equality, or generated columns."""
    key = of("lower(email)", "doubled", where="users.id > 0", include=("note",))
    assert try_index(users, key) == []
    assert users.execute(text("SELECT count(*) FROM pg_class WHERE relpersistence = 't'")).scalar() == 0


def test_trial_prints_no_value_of_a_row(users, sql):
    """A function that raises an error for a copied row is left to another finding, and its message is not repeated."""
    sql(
        "CREATE FUNCTION app.picky(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no %', value USING ERRCODE = 'undefined_column'; END $$"
    )
    (refused,) = try_index(users, of("app.picky(email)"))
    assert (refused.id, "Secret" in refused.message) == ("index-refused", False)
    assert "app.picky(email) fails with SQLSTATE 42703" in refused.message


def test_trial_uses_the_rights_of_the_owner(users, sql):
    """A build calls functions as the table's owner, so one that the owner may not call is refused."""
    sql(
        "CREATE ROLE dupe_audit_trial_owner; GRANT USAGE, CREATE ON SCHEMA app TO dupe_audit_trial_owner;"
        "REVOKE EXECUTE ON FUNCTION app.helper(text) FROM public;"
        "ALTER TABLE app.users OWNER TO dupe_audit_trial_owner;"
        "ALTER FUNCTION app.in_plpgsql(text) SET search_path = app, pg_temp"
    )
    try:
        (refused,) = try_index(users, of("in_plpgsql(email)"))
        assert refused.message.endswith("in_plpgsql(email): permission denied for function helper (SQLSTATE 42501).")
    finally:
        sql("DROP OWNED BY dupe_audit_trial_owner; DROP ROLE dupe_audit_trial_owner")


def test_trial_that_is_not_possible_says_so(users, sql):
    """If an event trigger refuses the copy, the upgrade continues, with a warning that the index was not tried."""
    sql(
        "CREATE FUNCTION app.no() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no new tables'; END $$;"
        "CREATE EVENT TRIGGER no_tables ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION app.no()"
    )
    assert problems(try_index(users, of("lower(email)")), severity="warning") == [
        (
            "index-not-tried",
            "The index of app.users could not be tried on a temporary copy of the table: SQLSTATE P0001.",
        )
    ]
