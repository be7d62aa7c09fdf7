"""Amended extras and merged values as scripts of ``--sql``, which psql executes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from alembic_project import Project
from conftest import Sql
from launch import Launcher
from waiting import wait_for

STAMPED = """
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0001');
"""
VERSION = "SELECT version_num FROM alembic_version"
RUN = "SELECT state, archived, amended, merged, restored, reverted FROM dupe_audit.run ORDER BY id DESC LIMIT 1"


class Policy(NamedTuple):
    """What a revision does with the duplicates of a table."""

    table: str
    rows: str
    up: str
    down: str
    query: str  #: reads what is left
    left: list[tuple[Any, ...]]
    counted: tuple[int, int, int]  #: archived, amended, merged

    @property
    def everything(self) -> str:
        """Return the query for every row of the table, as text."""
        return f"SELECT t::text FROM {self.table} t ORDER BY 1"


SOFT_DELETE = Policy(
    "users",
    """CREATE TABLE users (id int PRIMARY KEY, email text, last_login timestamptz, deleted_at timestamptz);
    INSERT INTO users VALUES
        (1, 'Ann@x', '2024-01-01', NULL), (2, 'ann@X', '2026-01-01', NULL), (3, 'ANN@x', NULL, NULL),
        (4, 'ann@x', '2026-09-09', '2026-09-10'), (5, NULL, NULL, NULL), (6, 'bob@x', NULL, NULL)""",
    """
op.amend_duplicates("users", [sa.text("lower(email)")], set_={"deleted_at": sa.text("now()")},
                    where="deleted_at IS NULL", order_by=[sa.text("last_login DESC NULLS LAST"), "id"])
op.create_unique_index_online("ux_users_email", "users", [sa.text("lower(email)")], where="deleted_at IS NULL")
""",
    """
op.drop_unique_index_online("ux_users_email", "users")
op.restore_duplicates("users", [sa.text("lower(email)")], where="deleted_at IS NULL")
""",
    "SELECT id, email, deleted_at IS NOT NULL FROM users ORDER BY id",
    [(1, "Ann@x", True), (2, "ann@X", False), (3, "ANN@x", True), (4, "ann@x", True), (5, None, False),
     (6, "bob@x", False)],
    (0, 2, 0),
)  # fmt: skip
RENAME = Policy(
    "account",
    """CREATE TABLE account (id int PRIMARY KEY, name varchar(8) NOT NULL);
    INSERT INTO account VALUES (1, 'ann'), (2, 'ann'), (3, 'ann'), (4, 'ann-2'), (5, 'bob')""",
    """
op.amend_duplicates("account", ["name"], {"name": sa.text("name || '-' || duplicate.number")})
op.create_unique_constraint_online("account_name", "account", ["name"])
""",
    """
op.drop_unique_constraint_online("account_name", "account")
op.restore_duplicates("account", ["name"])
""",
    "SELECT id, name FROM account ORDER BY id",
    [(1, "ann"), (2, "ann-2-2"), (3, "ann-3"), (4, "ann-2"), (5, "bob")],
    (0, 3, 0),
)
MIXED = Policy(
    "city",
    """CREATE TABLE city (id int PRIMARY KEY, name text, people int);
    INSERT INTO city VALUES (1, 'Rome', 3), (2, 'Rome', 3), (3, 'Rome', 4), (4, 'Oslo', 1)""",
    """
op.archive_duplicates("city", ["name"], divergent="amend", set_={"name": sa.text("name || ' #' || city.id")})
op.create_unique_constraint_online("city_name", "city", ["name"])
""",
    """
op.drop_unique_constraint_online("city_name", "city")
op.restore_duplicates("city", ["name"])
""",
    "SELECT * FROM city ORDER BY id",
    [(1, "Rome", 3), (3, "Rome #3", 4), (4, "Oslo", 1)],
    (1, 1, 0),
)
MERGE = Policy(
    "hit",
    """CREATE TABLE hit (id int PRIMARY KEY, page text, hits int CHECK (hits < 50), title text, tags jsonb);
    INSERT INTO hit VALUES (1, '/', 3, NULL, '{"a": 1}'), (2, '/', 4, 'Home', '{"a": 2, "b": 3}'),
                           (3, '/', NULL, 'Start', NULL), (4, '/b', 1, NULL, NULL)""",
    """
