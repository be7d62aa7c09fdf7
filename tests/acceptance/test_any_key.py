"""Keys over expressions and parts of a table, through Alembic: up, down and up again."""

from pathlib import Path

import psycopg
import pytest

from alembic_project import Project
from conftest import Sql
from launch import Launcher

UP = """
op.archive_duplicates("users", [sa.text("lower(email)")], where="deleted_at IS NULL",
                      order_by=[sa.text("last_login DESC NULLS LAST"), "id"], divergent="archive")
op.create_unique_index_online("ux_users_email", "users", [sa.text("lower(email)")], where="deleted_at IS NULL")
"""
DOWN = """
op.drop_unique_index_online("ux_users_email", "users")
op.restore_duplicates("users", [sa.text("lower(email)")], where="deleted_at IS NULL")
"""
ROWS = """
CREATE TABLE users (id int PRIMARY KEY, email text, last_login timestamptz, deleted_at timestamptz);
INSERT INTO users VALUES
    (1, 'Ann@x', '2024-01-01', NULL), (2, 'ann@X', '2026-01-01', NULL), (3, 'ANN@x', NULL, NULL),
    (4, 'ann@x', '2026-09-09', '2026-09-10'), (5, 'ann@x', NULL, '2026-09-10'),
    (6, NULL, NULL, NULL), (7, NULL, NULL, NULL), (8, 'bob@x', NULL, NULL)
"""
CREATED = "CREATE UNIQUE INDEX ux_users_email ON public.users"


@pytest.fixture
def users(tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql) -> Project:
    """A project whose second revision makes the addresses of users unique, whatever their case, among the living."""
    sql(ROWS)
    project = Project(tmp_path, database_url, launcher)
    project.revision("0002", "0001", UP, DOWN)
    return project


def test_case_insensitive_key_of_living_rows_goes_up_down_and_up(users: Project, sql: Sql) -> None:
    """The newest login survives, rows outside the predicate stay, and the downgrade restores every row."""
    before = sql("SELECT u::text FROM users u ORDER BY id")
    for _ in range(2):
        code, output = users.run("upgrade", "head")
        assert code == 0, output
        assert sql("SELECT id FROM users ORDER BY id") == [(2,), (4,), (5,), (6,), (7,), (8,)]
        definition = sql("SELECT pg_get_indexdef('ux_users_email'::regclass)")
        assert definition == [(f"{CREATED} USING btree (lower(email)) WHERE (deleted_at IS NULL)",)]
        code, output = users.run("downgrade", "-1")
        assert code == 0, output
        assert sql("SELECT u::text FROM users u ORDER BY id") == before
        assert sql("SELECT to_regclass('ux_users_email')") == [(None,)]


@pytest.mark.thorough
def test_own_leftover_of_an_interrupted_build_stops_no_upgrade(users: Project, sql: Sql) -> None:
    """A build that was killed leaves an index that rejects rows; the same upgrade drops it, and does not refuse."""
    assert users.run("upgrade", "head")[0] == 0
    # As a server that was killed leaves it: writes maintain the index already, and one row arrived before they did.
    own = "WHERE indexrelid = 'ux_users_email'::regclass"
    sql(f"UPDATE pg_index SET indisvalid = false, indisready = false {own}")
    sql("INSERT INTO users VALUES (20, 'BOB@x', NULL, NULL), (21, 'Carl@x', NULL, NULL)")
    sql(f"UPDATE pg_index SET indisready = true {own}")
    sql("UPDATE dupe_audit.run SET state = 'clean', building = true, constraint_name = 'ux_users_email'")
    sql("UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("INSERT INTO users VALUES (30, 'x@x'), (31, 'X@x')")
    code, output = users.run("upgrade", "head")
    assert code == 0, output
    assert sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'ux_users_email'::regclass") == [(True,)]
    assert sql("SELECT count(*) FROM dupe_audit.run") == [(1,)]
    assert users.run("downgrade", "-1")[0] == 0
    assert sql("SELECT count(*) FROM users") == [(10,)]


def test_leftover_of_another_build_still_stops_the_upgrade(users: Project, sql: Sql) -> None:
    """An index that is not ours and rejects rows stops the upgrade before a row is moved."""
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("CREATE UNIQUE INDEX CONCURRENTLY other ON users (lower(email)) WHERE deleted_at IS NULL")
    sql("UPDATE pg_index SET indisready = true WHERE indexrelid = 'other'::regclass")
    code, output = users.run("upgrade", "head")
    assert code != 0
    assert "index other (it is not valid, but rejects rows)" in output
    assert sql("SELECT count(*) FROM users") == [(8,)]


def test_rows_that_an_expression_cannot_be_computed_for_stop_the_upgrade(users: Project, sql: Sql) -> None:
    """A cast of bad text is refused before a row is moved, with the number of rows and without their content."""
    users.revision(
        "0002",
        "0001",
        """op.archive_duplicates("users", [sa.text("substr(email, 1, 1)::int")])""",
        """op.restore_duplicates("users", [sa.text("substr(email, 1, 1)::int")])""",
    )
    code, output = users.run("upgrade", "head")
    assert code != 0
    assert "substr(email, 1, 1)::int fails for 6 rows (SQLSTATE 22P02)" in output
    assert 'integer: "A"' not in output
    assert sql("SELECT to_regclass('dupe_audit.run')") == [(None,)]


@pytest.mark.parametrize("form", ["index", "constraint"])
def test_name_of_another_table_is_not_replaced(users: Project, sql: Sql, form: str) -> None:
    """A revision that drops and creates a name which only another table has is refused, and drops nothing there."""
    sql("CREATE TABLE customers (id int PRIMARY KEY, mail text); CREATE UNIQUE INDEX ux_mail ON customers (mail)")
    up = f"""
    op.drop_unique_{form}_online("ux_mail", "users")
    op.create_unique_{form}_online("ux_mail", "users", ["id"])
    """
    users.revision("0002", "0001", up)
    code, output = users.run("upgrade", "head")
    assert (code, "name-taken" in output) == (255, True), output
    assert sql("SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = 'ux_mail'::regclass") == [
        ("customers",)
    ]


def test_index_that_stays_is_not_reported_as_dropped(users: Project, sql: Sql) -> None:
    """A downgrade leaves an index that existed before the upgrade, and says so without claiming that it was dropped."""
    sql("CREATE UNIQUE INDEX ux_id ON users (email, id)")
    up = 'op.create_unique_index_online("ux_id", "users", ["email", "id"])'
    users.revision("0002", "0001", up, 'op.drop_unique_index_online("ux_id", "users")')
    assert users.run("upgrade", "head")[0] == 0
    code, output = users.run("downgrade", "-1")
    assert (code, "so it stays" in output, "was dropped" in output) == (0, True, False), output
    assert sql("SELECT to_regclass('ux_id')::text") == [("ux_id",)]
