"""Another role's preparations in schema dupe_audit are refused before anything in it is read."""

import re
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.exc import ProgrammingError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify
from dupe_audit.watch.look import look
from traps import SPRUNG, TRAPS, trap

KEY = UniqueKey(table="t", columns=("k",), name="uq")
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "findings" / "untrusted-ledger.md"
T = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 8)"

ACTIONS = {
    "runs": lambda conn: ledger.find_runs(conn, "true", reading=True),
    "run": lambda conn: ledger.get_run(conn, 1),
    "purge": lambda conn: ledger.purge(conn, 1),
    "watch": look,
    "verify": lambda conn: verify(conn, KEY),
    "cleanup": lambda conn: list(cleanup(conn, KEY, CleanupRule())),
    "enforce": lambda conn: enforce(conn, KEY, BuildRule()),
    "drop": lambda conn: drop(conn, KEY, BuildRule()),
    "restore": lambda conn: list(restore(conn, 1)),
}


@pytest.fixture
def stranger(sql, member, value):
    """A role that may create schemas in this database, and nothing else."""
    name = f"{member}_stranger"
    sql(f'CREATE ROLE {name}; GRANT CREATE ON DATABASE "{value("SELECT current_database()")}" TO {name}')
    yield name
    sql(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.representatives("view", "trigger", "default", "index")
def test_superuser_springs_no_trap(sql, conn, stranger, value, name):
    """Whatever a stranger has prepared, no action of a superuser executes it, and each says why it refuses."""
    sql(T + ";" + trap(stranger, name))
    for action in ACTIONS.values():
        with pytest.raises(Refused, match="untrusted-ledger"):
            action(conn)
        assert not value(SPRUNG.format(role=stranger))
    findings = [f for f in preflight(conn, KEY).findings if f.id == "untrusted-ledger"]
    assert f"belongs to role {stranger}" in findings[0].message
    assert [(1,), (2,), (3,)] == sql("SELECT id FROM t ORDER BY id")
    assert not value(SPRUNG.format(role=stranger))

    sql(re.findall("ALTER SCHEMA .*;", findings[0].help)[0])
    list(cleanup(conn, KEY, CleanupRule()))
    assert [(1,), (3,)] == sql("SELECT id FROM t ORDER BY id")
    assert not value(SPRUNG.format(role=stranger))


@pytest.mark.parametrize("name", TRAPS)
@pytest.mark.representatives("constant in a view", "rule", "check", "plain tables")
def test_owner_of_the_table_springs_no_trap(sql, connect, member, stranger, value, name):
    """A role that owns the table and is a member of nothing executes no function of a stranger either."""
    sql(T + f";ALTER TABLE t OWNER TO {member};" + trap(stranger, name))
    for action in ACTIONS.values():
        if name == "plain tables" and action in (ACTIONS["runs"], ACTIONS["watch"]):
            continue  # plain tables can be looked at, if their owner lets one
        with pytest.raises(Refused, match="untrusted-ledger"):
            action(connect(role=member))
    assert not value(SPRUNG.format(role=stranger))


@pytest.mark.parametrize("action", ["cleanup", "enforce"])
def test_schema_that_a_stranger_creates_after_the_judgement_is_not_used(sql, conn, stranger, value, action):
    """A stranger who creates the schema between the judgement and our own CREATE SCHEMA stops the step, and no more."""
    sql(T)

    def prepare(_connection, _cursor, statement, *_):
        if statement.startswith("CREATE SCHEMA dupe_audit"):
            sql(trap(stranger, "trigger"))

    event.listen(conn, "before_cursor_execute", prepare)
    with pytest.raises(ProgrammingError, match='schema "dupe_audit" already exists'):
        ACTIONS[action](conn)
    event.remove(conn, "before_cursor_execute", prepare)
    with pytest.raises(Refused, match="untrusted-ledger"):
        ACTIONS[action](conn)
    assert not value(SPRUNG.format(role=stranger))
    assert [(1,), (2,), (3,)] == sql("SELECT id FROM t ORDER BY id")


@pytest.fixture
def owned_by_another_role(sql, conn, member):
    """A ledger with an archived row, made by a role that no longer is what it was and has left a trigger."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule()))
    sql(
        "CREATE FUNCTION left_behind() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'called'; END$$;"
        f"ALTER FUNCTION left_behind() OWNER TO {member};"
        "CREATE TRIGGER x BEFORE INSERT OR UPDATE ON dupe_audit.run FOR EACH ROW EXECUTE FUNCTION left_behind();"
        f"ALTER SCHEMA dupe_audit OWNER TO {member}"
    )
    tables = sql(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'dupe_audit'::regnamespace AND relkind = 'r'"
    )
    for (table,) in tables:
        sql(f"ALTER TABLE {table} OWNER TO {member}")
    yield
    sql(f"DROP OWNED BY {member} CASCADE")


def test_remedy_of_the_page_makes_the_ledger_trusted(sql, conn, owned_by_another_role, dump):
    """The page's statements take over schema and tables and drop triggers, and then the run can be restored."""
    with pytest.raises(Refused, match="untrusted-ledger"):
        list(restore(conn, 1))
    sql("GRANT ALL ON SEQUENCE dupe_audit.run_id_seq TO PUBLIC")
    sql("ALTER SCHEMA dupe_audit OWNER TO postgres")  # as an earlier version advised: not enough
    with pytest.raises(Refused, match=r"table dupe_audit\.run belongs to"):
        list(restore(conn, 1))

    sql(re.findall(r"```sql\n(BEGIN;.*?)```", PAGE.read_text(), flags=re.DOTALL)[0])

    list(restore(conn, 1))
    assert ["(1,7)", "(2,7)", "(3,8)"] == dump("t")


def test_trigger_alone_is_refused(sql, conn, owned_by_another_role):
    """If only the tables' owner is changed, the trigger of the former one would be executed; it is named."""
    sql("ALTER SCHEMA dupe_audit OWNER TO postgres")
    for table in ("run", "batch", "child", "leaf"):
        sql(f"ALTER TABLE dupe_audit.{table} OWNER TO postgres")
    with pytest.raises(Refused, match=r"trigger x on dupe_audit\.run executes a function of role"):
        ledger.find_runs(conn, "true")


#: what a role that is not trusted has left in a ledger, and how the message names it
LEFT = {
    "function": (
        (
            "CREATE FUNCTION left_behind(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1';"
            "ALTER FUNCTION left_behind(int) OWNER TO {role}; ALTER FUNCTION left_behind(int) SET SCHEMA dupe_audit"
        ),
        "function dupe_audit.left_behind belongs to role {role}",
    ),
    "default": (
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f() OWNER TO {role};"
            "ALTER TABLE dupe_audit.batch ALTER spared SET DEFAULT f()"
        ),
        "a default, constraint or index of dupe_audit.batch executes a function of role {role}",
    ),
    "index of a constraint": (
        (
            "CREATE FUNCTION f(bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT 1';"
            "ALTER FUNCTION f(bigint) OWNER TO {role};"
            "ALTER TABLE dupe_audit.batch ADD CONSTRAINT x EXCLUDE USING btree (f(run_id) WITH =)"
        ),
        "a default, constraint or index of dupe_audit.x executes a function of role {role}",
    ),
    "two functions of one check": (
        (
            "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION f(int) OWNER TO {role};"
            "CREATE FUNCTION g(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION g(int) OWNER TO {role};"
            "ALTER TABLE dupe_audit.batch ADD CHECK (f(1) = g(1))"
        ),
        "a default, constraint or index of dupe_audit.batch executes a function of role {role}",
    ),
    "type of a column": (
        "CREATE DOMAIN d AS int; ALTER TABLE dupe_audit.batch ADD COLUMN x d",
        "column x of dupe_audit.batch has type d",
    ),
    "type of information_schema": (
        "ALTER TABLE dupe_audit.batch ADD COLUMN x information_schema.cardinal_number",
        "column x of dupe_audit.batch has type information_schema.cardinal_number",
    ),
    "composite type": ("CREATE TYPE dupe_audit.x AS (a int)", "dupe_audit.x is a relation"),
    "parent": (
        "CREATE TABLE p (); ALTER TABLE dupe_audit.batch INHERIT p",
        "dupe_audit.batch inherits, or is inherited from",
    ),
    "child": ("CREATE TABLE c () INHERITS (dupe_audit.leaf)", "dupe_audit.leaf inherits, or is inherited from"),
    "policy": ("CREATE POLICY x ON dupe_audit.child", "policy x on dupe_audit.child"),
    "rule": ("CREATE RULE x AS ON DELETE TO dupe_audit.run DO INSTEAD NOTHING", "rule x on dupe_audit.run"),
    "grant": ("GRANT UPDATE, TRUNCATE ON dupe_audit.run TO PUBLIC", "every role can write to dupe_audit.run"),
    "owner": ("ALTER TABLE dupe_audit.leaf OWNER TO {role}", "table dupe_audit.leaf belongs to role {role}"),
}


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.representatives("function", "index of a constraint", "two functions*", "type of a*", "composite*", "child")
def test_everything_in_the_ledger_is_judged(sql, conn, stranger, name):
    """Each thing that a role could have left in the ledger is refused, is named once, and is all that is named."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule()))
    left, problem = (text.format(role=stranger) for text in LEFT[name])
    sql(left)
    with pytest.raises(Refused) as refused:
        ledger.find_runs(conn, "true")
    assert f"Schema dupe_audit cannot be trusted: {problem}." == refused.value.findings[0].message


def test_ledger_is_private_whatever_the_default_privileges_are(sql, conn, member, value):
    """Default privileges on schemas, tables and sequences give nobody a right to the ledger or an archive."""
    sql(T + "; CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t); INSERT INTO c VALUES (1, 2)")
    for kind, privilege in (("SCHEMAS", "ALL"), ("TABLES", "ALL"), ("SEQUENCES", "ALL")):
        sql(f"ALTER DEFAULT PRIVILEGES GRANT {privilege} ON {kind} TO PUBLIC, {member}")
    list(cleanup(conn, KEY, CleanupRule(references="repoint")))
    assert [] == sql(
        "SELECT nspname FROM pg_namespace, aclexplode(nspacl) g WHERE nspname = 'dupe_audit' AND grantee <> nspowner"
    )
    assert [] == sql(
        "SELECT c.oid::regclass FROM pg_class c, aclexplode(relacl) g "
        "WHERE relnamespace = 'dupe_audit'::regnamespace AND grantee <> relowner"
    )
    assert 4 < value("SELECT count(*) FROM pg_class WHERE relnamespace = 'dupe_audit'::regnamespace AND relkind = 'r'")
    for kind in ("SCHEMAS", "TABLES", "SEQUENCES"):
        sql(f"ALTER DEFAULT PRIVILEGES REVOKE ALL ON {kind} FROM PUBLIC, {member}")


def test_schema_in_which_every_role_can_create_is_refused(sql, conn):
    """A schema that default privileges opened in an earlier version is refused until it is closed."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule()))
    sql("GRANT CREATE ON SCHEMA dupe_audit TO PUBLIC")
    with pytest.raises(Refused, match="every role can create objects in the schema"):
        list(restore(conn, 1))
    sql("REVOKE ALL ON SCHEMA dupe_audit FROM PUBLIC")
    list(restore(conn, 1))


