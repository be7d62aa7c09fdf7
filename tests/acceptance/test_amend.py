"""Extras that are changed in place of being removed, through Alembic: up, down and up again."""

from pathlib import Path

import pytest

from alembic_project import Project
from conftest import Sql
from launch import Launcher

SOFT_DELETE = """
op.amend_duplicates("users", [sa.text("lower(email)")], set_={"deleted_at": sa.text("now()")},
                    where="deleted_at IS NULL", order_by=[sa.text("last_login DESC NULLS LAST"), "id"])
op.create_unique_index_online("ux_users_email", "users", [sa.text("lower(email)")], where="deleted_at IS NULL")
"""
HARD_UNDO = """
op.drop_unique_index_online("ux_users_email", "users")
op.restore_duplicates("users", [sa.text("lower(email)")], where="deleted_at IS NULL")
"""
USERS = """
CREATE TABLE users (id int PRIMARY KEY, email text, last_login timestamptz, deleted_at timestamptz);
INSERT INTO users VALUES
    (1, 'Ann@x', '2024-01-01', NULL), (2, 'ann@X', '2026-01-01', NULL), (3, 'ANN@x', NULL, NULL),
    (4, 'ann@x', '2026-09-09', '2026-09-10'), (5, NULL, NULL, NULL), (6, 'bob@x', NULL, NULL)
"""


class Story:
    """A project with one revision, which goes up, down and up."""

    def __init__(self, project: Project, sql: Sql) -> None:
        self.project = project
        self.sql = sql

    def walk(self, rows: str, up: str, down: str, query: str) -> list[tuple[object, ...]]:
        """Return what *query* reads after the upgrade; after the downgrade, every row is as it was."""
        self.sql(rows)
        table = rows.split()[2]
        before = self.sql(f"SELECT t::text FROM {table} t ORDER BY 1")
        self.project.revision("0002", "0001", up, down)
        code, output = self.project.run("upgrade", "head")
        assert code == 0, output
        after = self.sql(query)
        code, output = self.project.run("downgrade", "-1")
        assert code == 0, output
        assert self.sql(f"SELECT t::text FROM {table} t ORDER BY 1") == before
        code, output = self.project.run("upgrade", "head")
        assert code == 0, output
        assert self.sql(query) == after
        return after


@pytest.fixture
def story(tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql) -> Story:
    """An empty project."""
    return Story(Project(tmp_path, database_url, launcher), sql)


def test_soft_delete(story: Story) -> None:
    """The newest login stays; the others are marked as deleted, keep their data, and come back on downgrade."""
    query = "SELECT id, email, deleted_at IS NOT NULL FROM users ORDER BY id"
    assert story.walk(USERS, SOFT_DELETE, HARD_UNDO, query) == [
        (1, "Ann@x", True), (2, "ann@X", False), (3, "ANN@x", True), (4, "ann@x", True),
        (5, None, False), (6, "bob@x", False)
    ]  # fmt: skip


@pytest.mark.thorough
def test_suffix_that_collides_with_a_third_row(story: Story) -> None:
    """A new name that another row has already is changed again, and the other row stays as it is."""
    rows = """CREATE TABLE account (id int PRIMARY KEY, name varchar(20) NOT NULL);
        INSERT INTO account VALUES (1, 'ann'), (2, 'ann'), (3, 'ann'), (4, 'ann-2'), (5, 'bob')"""
    up = """
op.amend_duplicates("account", ["name"], {"name": sa.text("name || '-' || duplicate.number")})
op.create_unique_constraint_online("account_name", "account", ["name"])
"""
    down = """
op.drop_unique_constraint_online("account_name", "account")
op.restore_duplicates("account", ["name"])
"""
    assert story.walk(rows, up, down, "SELECT id, name FROM account ORDER BY id") == [
        (1, "ann"), (2, "ann-2-2"), (3, "ann-3"), (4, "ann-2"), (5, "bob")
    ]  # fmt: skip


