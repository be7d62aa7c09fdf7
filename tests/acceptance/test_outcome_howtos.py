"""The revisions of the how-tos that change or merge rows, as their pages print them, go up, down and up again."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import errors

from conftest import Sql
from howtos import project_of, revision_of
from launch import Launcher

USERS = """
CREATE TABLE users (id int PRIMARY KEY, email text, last_login timestamptz, deleted_at timestamptz);
INSERT INTO users VALUES
    (1, 'Ann@x', '2024-01-01', NULL), (2, 'ann@x', '2026-01-01', NULL), (3, 'ANN@X', NULL, NULL),
    (4, 'bob@x', NULL, NULL), (5, 'bob@x', NULL, '2026-01-01')
"""
ACCOUNTS = """
CREATE TABLE accounts (id int PRIMARY KEY, name varchar(20), created_at date);
INSERT INTO accounts VALUES (1, 'ann', '2026-02-01'), (2, 'ann', '2026-01-01'), (3, 'ann', '2026-03-01'),
    (4, 'ann-2', '2026-04-01')
"""
TASKS = """
CREATE TABLE tasks (id int PRIMARY KEY, list_id int, position int);
INSERT INTO tasks VALUES (1, 1, 1), (2, 1, 1), (3, 1, 2), (4, 1, 2), (5, 1, 2), (6, 2, 1)
"""
MEMBERS = """
CREATE TABLE members (id int PRIMARY KEY, phone text, games_played int);
INSERT INTO members VALUES (1, '555', 1), (2, '555', 9), (3, '777', 0), (4, NULL, 0), (5, NULL, 0)
"""
CITIES = """
CREATE TABLE cities (id int PRIMARY KEY, name text, country text);
INSERT INTO cities VALUES (1, 'Paris', 'FR'), (2, 'Paris', 'FR'), (3, 'Paris', 'US'), (4, 'Rome', 'IT')
"""
ALERTS = """
CREATE TABLE alerts (id int PRIMARY KEY, fingerprint text, occurrences int, first_seen date, last_seen date);
INSERT INTO alerts VALUES (1, 'a', 3, '2026-01-01', '2026-01-05'), (2, 'a', 4, '2026-01-03', '2026-01-09'),
    (3, 'a', NULL, '2026-01-02', '2026-01-04'), (4, 'b', 1, '2026-01-01', '2026-01-01')
"""
FAMILY = """
CREATE TABLE members (id int PRIMARY KEY, email text, last_login date, phone text, credits numeric(8, 2),
                      settings jsonb, is_admin boolean);
CREATE TABLE purchases (id int PRIMARY KEY, member_id int REFERENCES members);
CREATE INDEX ON purchases (member_id);
INSERT INTO members VALUES
    (1, 'Ann@x', '2025-01-01', '555', 1.50, '{"theme": "dark", "lang": "de"}', true),
    (2, 'ann@x', '2026-01-01', NULL, 2.25, '{"lang": "en"}', false), (3, 'bob@x', NULL, NULL, 0, NULL, NULL);
INSERT INTO purchases VALUES (1, 1), (2, 2), (3, 3)
"""


@dataclass(frozen=True)
class Example:
    """A revision of a how-to, and what it makes of a table."""

    page: str
    heading: str
    table: str
    rows: str
    query: str
    after: list[tuple[object, ...]]
    rejected: str  #: values of a row that the key forbids


EXAMPLES = [
    Example(
        "amend", "Soft delete", "users", USERS, "SELECT id FROM users WHERE deleted_at IS NULL ORDER BY id",
        [(2,), (4,)], "90, 'BOB@x', NULL, NULL",
    ),
    Example(
        "amend", "Rename", "accounts", ACCOUNTS, "SELECT id, name FROM accounts ORDER BY id",
        [(1, "ann-2-2"), (2, "ann"), (3, "ann-3"), (4, "ann-2")], "90, 'ann', NULL",
    ),
    Example(
        "amend", "Renumber within a parent", "tasks", TASKS,
        "SELECT list_id, array_agg(position ORDER BY position) FROM tasks GROUP BY 1 ORDER BY 1",
        [(1, [1, 2, 3, 4, 5]), (2, [1])], "90, 1, 2",
    ),
    Example(
        "amend", "Set to NULL", "members", MEMBERS, "SELECT id, phone FROM members ORDER BY id",
        [(1, None), (2, "555"), (3, "777"), (4, None), (5, None)], "90, '555', 0",
    ),
    Example(
        "amend", "Archive exact copies, change the others", "cities", CITIES, "SELECT id, name FROM cities ORDER BY id",
        [(1, "Paris"), (3, "Paris (US)"), (4, "Rome")], "90, 'Paris', 'FR'",
    ),
    Example(
        "merge", "Counters", "alerts", ALERTS,
        "SELECT id, occurrences, first_seen::text, last_seen::text FROM alerts ORDER BY id",
        [(2, 7, "2026-01-01", "2026-01-09"), (4, 1, "2026-01-01", "2026-01-01")], "90, 'a', 1, NULL, NULL",
    ),
    Example(
        "merge", "Accounts and the rows that reference them", "members", FAMILY,
        "SELECT id, phone, credits::text, settings, is_admin, (SELECT array_agg(p.id ORDER BY p.id) FROM purchases p"
        " WHERE p.member_id = m.id) FROM members m ORDER BY id",
        [(2, "555", "3.75", {"theme": "dark", "lang": "en"}, True, [1, 2]), (3, None, "0.00", None, None, [3])],
        "90, 'ANN@x', NULL, NULL, 0, NULL, NULL",
    ),
]  # fmt: skip


@pytest.mark.thorough
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.heading)
def test_revision_of_the_page_goes_up_down_and_up(
    tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql, example: Example
) -> None:
    """The rows become what the page says, the key holds for what comes later, and the downgrade undoes all of it."""
    sql(example.rows)
    project = project_of(tmp_path, database_url, launcher, revision_of(example.page, example.heading))
    tables = [example.table, "purchases"] if "purchases" in example.rows else [example.table]
    contents = [f"SELECT t::text FROM {table} t ORDER BY id" for table in tables]
    before = list(map(sql, contents))
    for step in ("upgrade", "downgrade", "upgrade"):
        exit_code, output = project.run(step, "head" if step == "upgrade" else "-1")
        assert exit_code == 0, output
        if step == "downgrade":
            assert before == list(map(sql, contents))
            continue
        assert example.after == sql(example.query)
        with pytest.raises(errors.UniqueViolation):
            sql(f"INSERT INTO {example.table} VALUES ({example.rejected})")