op.archive_duplicates("hit", ["page"], merge={"hits": "sum", "title": "coalesce", "tags": "jsonb_merge"})
op.create_unique_constraint_online("hit_page", "hit", ["page"])
""",
    """
op.drop_unique_constraint_online("hit_page", "hit")
op.restore_duplicates("hit", ["page"])
""",
    "SELECT * FROM hit ORDER BY id",
    [(1, "/", 7, "Home", {"a": 1, "b": 3}), (4, "/b", 1, None, None)],
    (2, 0, 1),
)
AGGREGATE = Policy(
    "owner",
    """CREATE TABLE owner (id int PRIMARY KEY, name text, notes text);
    INSERT INTO owner VALUES (1, 'ann', 'x'), (2, 'ann', 'y'), (3, 'ann', NULL), (4, 'bob', NULL);
    CREATE TABLE pet (id int PRIMARY KEY, owner_id int NOT NULL REFERENCES owner);
    CREATE INDEX ON pet (owner_id);
    INSERT INTO pet VALUES (10, 1), (11, 2), (12, 3), (13, 4)""",
    """
op.archive_duplicates("owner", ["name"], references="repoint", batch_size=1,
                      merge={"notes": sa.text("string_agg(notes, '; ' ORDER BY id)")})
op.create_unique_constraint_online("owner_name", "owner", ["name"])
""",
    """
op.drop_unique_constraint_online("owner_name", "owner")
op.restore_duplicates("owner", ["name"])
""",
    """SELECT o.id, name, notes, array_agg(p.id ORDER BY p.id) FROM owner o JOIN pet p ON p.owner_id = o.id
    GROUP BY o.id ORDER BY o.id""",
    [(1, "ann", "x; y", [10, 11, 12]), (4, "bob", None, [13])],
    (2, 0, 1),
)
TREE = Policy(
    "node",
    """CREATE TABLE node (id int PRIMARY KEY, name text, size int, parent int REFERENCES node ON DELETE CASCADE);
    INSERT INTO node VALUES (1, 'a', 1, NULL), (2, 'a', 1, NULL), (3, 'a', 2, 1), (4, 'b', 1, 3)""",
    """
op.archive_duplicates("node", ["name"], divergent="amend", set_={"name": sa.text("name || id")})
op.create_unique_constraint_online("node_name", "node", ["name"])
""",
    """
