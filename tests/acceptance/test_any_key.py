"""Keys over expressions and parts of a table, through Alembic: up, down and up again."""

from pathlib import Path

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


def test_existing_index_over_an_expression_is_adopted(users: Project, sql: Sql) -> None:
    """An upgrade whose directives name no schema accepts the index that it would build, as after an interruption."""
    sql("DELETE FROM users WHERE id IN (1, 3)")
    sql("CREATE UNIQUE INDEX ux_users_email ON users (lower(email)) WHERE deleted_at IS NULL")
    code, output = users.run("upgrade", "head")
    assert code == 0, output
    assert sql("SELECT state FROM dupe_audit.run") == [("enforced",)]
