"""Keys over expressions and parts of a table as scripts of ``--sql``, which psql executes."""

import re
from pathlib import Path

import pytest

from alembic_project import Project
from conftest import Sql
from launch import Launcher

ROWS = """
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0001');
CREATE TABLE users (id int PRIMARY KEY, email text, last_login timestamptz, deleted_at timestamptz);
INSERT INTO users VALUES
    (1, 'Ann@x', '2024-01-01', NULL), (2, 'ann@X', '2026-01-01', NULL), (3, 'ANN@x', NULL, NULL),
    (4, 'ann@x', '2026-09-09', '2026-09-10'), (5, 'ann@x', NULL, '2026-09-10'),
    (6, NULL, NULL, NULL), (7, NULL, NULL, NULL), (8, 'bob@x', NULL, NULL)
"""
KEY = """[sa.text("lower(email)")], where="deleted_at IS NULL\""""
ARCHIVE = f"""op.archive_duplicates("users", {KEY}, divergent="archive",
                      order_by=[sa.text("last_login DESC NULLS LAST"), "id"])"""
CREATE = f"""op.create_unique_index_online("ux_users_email", "users", {KEY}, comment="it's 100 % :unique")"""
DROP = """op.drop_unique_index_online("ux_users_email", "users")"""
RESTORE = f"""op.restore_duplicates("users", {KEY})"""
UP, DOWN = f"{ARCHIVE}\n{CREATE}", f"{DROP}\n{RESTORE}"

ALL = "SELECT u::text FROM users u ORDER BY id"
VERSION = "SELECT version_num FROM alembic_version"
INDEX = "SELECT pg_get_indexdef(i), obj_description(i) FROM to_regclass('ux_users_email') AS i"
DEFINITION = "CREATE UNIQUE INDEX ux_users_email ON public.users USING btree (lower(email)) WHERE (deleted_at IS NULL)"
COMMENT = "it's 100 % :unique"


@pytest.fixture
def users(tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql) -> Project:
    """A project whose second revision makes the addresses of users unique, whatever their case, among the living."""
    sql(ROWS)
    project = Project(tmp_path, database_url, launcher)
    project.revision("0002", "0001", UP, DOWN)
    return project


def test_script_of_an_expression_and_a_predicate_goes_up_down_and_up(users, psql, sql):
    """Both scripts leave what the online way leaves: the ranked survivor, the index, and every row again."""
    before = sql(ALL)
    up, down = users.script("upgrade", "0001:0002"), users.script("downgrade", "0002:0001")
    for number in (1, 2):
        done = psql(up)
        assert (0, [("0002",)]) == (done.returncode, sql(VERSION)), done.stderr
        assert [(2,), (4,), (5,), (6,), (7,), (8,)] == sql("SELECT id FROM users ORDER BY id")
        assert [(DEFINITION, COMMENT)] == sql(INDEX)
        done = psql(down)
        assert (0, [("0001",)]) == (done.returncode, sql(VERSION)), done.stderr
        assert (before, [(None, None)]) == (sql(ALL), sql(INDEX))
        recorded = "key_columns, key_expressions, predicate, order_by, order_expressions, directions"
        runs = sql(f"SELECT state, {recorded}, archived, restored FROM dupe_audit.run")
        key = (["lower(email)"], ["lower(email)"], "deleted_at IS NULL")
        order = (["last_login", "id"], ["last_login"], ["DESC NULLS LAST", ""])
        assert [("restored", *key, *order, 2, 2)] * number == runs


@pytest.mark.thorough
def test_script_and_upgrade_continue_each_other(users, psql, sql):
    """What the script has done, the online downgrade undoes, and the reverse; neither takes the index for adopted."""
    before = sql(ALL)
    up, down = users.script("upgrade", "0001:0002"), users.script("downgrade", "0002:0001")
    assert [0, 0] == [psql(up).returncode for _ in range(2)]
    code, output = users.run("downgrade", "0001")
    assert (0, before, [(None, None)]) == (code, sql(ALL), sql(INDEX)), output
    code, output = users.run("upgrade", "0002")
    assert (0, [(DEFINITION, COMMENT)]) == (code, sql(INDEX)), output
    done = psql(down)
    assert (0, before, [(None, None)]) == (done.returncode, sql(ALL), sql(INDEX)), done.stderr