op.drop_unique_constraint_online("node_name", "node")
op.restore_duplicates("node", ["name"])
""",
    "SELECT * FROM node ORDER BY id",
    [(1, "a", 1, None), (3, "a3", 2, 1), (4, "b", 1, 3)],
    (1, 1, 0),
)
POLICIES = {
    "soft delete": SOFT_DELETE,
    "rename": RENAME,
    "mixed": MIXED,
    "tree": TREE,
    "merge": MERGE,
    "aggregate": AGGREGATE,
}


@pytest.fixture
def project(tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql) -> Project:
    """A project whose database is stamped with its first revision."""
    sql(STAMPED)
    return Project(tmp_path, database_url, launcher)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.representatives("merge")
def test_script_goes_up_down_and_up(project, psql, sql, policy):
    """Both scripts leave what the online way leaves, in the table and in the ledger, and every row again."""
    sql(policy.rows)
    project.revision("0002", "0001", policy.up, policy.down)
    before = sql(policy.everything)
    up, down = project.script("upgrade", "0001:0002"), project.script("downgrade", "0002:0001")
    archived, amended, merged = policy.counted
    for _ in range(2):
        done = psql(up)
        assert (0, [("0002",)], policy.left) == (done.returncode, sql(VERSION), sql(policy.query)), done.stderr
        assert [("enforced", archived, amended, merged, 0, 0)] == sql(RUN)
        done = psql(down)
        assert (0, [("0001",)], before) == (done.returncode, sql(VERSION), sql(policy.everything)), done.stderr
        assert [("restored", archived, amended, merged, archived, amended + merged)] == sql(RUN)
    code, output = project.run("verify", program="dupe_audit.cli")
    assert code == 0, output


@pytest.mark.parametrize("policy", [RENAME, AGGREGATE], ids=["rename", "aggregate"])
@pytest.mark.representatives("rename")
def test_script_and_upgrade_continue_each_other(project, psql, sql, policy):
    """What the script has changed, the online downgrade changes back, and the reverse."""
    sql(policy.rows)
    project.revision("0002", "0001", policy.up, policy.down)
    before = sql(policy.everything)
    assert [0, 0] == [psql(project.script("upgrade", "0001:0002")).returncode for _ in range(2)]
    code, output = project.run("downgrade", "0001")
    assert (0, before) == (code, sql(policy.everything)), output
    code, output = project.run("upgrade", "0002")
    assert (0, policy.left) == (code, sql(policy.query)), output
    done = psql(project.script("downgrade", "0002:0001"))
    assert (0, before) == (done.returncode, sql(policy.everything)), done.stderr


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM counter WHERE id = 1", "UPDATE counter SET name = 'x' WHERE id = 1"],
    ids=["goes", "leaves its group"],
)
@pytest.mark.thorough
def test_survivor_that_changes_while_a_script_tries_a_merge(project, psql, sql, psycopg_connect, change):
    """What the application changes between two statements of a script's trial is no reason to refuse the merge."""
    sql("CREATE TABLE counter (id int PRIMARY KEY, name text, hits int)")
    sql("INSERT INTO counter VALUES (1, 'a', 1), (2, 'a', 2), (3, 'a', 4)")
    up = """
op.archive_duplicates("counter", ["name"], merge={"hits": "sum"})
op.create_unique_constraint_online("counter_name", "counter", ["name"])
"""
    project.revision("0002", "0001", up, 'raise NotImplementedError("not under test")')
    script = project.script("upgrade", "0001:0002")
    # The statement that compares what was tried waits until the application has changed the table.
    compared = script.index("INTO v_row;", script.index("AS $trial$"))
    place = script.rindex("EXECUTE pg_temp.dupe_audit_fill(", 0, compared)
    script = f"{script[:place]}PERFORM pg_catalog.pg_advisory_xact_lock(77); {script[place:]}"
    application = psycopg_connect(autocommit=True)
    application.execute("SELECT pg_advisory_lock(77)")
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(psql, script)
        waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted"
        wait_for(lambda: done.done() or sql(waits))
        assert not done.done(), done.result().stderr
        application.execute(change.encode())
        application.execute("SELECT pg_advisory_unlock(77)")
    assert (0, [("0002",)]) == (done.result().returncode, sql(VERSION)), done.result().stderr
    assert [("a", 6)] == sql("SELECT name, hits FROM counter WHERE id > 1")


TOO_LONG = (
    "rows of public.account cannot be changed as set_ or merge says: 2 extras: the value is too long for the column"
)
INCOMPLETE = "extras of public.account would still have the key of another row (extras: 2)"
VALUE, SUM = "name || '-' || duplicate.number", '"hits": "sum"'
#: a policy, what is replaced in it, and the problem
REFUSED = {
    "too long": (RENAME, VALUE, "name || 'a long text'", f"change-fails: {TOO_LONG}; nothing was archived"),
    "check": (
        MERGE,
        SUM,
        '"hits": sa.text("sum(hits) + 50")',
        "1 group: constraint hit_hits_check forbids the new row",
    ),
    "not null": (RENAME, VALUE, "NULL", "2 extras: column name must not be NULL"),
    "incomplete": (RENAME, VALUE, "survivor.name", f"amendment-incomplete: after amendment, {INCOMPLETE}"),
    "no end": (RENAME, VALUE, "CASE name WHEN 'ann' THEN 'ann-2' ELSE 'ann' END", INCOMPLETE),
    "several values": (RENAME, VALUE, "regexp_split_to_table(name, '')", "set-returning functions are not allowed"),
    "unknown column": (RENAME, VALUE, "missing", 'set_, column name: column "missing" does not exist'),
    "unknown function": (
        MERGE,
        SUM,
        '"hits": sa.text("no_such(hits)")',
        "expression-invalid: merge, column hits: function no_such",
    ),
    "primary key": (RENAME, '{"name"', '{"id": 100, "name"', "column-not-changeable: id is in the primary key"),
    "merged key": (MERGE, '{"hits"', '{"page": "max", "hits"', "column-not-changeable: page is in the key"),
    "no such column": (RENAME, '{"name"', '{"title": 1, "name"', "column-missing: title"),
}
#: what only the trial of a pass can tell
TRIED = {"too long", "check", "not null", "incomplete", "no end"}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.representatives("check", "several values", "unknown column", "merged key")
def test_script_refuses_before_it_changes_a_row(project, psql, sql, case):
    """A change that the online way would refuse stops the script before any row moves, with the finding's id."""
    policy, old, new, problem = REFUSED[case]
    assert policy.up.count(old) == 1
    sql(policy.rows)
    before = sql(policy.everything)
    project.revision("0002", "0001", policy.up.replace(old, new))
    done = psql(project.script("upgrade", "0001:0002"))
    assert (3, True) == (done.returncode, problem in done.stderr), done.stderr
    assert (before, [("0001",)]) == (sql(policy.everything), sql(VERSION))