@pytest.mark.thorough
def test_merge_of_counters(story: Story) -> None:
    """The survivor takes over sums, the first value that is not NULL and JSON; the downgrade undoes both sides."""
    rows = """CREATE TABLE hit (id int PRIMARY KEY, page text, hits int, title text, tags jsonb, notes text);
        INSERT INTO hit VALUES (1, '/', 3, NULL, '{"a": 1}', 'x'), (2, '/', 4, 'Home', '{"a": 2, "b": 3}', 'y'),
                               (3, '/', NULL, 'Start', NULL, NULL), (4, '/b', 1, NULL, NULL, NULL)"""
    up = """
op.archive_duplicates("hit", ["page"], merge={"hits": "sum", "title": "coalesce", "tags": "jsonb_merge",
                                              "notes": sa.text("string_agg(notes, '; ' ORDER BY id)")})
op.create_unique_constraint_online("hit_page", "hit", ["page"])
"""
    down = """
op.drop_unique_constraint_online("hit_page", "hit")
op.restore_duplicates("hit", ["page"])
"""
    assert story.walk(rows, up, down, "SELECT * FROM hit ORDER BY id") == [
        (1, "/", 7, "Home", {"a": 1, "b": 3}, "x; y"), (4, "/b", 1, None, None, None)
    ]  # fmt: skip


def test_exact_copies_leave_and_divergent_ones_are_amended(story: Story) -> None:
    """With divergent='amend', a copy that equals its survivor is archived, and another one is renamed."""
    rows = """CREATE TABLE city (id int PRIMARY KEY, name text, people int);
        INSERT INTO city VALUES (1, 'Rome', 3), (2, 'Rome', 3), (3, 'Rome', 4), (4, 'Oslo', 1)"""
    up = """
op.archive_duplicates("city", ["name"], divergent="amend", set_={"name": sa.text("name || ' #' || city.id")})
op.create_unique_constraint_online("city_name", "city", ["name"])
"""
    down = """
op.drop_unique_constraint_online("city_name", "city")
op.restore_duplicates("city", ["name"])
"""
    assert story.walk(rows, up, down, "SELECT * FROM city ORDER BY id") == [
        (1, "Rome", 3), (3, "Rome #3", 4), (4, "Oslo", 1)
    ]  # fmt: skip


def test_batch_that_fails_after_others(story: Story) -> None:
    """An amendment that fails after committed batches says what stays, and how to continue and to undo it."""
    sql, project = story.sql, story.project
    sql("""CREATE TABLE city (id int PRIMARY KEY, name text, during int4range, EXCLUDE USING gist (during WITH &&));
        INSERT INTO city SELECT n, 'Rome', int4range(n, n + 1) FROM generate_series(1, 20) n""")
    before = sql("SELECT * FROM city ORDER BY id")
    up = """
op.amend_duplicates("city", ["name"], {
    "name": sa.text("name || ' #' || id"), "during": sa.text("CASE WHEN id = 19 THEN '[1,2)' ELSE during END"),
}, batch_size=1)
"""
    project.revision("0002", "0001", up, 'op.restore_duplicates("city", ["name"])')
    code, output = project.run("upgrade", "head")
    assert code == 255
    assert "[change-fails] Rows of public.city cannot be changed as set_ or merge says: at least 1 row: " in output
    assert "constraint city_during_excl forbids the new row" in output
    assert "run 1 has amended 17 rows of public.city (name). To continue, remove the cause" in output
    assert "To undo it: dupe-audit restore 1" in output
    code, output = project.run("restore", "1", "--yes", program="dupe_audit.cli")
    assert (code, "run 1: 0 rows restored, 17 rows changed back" in output) == (0, True), output
    assert sql("SELECT * FROM city ORDER BY id") == before


def test_what_is_logged(story: Story) -> None:
    """The log names what was archived, amended and merged, and what was changed back."""
    sql, project = story.sql, story.project
    sql("""CREATE TABLE city (id int PRIMARY KEY, name text, people int);
        INSERT INTO city VALUES (1, 'Rome', 3), (2, 'Rome', 3), (3, 'Rome', 4), (4, 'Oslo', 1)""")
    divided = 'divergent="amend", set_={"name": sa.text("name || id")}'
    for rule, done, restored in (
        (divided, "1 extra archived, 1 extra amended", "1 row restored, 1 row changed back"),
        (
            'merge={"people": "sum"}',
            "2 extras archived, values merged into 1 row",
            "2 rows restored, 1 row changed back",
        ),
    ):
        up = f'op.archive_duplicates("city", ["name"], {rule})'
        project.revision("0002", "0001", up, 'op.restore_duplicates("city", ["name"])')
        code, output = project.run("upgrade", "head")
        assert (code, f"public.city (name): {done}" in output or f"city (name): {done}" in output) == (0, True), output
        code, output = project.run("downgrade", "-1")
        assert (code, f"city (name): {restored}" in output) == (0, True), output