@pytest.mark.parametrize("way", ["script", "upgrade"])
@pytest.mark.thorough
def test_way_back_after_a_function_was_renamed(users, psql, sql, way):
    """A revision with the new name of a function finds the run by its index, even after that was dropped."""
    sql("CREATE FUNCTION folded(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN lower($1); END'")
    users.revision("0002", "0001", UP.replace("lower(", "folded("), DOWN.replace("lower(", "folded("))
    before = sql(ALL)

    def migrate(command: str, script: str, target: str) -> None:
        if way == "script":
            done = psql(users.script(command, script))
            assert 0 == done.returncode, done.stderr
        else:
            code, output = users.run(command, target)
            assert 0 == code, output

    migrate("upgrade", "0001:0002", "0002")
    assert before != sql(ALL)
    sql("CREATE SCHEMA lib; ALTER FUNCTION folded SET SCHEMA lib; ALTER FUNCTION lib.folded RENAME TO lowered")
    users.revision("0002", "0001", UP.replace("lower(", "lib.lowered("), DOWN.replace("lower(", "lib.lowered("))
    migrate("downgrade", "0002:0001", "0001")
    assert (before, [("restored",)]) == (sql(ALL), sql("SELECT state FROM dupe_audit.run"))


@pytest.mark.thorough
def test_script_continues_the_run_of_a_renamed_column(users, psql, sql):
    """A script whose key names a column as it is now continues the run that cleaned it under its former name."""
    users.revision("0002", "0001", ARCHIVE, RESTORE)
    assert 0 == psql(users.script("upgrade", "0001:0002")).returncode
    sql("ALTER TABLE users RENAME email TO mail; UPDATE alembic_version SET version_num = '0001'")
    users.revision("0002", "0001", UP.replace("email)", "mail)"), DOWN.replace("email)", "mail)"))
    done = psql(users.script("upgrade", "0001:0002"))
    assert (0, [(1, "enforced")]) == (done.returncode, sql("SELECT id, state FROM dupe_audit.run")), done.stderr


def test_script_takes_a_key_of_a_column_an_expression_and_a_predicate(users, psql, sql):
    """Quoted columns, percent signs, colons, braces and names of the script's own variables keep their meaning."""
    sql(
        """
        CREATE SCHEMA "Other"; SET search_path = "Other";
        CREATE TABLE "Mixed Case"
            ("Mixed Case" int, v_relid text, v_run text, tags text[] DEFAULT '{100%,:x}', kept bool);
        CREATE TABLE refs AS SELECT 'b' AS v_run;
        INSERT INTO "Mixed Case" (v_run, "Mixed Case", v_relid, kept) VALUES
            ('a', 1, 'K', true), ('b', 1, 'k', true), ('c', 1, 'k', false), ('d', 2, 'k', true), ('e', 1, 'k', NULL)
        """
    )
    key = (
        """["Mixed Case", sa.text("lower(v_relid COLLATE \\"C\\") || '{table} %'"), """
        """sa.text("tags[\\"Mixed Case\\"\\\\:\\"Mixed Case\\" + 1]")], schema="Other", """
        '''where="kept AND tags <> '{:x,%}' AND \\"Mixed Case\\" BETWEEN 1 AND 9"'''
    )
    users.revision(
        "0002",
        "0001",
        f"""
        op.archive_duplicates("Mixed Case", {key}, divergent="archive", order_by=[
            sa.text('(SELECT count(*) FROM "Other".refs r WHERE r.v_run = "Mixed Case".v_run) DESC NULLS LAST')
        ])
        op.create_unique_index_online("ux Mixed", "Mixed Case", {key})
        """,
        f"""
        op.drop_unique_index_online("ux Mixed", "Mixed Case", schema="Other")
        op.restore_duplicates("Mixed Case", {key})
        """,
    )
    rows = 'SELECT v_run FROM "Other"."Mixed Case" ORDER BY v_run'
    index = 'SELECT pg_get_indexdef(to_regclass(\'"Other"."ux Mixed"\'))'
    up, down = users.script("upgrade", "0001:0002"), users.script("downgrade", "0002:0001")
    for _ in range(2):
        done = psql(up)
        assert (0, [("b",), ("c",), ("d",), ("e",)]) == (done.returncode, sql(rows)), done.stderr
        assert sql(index)[0][0].startswith('CREATE UNIQUE INDEX "ux Mixed" ON "Other"."Mixed Case" USING btree')
        done = psql(down)
        assert (0, [("a",), ("b",), ("c",), ("d",), ("e",)]) == (done.returncode, sql(rows)), done.stderr
        assert [(None,)] == sql(index)