#: what a copy of the table lacks: the statement that adds it, and the problem
LACKING = {
    "unique index": (
        "ALTER TABLE account ADD code int; UPDATE account SET code = id; CREATE UNIQUE INDEX other ON account (code)",
        "the new row violates unique index other (rows: 2)",
    ),
    "foreign key": (
        """CREATE TABLE names AS SELECT DISTINCT name FROM account; ALTER TABLE names ADD PRIMARY KEY (name);
        ALTER TABLE account ADD CONSTRAINT named FOREIGN KEY (name) REFERENCES names""",
        "the new row violates foreign key named (rows: 2)",
    ),
    "check": ("ALTER TABLE account ADD CHECK (id <> 2) NOT VALID", "cannot-restore: extras of public.account"),
}


@pytest.mark.parametrize("case", LACKING)
@pytest.mark.representatives("foreign key")
def test_script_tries_what_a_copy_of_the_table_lacks(project, psql, sql, case):
    """Foreign keys, other unique indexes and unvalidated checks stop the script before it changes a row."""
    addition, problem = LACKING[case]
    sql(RENAME.rows)
    sql(addition)
    before = sql(RENAME.everything)
    code = ', "code": 5}' if case == "unique index" else "}"
    project.revision("0002", "0001", RENAME.up.replace("}", code))
    done = psql(project.script("upgrade", "0001:0002"))
    assert (3, True) == (done.returncode, problem in done.stderr), done.stderr
    assert (before, [("0001",)]) == (sql(RENAME.everything), sql(VERSION))


@pytest.mark.parametrize("case", sorted(REFUSED.keys() - TRIED))
@pytest.mark.representatives("merged key", "unknown column")
def test_script_judges_later_changes_before_the_first_directive_acts(project, psql, sql, case):
    """What the catalog says against the change of a later directive stops the script before anything is committed."""
    policy, old, new, problem = REFUSED[case]
    sql(policy.rows)
    sql(MIXED.rows)
    project.revision("0002", "0001", MIXED.up + policy.up.replace(old, new))
    before = sql(policy.everything), sql(MIXED.everything)
    done = psql(project.script("upgrade", "0001:0002"))
    assert (3, True) == (done.returncode, problem in done.stderr), done.stderr
    assert "; no directive has changed anything" in done.stderr
    assert (before, [("0001",)]) == ((sql(policy.everything), sql(MIXED.everything)), sql(VERSION))
    assert [(None,)] == sql("SELECT to_regnamespace('dupe_audit')")


TRIGGER = """
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN coalesce(NEW, OLD); END$$;
CREATE TRIGGER noted BEFORE {event} ON {table} FOR EACH ROW EXECUTE FUNCTION note()
"""


@pytest.mark.parametrize(
    ("policy", "event", "finding"),
    [(RENAME, "UPDATE", "update-trigger"), (MERGE, "UPDATE", "update-trigger"), (MIXED, "DELETE", "delete-trigger"),
     (RENAME, "DELETE", None)],
    ids=["amended", "merged", "archived", "not deleted"],
)  # fmt: skip
@pytest.mark.representatives("amended")
def test_script_judges_the_triggers_that_its_statements_fire(project, psql, sql, policy, event, finding):
    """A trigger stops the script if the rule's statements fire it, unless it is accepted when the script is printed."""
    sql(policy.rows)
    sql(TRIGGER.format(event=event, table=policy.table))
    project.revision("0002", "0001", policy.up, policy.down)
    if finding:
        done = psql(project.script("upgrade", "0001:0002"))
        assert (3, True) == (done.returncode, f"{finding}: noted" in done.stderr), done.stderr
    accept = ("-x", f"dupe_audit.accept={finding}") if finding else ()
    done = psql(project.script(*accept, "upgrade", "0001:0002"))
    assert (0, policy.left) == (done.returncode, sql(policy.query)), done.stderr