@pytest.mark.parametrize(
    "prepared",
    [
        "CREATE TABLE dupe_audit.archive_2 (LIKE dupe_audit.archive_1 INCLUDING ALL)",
        "CREATE VIEW dupe_audit.archive_2 AS SELECT 1",
        "CREATE TABLE dupe_audit.stage_2 (n int)",
        "CREATE TABLE dupe_audit.children_2_1 (n int)",
    ],
)
@pytest.mark.representatives("CREATE VIEW*", "CREATE TABLE dupe_audit.children*")
def test_table_that_exists_before_its_run_is_refused(sql, conn, dump, prepared):
    """An archive, a staged list or a record that is older than its run is not used, and no row moves."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule()))
    list(restore(conn, 1))
    sql(prepared)
    with pytest.raises(Refused, match="untrusted-ledger"):
        list(cleanup(conn, KEY, CleanupRule()))
    assert ["(1,7)", "(2,7)", "(3,8)"] == dump("t")
    assert [(1,)] == sql("SELECT id FROM dupe_audit.run")


def test_archive_replaced_by_another_role_is_refused(sql, conn, member, dump, value):
    """An archive that belongs to a stranger is read neither by the cleanup that continues, nor by a restore."""
    sql(T)
    batches = cleanup(conn, KEY, CleanupRule())
    next(batches)
    batches.close()
    sql(f"ALTER TABLE dupe_audit.archive_1 OWNER TO {member}")
    relid = value("SELECT 't'::regclass::oid")
    for action in (
        lambda: list(restore(conn, 1)),
        lambda: list(restore(conn, 1, relid=relid)),
        lambda: list(cleanup(conn, KEY, CleanupRule())),
    ):
        with pytest.raises(Refused, match=r"table dupe_audit\.archive_1 belongs to role"):
            action()
    sql("ALTER TABLE dupe_audit.archive_1 OWNER TO postgres")
    list(restore(conn, 1))
    assert ["(1,7)", "(2,7)", "(3,8)"] == dump("t")


def test_tables_of_several_owners_in_a_superusers_schema(sql, conn, member, dump):
    """In a schema that belongs to a superuser, a superuser cleans tables of several owners, and restores them."""
    sql("CREATE SCHEMA dupe_audit; " + T)
    sql("CREATE TABLE u (id int PRIMARY KEY, k int); INSERT INTO u SELECT * FROM t")
    sql(f"ALTER TABLE t OWNER TO {member}")
    for table in ("t", "u"):
        list(cleanup(conn, UniqueKey(table=table, columns=("k",)), CleanupRule()))
    assert [(member,)] == sql("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'archive_1'")
    for run in (1, 2):
        list(restore(conn, run))
    assert ["(1,7)", "(2,7)", "(3,8)"] == dump("t") == dump("u")
    sql(f"DROP OWNED BY {member}")