@pytest.mark.parametrize("stop", ["0", "1"])
@pytest.mark.parametrize(
    "definition",
    [
        "UNIQUE INDEX ux_users_email ON users (lower(email)) WHERE deleted_at IS NOT NULL",
        "UNIQUE INDEX ux_users_email ON users (md5(id::text)) WHERE deleted_at IS NULL",
        "UNIQUE INDEX ux_users_email ON users (lower(email), id) WHERE deleted_at IS NULL",
        "INDEX ux_users_email ON users (lower(email)) WHERE deleted_at IS NULL",
    ],
    ids=["predicate", "expression", "more", "not unique"],
)
@pytest.mark.representatives("predicate-0", "expression-1")
def test_script_refuses_another_index_of_the_name_before_a_row_moves(users, psql, sql, definition, stop):
    """An index of the name that differs in anything stops the script before its first change, and stays."""
    sql("DELETE FROM users WHERE id = 4")
    sql(f"CREATE {definition}")
    before = (sql(ALL), sql(INDEX))
    done = psql(users.script("upgrade", "0001:0002"), stop=stop)
    assert (3, True) == (done.returncode, "wrong-definition" in done.stderr), done.stderr
    assert "with another definition: CREATE" in done.stderr
    assert (before, [("0001",)]) == ((sql(ALL), sql(INDEX)), sql(VERSION))
    assert [(None,)] == sql("SELECT to_regnamespace('dupe_audit')::text")


@pytest.mark.representatives("column")
@pytest.mark.parametrize(
    "definition",
    [
        "(id)",
        "(lower(email) bpchar_ops) WHERE deleted_at IS NULL",
        '(lower(email COLLATE "POSIX") COLLATE "default") WHERE deleted_at IS NULL',
    ],
    ids=["column", "operator class", "collation inside"],
)
def test_script_of_a_single_create_refuses_another_index_of_the_name(users, psql, sql, definition):
    """Without a directive before it, a create finds the wrong index before it builds, and does not stamp."""
    sql("DELETE FROM users WHERE id > 1")
    sql(f"CREATE UNIQUE INDEX ux_users_email ON users {definition}")
    users.revision("0002", "0001", CREATE, DROP)
    before = sql(INDEX)
    done = psql(users.script("upgrade", "0001:0002"))
    assert (3, True) == (done.returncode, "wrong-definition" in done.stderr), done.stderr
    assert (before, [("0001",)]) == (sql(INDEX), sql(VERSION))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("up", "with_archive"),
    [(UP, True), (CREATE, False)],
    ids=["archive and create", "create"],
)
@pytest.mark.parametrize("way", ["script", "online"])
def test_index_that_existed_before_is_kept(users, psql, sql, up, with_archive, way):
    """An index of the same meaning, written differently, is kept by the upgrade and by the downgrade."""
    sql("DELETE FROM users WHERE id IN (1, 3)")
    sql("CREATE UNIQUE INDEX ux_users_email ON users (lower((email)::text)) WHERE ((deleted_at) IS NULL)")
    users.revision("0002", "0001", up, DOWN if with_archive else DROP)
    oid = sql("SELECT 'ux_users_email'::regclass::oid")

    def execute(command: str, revision: str, span: str) -> tuple[int, str]:
        if way == "online":
            return users.run(command, revision)
        done = psql(users.script(command, span))
        return done.returncode, done.stderr

    for _ in range(2):
        code, output = execute("upgrade", "0002", "0001:0002")
        assert (0, [("0002",)]) == (code, sql(VERSION)), output
        code, output = execute("downgrade", "0001", "0002:0001")
        assert (0, [("0001",)]) == (code, sql(VERSION)), output
        assert "index ux_users_email existed before the upgrade, so it stays" in output
        assert oid == sql("SELECT 'ux_users_email'::regclass::oid")