def test_script_without_changes_needs_no_trigger_of_updates_accepted(project, psql, sql):
    """A plain cleanup updates no row, so a trigger that only updates fire does not stop its script."""
    sql(MIXED.rows)
    sql("DELETE FROM city WHERE id = 3")
    sql(TRIGGER.format(event="UPDATE", table="city"))
    plain = 'op.archive_duplicates("city", ["name"])\nop.create_unique_constraint_online("city_name", "city", ["name"])'
    project.revision("0002", "0001", plain, MIXED.down)
    up, down = project.script("upgrade", "0001:0002"), project.script("downgrade", "0002:0001")
    parts = ("amend", "merge", "try_changes", "trial", "revert", "kind <>")
    for part in (*(f"dupe_audit_{part}" for part in parts), "image_fragments", "change_fragments"):
        assert part not in up + down
    done = psql(up)
    assert (0, [(1,), (4,)]) == (done.returncode, sql("SELECT id FROM city ORDER BY id")), done.stderr
    done = psql(down)
    assert (0, [(1,), (2,), (4,)]) == (done.returncode, sql("SELECT id FROM city ORDER BY id")), done.stderr


def test_script_without_parts_for_changes_does_not_undo_a_run_that_has_them(project, psql, sql):
    """If upgrade() no longer amends, the downgrade's script refuses a run that did, and changes nothing."""
    sql(MIXED.rows)
    project.revision("0002", "0001", MIXED.up, MIXED.down)
    assert 0 == psql(project.script("upgrade", "0001:0002")).returncode
    plain = MIXED.up.replace(
        'divergent="amend", set_={"name": sa.text("name || \' #\' || city.id")}', 'divergent="archive"'
    )
    project.revision("0002", "0001", plain, MIXED.down)
    done = psql(project.script("downgrade", "0002:0001"))
    assert (3, True) == (done.returncode, "neither set_ nor merge" in done.stderr), done.stderr
    assert (MIXED.left, [("0002",)]) == (sql(MIXED.query), sql(VERSION))
    code, output = project.run("downgrade", "0001")
    assert (0, [(4,)]) == (code, sql("SELECT count(*) FROM city")), output


@pytest.mark.thorough
def test_script_reports_a_row_that_was_changed_since_and_keeps_it(project, psql, sql):
    """The downgrade's script changes back what is as the run left it, says why other rows stay, and does not stamp."""
    sql(RENAME.rows)
    project.revision("0002", "0001", RENAME.up, RENAME.down)
    assert 0 == psql(project.script("upgrade", "0001:0002")).returncode
    sql("UPDATE account SET name = 'eve' WHERE id = 3")
    script = project.script("downgrade", "0002:0001")
    done = psql(script)
    assert (3, True) == (
        done.returncode,
        "rows-not-restored: rows stay in dupe_audit.archive_1 (rows: 1)" in done.stderr,
    )
    assert [(1, "ann"), (2, "ann"), (3, "eve"), (4, "ann-2"), (5, "bob")] == sql(RENAME.query)
    problems = "SELECT id, dupe_audit_problem FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL"
    assert ([(3, "the row was changed since")], [("0002",)]) == (sql(problems), sql(VERSION))
    sql("UPDATE account SET name = 'ann-3' WHERE id = 3")
    done = psql(script)
    assert (0, [("0001",)]) == (done.returncode, sql(VERSION)), done.stderr
    assert [(1, "ann"), (2, "ann"), (3, "ann"), (4, "ann-2"), (5, "bob")] == sql(RENAME.query)