@pytest.mark.parametrize(
    ("key", "order", "problem"),
    [
        ('[sa.text("last_login::date")]', "", "not-immutable: last_login::date (table users)"),
        ('["id"], where="deleted_at > now()"', "", "not-immutable: deleted_at > now() (table users)"),
        ('[sa.text("lower(mail)")]', "", 'expression-invalid: lower(mail) (column "mail" does not exist)'),
        ('[sa.text("no.f(email)")]', "", 'expression-invalid: no.f(email) (schema "no" does not exist)'),
        ('["id"], where="email"', "", "expression-invalid: email (argument of WHERE must be type boolean"),
        ('[sa.text("point(id, id)")]', "", "no-equality: point(id, id) (point)"),
        ('["email"]', 'order_by=[sa.text("random()")]', "volatile-order: random() (table users)"),
        ("[sa.text(\"lower('email')\")]", "", "constant-expression: lower('email') (table users)"),
        ('["id"], where="deleted_at = NULL"', "", "predicate-never-true: deleted_at = NULL (table users)"),
        ('["email"]', "order_by=[sa.text(\"'id' DESC\")]", "constant-expression: 'id' (table users)"),
        ('["email"]', 'order_by=[sa.text("count(*)")]', "expression-invalid: count(*) (aggregate functions"),
        ('["email"]', 'order_by=[sa.text("to_json(email)")]', "expression-invalid: to_json(email) (could not identify"),
        ('["email"]', 'order_by=[sa.text("nothing DESC")]', 'expression-invalid: nothing (column "nothing"'),
    ],
)
@pytest.mark.representatives('[sa.text("last_login::date")]*', '["id"], where="email"*')
def test_script_refuses_an_expression_before_a_row_moves(users, psql, sql, key, order, problem):
    """An expression that cannot be in the key or in the order stops the script before any row moves, by its finding."""
    sql("INSERT INTO users VALUES (9, 'bob@x', NULL, NULL)")
    before = sql(ALL)
    for first in ("", 'op.archive_duplicates("users", ["email"], divergent="archive")\n'):
        archive = f'op.archive_duplicates("users", {key}, divergent="archive", {order})'
        create = f'op.create_unique_index_online("ux", "users", {key})'
        users.revision("0002", "0001", f"{first}{archive}\n{create}")
        done = psql(users.script("upgrade", "0001:0002"))
        assert (3, True) == (done.returncode, problem in done.stderr), done.stderr
        assert (before, [("0001",)]) == (sql(ALL), sql(VERSION))


def test_script_of_a_single_create_refuses_an_expression_before_the_build(users, psql, sql):
    """A create without a cleanup names the expression that is not immutable, and does not stamp."""
    users.revision("0002", "0001", 'op.create_unique_index_online("ux", "users", [sa.text("last_login::date")])')
    done = psql(users.script("upgrade", "0001:0002"))
    assert (3, True) == (done.returncode, "not-immutable: last_login::date (table users)" in done.stderr), done.stderr
    assert [("0001",)] == sql(VERSION)


@pytest.mark.parametrize("first", ["", 'op.archive_duplicates("accounts", ["email"])\n'])
def test_script_names_key_rule_and_columns_of_divergent_groups(users, psql, sql, first):
    """A script that finds divergent groups, in its first directive or a later one, says where they differ."""
    sql('CREATE TABLE accounts AS TABLE users; ALTER TABLE users ADD COLUMN "a %s b" int DEFAULT 1')
    sql("INSERT INTO users VALUES (20, 'dan@x', NULL, NULL, 1), (21, 'dan@x', NULL, NULL, 2)")
    before = sql(ALL)
    archive = 'op.archive_duplicates("users", ["email"], where="id >= 20", keep="last", ignore=["last_login"])'
    users.revision("0002", "0001", f"{first}{archive}")
    done = psql(users.script("upgrade", "0001:0002"))
    assert 3 == done.returncode
    assert "divergent-duplicates: rows of public.users (email) WHERE id >= 20" in done.stderr
    assert "(groups: 1" in done.stderr
    assert "Columns that differ, with the number of groups: a %s b (1). The rule: keep" in done.stderr
    assert "last_login" in done.stderr.split("The rule: ")[1]
    assert "dan" not in done.stderr
    assert (before, [("0001",)]) == (sql(ALL), sql(VERSION))


@pytest.mark.parametrize("up", ["archive", "other archive", "create"])
@pytest.mark.representatives("archive")
def test_script_counts_no_key_that_cannot_be_computed(users, psql, sql, up):
    """A cast that fails on some rows stops the script before any row moves, and no value of a row is printed."""
    sql("CREATE TABLE accounts AS TABLE users; INSERT INTO accounts TABLE users")
    before = sql("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM accounts)")
    key = """[sa.text("email::int")], where="deleted_at IS NULL\""""
    archive = f'op.archive_duplicates("users", {key}, divergent="archive")'
    create = f'op.create_unique_index_online("ux", "users", {key})'
    other = 'op.archive_duplicates("accounts", ["email"])'
    lines = {"archive": (archive, create), "other archive": (other, archive), "create": (create,)}
    users.revision("0002", "0001", "\n".join(lines[up]))
    done = psql(users.script("upgrade", "0001:0002"))
    assert "expression-fails: the key cannot be computed for some rows of table public.users" in done.stderr, (
        done.stderr
    )
    assert (3, [("0001",)]) == (done.returncode, sql(VERSION))
    assert before == sql("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM accounts)")
    assert "@" not in done.stderr


def test_script_prints_no_value_that_is_written_after_the_ranking(users, psql, sql):
    """A key that cannot be computed when the ranked pairs are judged stops the script without its value."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text); INSERT INTO t VALUES (1, '7'), (2, '7')")
    users.revision("0002", "0001", 'op.archive_duplicates("t", [sa.text("k::int")])')
    script = users.script("upgrade", "0001:0002")
    before, judgement, after = re.split(r"(BEGIN\s+PERFORM pg_temp\.dupe_audit_objections)", script)
    done = psql(f"{before} UPDATE t SET k = 'secret' WHERE id = 2; {judgement}{after}")
    assert "expression-fails: the key cannot be computed for some rows of table public.t" in done.stderr, done.stderr
    assert (3, False) == (done.returncode, "secret" in done.stderr)


@pytest.mark.parametrize("stop", ["0", "1"])
@pytest.mark.representatives("1")
def test_script_does_not_stamp_an_index_that_duplicates_prevent(users, psql, sql, stop):
    """Without a cleanup in the revision, duplicates of the key stop the script; outside the predicate they do not."""
    users.revision("0002", "0001", CREATE, DROP)
    script = users.script("upgrade", "0001:0002")
    done = psql(script, stop=stop)
    assert ("constraint-missing: index ux_users_email" in done.stderr, [("0001",)]) == (True, sql(VERSION)), done.stderr
    assert [(None, None)] == sql(INDEX)
    sql("UPDATE users SET deleted_at = '2026-01-01' WHERE id IN (1, 3)")
    done = psql(script, stop=stop)
    assert (0, [("0002",)], [(DEFINITION, COMMENT)]) == (done.returncode, sql(VERSION), sql(INDEX)), done.stderr


OTHERS = {
    "a unique constraint": "ALTER TABLE users ADD CONSTRAINT ux_users_email UNIQUE (id, email)",
    "an index that is not unique": "CREATE INDEX ux_users_email ON users (email)",
    "a constraint of another kind": "ALTER TABLE users ADD CONSTRAINT ux_users_email CHECK (id > 0)",
}


@pytest.mark.parametrize("stop", ["0", "1"])
@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.representatives("a unique constraint-0", "an index that is not unique-1")
def test_script_drops_nothing_but_a_unique_index(users, psql, sql, kind, stop):
    """The downgrade's script refuses a constraint or a plain index of the name, drops nothing, and does not stamp."""
    sql(OTHERS[kind])
    sql("UPDATE alembic_version SET version_num = '0002'")
    users.revision("0002", "0001", CREATE, DROP)
    done = psql(users.script("downgrade", "0002:0001"), stop=stop)
    assert f"not-a-unique-index: ux_users_email on users is {kind}, not a unique index" in done.stderr, done.stderr
    names = "SELECT conname FROM pg_constraint UNION SELECT relname FROM pg_class"
    assert ([("ux_users_email",)], [("0002",)]) == (
        sql(f"SELECT * FROM ({names}) AS n WHERE conname = 'ux_users_email'"),
        sql(VERSION),
    )