@pytest.mark.thorough
@pytest.mark.parametrize("policy", [SOFT_DELETE, RENAME, MERGE], ids=["soft delete", "rename", "merge"])
def test_script_continues_after_a_kill_in_the_middle(project, psql, sql, policy):
    """A script whose session dies between two batches, on the way up or down, is executed again and completes."""
    sql(policy.rows)
    up = policy.up.replace("order_by=", "batch_size=1, order_by=").replace("merge=", "batch_size=1, merge=")
    up = up.replace('["name"], {', '["name"], batch_size=1, set_={')
    project.revision("0002", "0001", up, policy.down)
    before = sql(policy.everything)
    up, down = project.script("upgrade", "0001:0002"), project.script("downgrade", "0002:0001")
    # The batch commits, and the session ends in the middle of the next one.
    die = (
        "IF (SELECT count(*) = 1 FROM dupe_audit.batch WHERE {0} > 0) THEN "
        "PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
    )
    place = "    EXECUTE pg_temp.dupe_audit_fill($statement$INSERT INTO pg_temp.dupe_audit_locked ("
    assert up.count(place) == 1
    done = psql(up.replace(place, f"    {die.format('archived + amended')}\n{place}"))
    assert (2, [(1,)]) == (done.returncode, sql("SELECT archived + amended FROM dupe_audit.run")), done.stderr
    done = psql(up)
    assert (0, policy.left, [("0002",)]) == (done.returncode, sql(policy.query), sql(VERSION)), done.stderr
    place = "    -- The text of a large row can exceed"
    assert down.count(place) == 1
    done = psql(down.replace(place, f"    {die.format('restored + reverted')}\n{place}"))
    assert (2, [(1,)]) == (done.returncode, sql("SELECT greatest(restored, reverted) FROM dupe_audit.run")), done.stderr
    done = psql(down)
    assert (0, before, [("0001",)]) == (done.returncode, sql(policy.everything), sql(VERSION)), done.stderr
    assert 1 == sql("SELECT count(*) FROM dupe_audit.run")[0][0]


@pytest.mark.thorough
def test_script_of_several_policies_has_the_parts_of_each(project, psql, sql):
    """Cleanups by different rules in one revision each do what their own rule says."""
    policies = (RENAME, MERGE, MIXED, SOFT_DELETE)
    for policy in policies:
        sql(policy.rows)
    before = [sql(policy.everything) for policy in policies]
    down = "\n".join(policy.down for policy in reversed(policies))
    project.revision("0002", "0001", "\n".join(policy.up for policy in policies), down)
    done = psql(project.script("upgrade", "0001:0002"))
    assert (0, [policy.left for policy in policies]) == (done.returncode, [sql(policy.query) for policy in policies]), (
        done.stderr
    )
    done = psql(project.script("downgrade", "0002:0001"))
    assert (0, before) == (done.returncode, [sql(policy.everything) for policy in policies]), done.stderr


def test_script_amends_a_duplicate_that_arrives_before_the_build(project, psql, sql):
    """A build that meets a duplicate is repeated after another cleanup by the same rule."""
    sql(RENAME.rows)
    project.revision("0002", "0001", RENAME.up, RENAME.down)
    script, first = project.script("upgrade", "0001:0002"), "-- build 1 of 5"
    assert 1 == script.count(first)
    done = psql(script.replace(first, f"INSERT INTO account VALUES (9, 'bob');\n{first}"))
    assert (0, [*RENAME.left, (9, "bob-2")]) == (done.returncode, sql(RENAME.query)), done.stderr


def test_script_gives_up_on_values_that_keep_colliding(project, psql, sql):
    """New values that collide again and again stop the script after a bounded number of passes, with what to do."""
    sql(RENAME.rows)
    up = RENAME.up.replace(
        "name || '-' || duplicate.number", "(SELECT CASE name WHEN 'ann' THEN 'ann-2' ELSE 'ann' END)"
    )
    project.revision("0002", "0001", up, RENAME.down)
    before = sql(RENAME.everything)
    done = psql(project.script("upgrade", "0001:0002"))
    problem = "after 21 passes over public.account, amended rows still have the key of another row"
    assert (3, True, [("0001",)]) == (done.returncode, problem in done.stderr, sql(VERSION)), done.stderr
    code, output = project.run("restore", "1", "--yes", program="dupe_audit.cli")
    assert (0, before) == (code, sql(RENAME.everything)), output