def test_script_drops_no_index_whose_rows_could_not_be_restored(users, psql, sql):
    """If the archive is gone, the downgrade's script keeps the index and the version, even if psql continues."""
    assert 0 == psql(users.script("upgrade", "0001:0002")).returncode
    sql("DROP TABLE dupe_audit.archive_1")
    done = psql(users.script("downgrade", "0002:0001"), stop="0")
    assert "archive-missing" in done.stderr
    assert ([(DEFINITION, COMMENT)], [("0002",)]) == (sql(INDEX), sql(VERSION))


def test_script_archives_a_duplicate_that_arrives_before_the_build(users, psql, sql):
    """A build that meets a duplicate is repeated after a cleanup by the same rule; outside the predicate it stays."""
    script, first = users.script("upgrade", "0001:0002"), "-- build 1 of 5"
    arrived = "INSERT INTO users VALUES (9, 'ANN@X', '2027-01-01', NULL), (10, 'ann@x', NULL, '2027-01-01');"
    assert 1 == script.count(first)
    done = psql(script.replace(first, f"{arrived}\n{first}"))
    assert (0, [(DEFINITION, COMMENT)]) == (done.returncode, sql(INDEX)), done.stderr
    assert [(4,), (5,), (6,), (7,), (8,), (9,), (10,)] == sql("SELECT id FROM users ORDER BY id")
    assert [("enforced", 3)] == sql("SELECT state, archived FROM dupe_audit.run")


@pytest.mark.thorough
def test_script_enforces_a_full_key_before_it_drops_the_partial_one(users, psql, sql):
    """A changed predicate: the new index stands before the old one goes; the downgrade restores the old one's state."""
    users.revision(
        "0003",
        "0002",
        """
        op.drop_unique_index_online("ux_users_email", "users")
        op.archive_duplicates("users", [sa.text("lower(email)")], divergent="archive")
        op.create_unique_index_online("ux_all", "users", [sa.text("lower(email)")])
        """,
        f"""
        op.drop_unique_index_online("ux_all", "users")
        op.restore_duplicates("users", [sa.text("lower(email)")])
        {CREATE}
        """,
    )
    assert 0 == psql(users.script("upgrade", "0001:0002")).returncode
    before = (sql(ALL), sql(INDEX))
    up, down = users.script("upgrade", "0002:0003"), users.script("downgrade", "0003:0002")
    assert up.index("CREATE UNIQUE INDEX CONCURRENTLY") < up.index("-- dupe-audit: drop index ux_users_email")
    for _ in range(2):
        done = psql(up)
        assert (0, [("0003",)], [(None, None)]) == (done.returncode, sql(VERSION), sql(INDEX)), done.stderr
        assert [(2,), (6,), (7,), (8,)] == sql("SELECT id FROM users ORDER BY id")
        done = psql(down)
        assert (0, before) == (done.returncode, (sql(ALL), sql(INDEX))), done.stderr
        assert [(None,)] == sql("SELECT to_regclass('ux_all')")


def test_script_does_not_replace_an_index_with_another_of_its_name(users):
    """Two indexes cannot have one name at once, so no script is printed; the message says what to change."""
    users.revision("0002", "0001", f"{DROP}\n{UP}", "pass")
    code, output = users.run("upgrade", "0001:0002", "--sql")
    message = "revision 0002. A script cannot replace index ux_users_email with another of the same name"
    assert (255, True) == (code, message in output), output


@pytest.mark.thorough
@pytest.mark.parametrize("way", ["script", "online"])
def test_index_that_existed_before_survives_a_later_revision_that_drops_it(users, psql, sql, way):
    """A later script drops an adopted index, its downgrade builds one like it, and the first downgrade leaves that."""
    sql("DELETE FROM users WHERE id IN (1, 3)")
    sql(
        "CREATE UNIQUE INDEX ux_users_email ON users (lower((email)::text)) "
        "WITH (fillfactor = 70) WHERE ((deleted_at) IS NULL)"
    )
    before = sql(INDEX)
    users.revision("0002", "0001", CREATE, DROP)
    users.revision("0003", "0002", DROP, CREATE)
    users.revision("0004", "0003", CREATE.replace("lower", "upper"), DROP)

    def execute(command: str, revision: str, span: str) -> None:
        if way == "online":
            code, output = users.run(command, revision)
        else:
            done = psql(users.script(command, span))
            code, output = done.returncode, done.stderr
        assert (0, [(revision,)]) == (code, sql(VERSION)), output

    for _ in range(2):
        execute("upgrade", "0003", "0001:0003")
        assert [(None, None)] == sql(INDEX)
        execute("upgrade", "0004", "0003:0004")
        execute("downgrade", "0002", "0004:0002")
        assert before[0][0] == sql(INDEX)[0][0]
        execute("downgrade", "0001", "0002:0001")
        assert before[0][0] == sql(INDEX)[0][0]
    indexes = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'users'::regclass AND NOT indisprimary"
    assert [("ux_users_email",)] == sql(indexes)


def test_script_does_not_take_an_index_of_another_session_for_its_own(users, psql, sql):
    """If another session has built the index right before the script does, the script adopts it, and it stays."""
    users.revision("0002", "0001", CREATE, DROP)
    sql("DELETE FROM users WHERE id IN (1, 3)")
    script = users.script("upgrade", "0001:0002")
    build = "CREATE UNIQUE INDEX CONCURRENTLY"
    earlier = "CREATE UNIQUE INDEX ux_users_email ON users (lower(email)) WHERE deleted_at IS NULL;"
    assert script.count(build) == 5
    done = psql(script.replace(build, f"{earlier}\n{build}", 1))
    assert (0, [("0002",)]) == (done.returncode, sql(VERSION)), done.stderr
    assert [(False, False)] == sql("SELECT building, built FROM dupe_audit.run")
    done = psql(users.script("downgrade", "0002:0001"))
    assert (0, [("0001",)]) == (done.returncode, sql(VERSION)), done.stderr
    assert [(DEFINITION,)] == sql("SELECT pg_get_indexdef('ux_users_email'::regclass)")


def test_script_whose_builds_fail_leaves_no_claim(users, psql, sql):
    """After the last failed build, an index that is built by hand under the name counts as adopted."""
    users.revision("0002", "0001", CREATE, DROP)
    script = users.script("upgrade", "0001:0002")
    assert 0 != psql(script).returncode
    assert [(False, False)] == sql("SELECT building, built FROM dupe_audit.run")
    sql("DELETE FROM users WHERE id IN (1, 3)")
    sql("CREATE UNIQUE INDEX ux_users_email ON users (lower(email)) WHERE deleted_at IS NULL")
    for arguments in (("upgrade", "0001:0002"), ("downgrade", "0002:0001")):
        done = psql(users.script(*arguments))
        assert 0 == done.returncode, done.stderr
    assert [(DEFINITION,)] == sql("SELECT pg_get_indexdef('ux_users_email'::regclass)")