@pytest.mark.representatives("bob")
@pytest.mark.parametrize("third", ["bob", "ann+"])
def test_script_ends_although_every_pass_meets_a_new_duplicate(project, psql, sql, third):
    """A writer that adds a duplicate during every pass does not keep the script from ending, whatever collides."""
    sql(f"""CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
        INSERT INTO t (name) VALUES ('ann'), ('ann'), ('{third}');
        CREATE FUNCTION write() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN INSERT INTO t (name) VALUES ('ann'); RETURN NULL; END$$;
        CREATE TRIGGER writer AFTER UPDATE ON t FOR EACH ROW WHEN (old.name = 'ann') EXECUTE FUNCTION write()""")
    up = """op.amend_duplicates("t", ["name"], {"name": sa.text("name || (SELECT '+')")})"""
    project.revision("0002", "0001", up, 'op.restore_duplicates("t", ["name"])')
    done = psql(project.script("-x", "dupe_audit.accept=update-trigger", "upgrade", "0001:0002"))
    assert (0, 2) == (done.returncode, done.stderr.count("left for the next pass: 0")), done.stderr
    done = psql(project.script("downgrade", "0002:0001"))
    assert (0, [(third,)]) == (done.returncode, sql("SELECT name FROM t WHERE name <> 'ann'")), done.stderr


@pytest.mark.parametrize("change", ["live = false, n = 0", "name = 'zoe', n = 0"], ids=["survivor", "extra"])
@pytest.mark.parametrize(
    "rule",
    [
        'archive_duplicates({}, ignore=["name"])',
        'archive_duplicates({}, ignore=["name"], merge={{"n": "sum"}})',
        'amend_duplicates({}, set_={{"name": sa.text("name || 1 / least(n, survivor.n)")}})',
    ],
    ids=["divergent", "merged", "amended"],
)
@pytest.mark.thorough
def test_script_ignores_a_pair_that_the_application_separates(project, psql, sql, rule, change):
    """Rows that are no longer duplicates when a script judges the ranked pairs are no reason to stop it."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, live bool DEFAULT true, n int DEFAULT 1);
        INSERT INTO t VALUES (1, 'Ann'), (2, 'ann'), (3, 'bob'), (4, 'Bob')""")
    key = '"t", [sa.text("lower(name)")], where="live"'
    project.revision("0002", "0001", f"op.{rule.format(key)}", f"op.restore_duplicates({key})")
    judgement = "PERFORM pg_temp.dupe_audit_restorable(v_run, v_holes, v_holes ->> 'stage')"
    script, number = project.script("upgrade", "0001:0002"), 1 if "live" in change else 2
    assert script.count(judgement) == 1
    done = psql(script.replace(judgement, f"UPDATE t SET {change} WHERE id = {number} AND n > 0;\n{judgement}"))
    assert done.returncode == 0, done.stderr
    assert sql("SELECT count(*) FROM t WHERE id < 3 AND lower(name) IN ('ann', 'zoe')") == [(2,)]
    assert sql("SELECT count(*) - count(DISTINCT lower(name)) FROM t WHERE live") == [(0,)]


@pytest.mark.thorough
def test_scripts_undo_two_runs_of_a_row_that_a_trigger_stamps(project, psql, sql):
    """What a trigger writes when a later run is undone does not keep an earlier run from changing the row back."""
    sql("""CREATE TABLE t (id int PRIMARY KEY, name text, k int, at int);
        INSERT INTO t VALUES (1, 'a', 7, 0), (2, 'a', 7, 0), (3, 'b', 7, 0);
        CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
            $$BEGIN new.at = coalesce(old.at, 0) + 1; RETURN new; END$$;
        CREATE TRIGGER stamp BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION stamp()""")
    before = sql("SELECT id, name, k FROM t ORDER BY 1")
    revisions = {"0002": ("name", "name || id"), "0003": ("k", "k + id")}
    for number, (column, value) in revisions.items():
        up = f'op.amend_duplicates("t", ["{column}"], {{"{column}": sa.text("{value}")}})'
        project.revision(number, f"{int(number) - 1:04}", up, f'op.restore_duplicates("t", ["{column}"])')
    accepted = ("-x", "dupe_audit.accept=update-trigger")
    code, output = project.run(*accepted, "upgrade", "head")
    assert code == 0, output
    psql(project.script("downgrade", "0003:0001"))
    assert sql(VERSION) == [("0001",)]
    assert sql("SELECT id, name, k FROM t ORDER BY 1") == before
