"""The revisions of the how-tos for keys of any kind, as their pages print them, go up, down and up again."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import errors

from alembic_project import Project
from conftest import Sql
from launch import Launcher

HOWTO = Path(__file__).parents[2] / "docs" / "howto"
HEADER = "from alembic import op\nimport sqlalchemy as sa\nrevision, down_revision = '0002', '0001'\n"

USERS = "CREATE TABLE users (id int PRIMARY KEY, email text, last_login timestamptz, deleted_at timestamptz)"
PEOPLE = f"""{USERS};
INSERT INTO users VALUES
    (1, 'Ann@x', '2024-01-01', NULL), (2, 'ann@x', '2026-01-01', NULL), (3, 'ANN@X', NULL, NULL),
    (4, 'bob@x', NULL, NULL), (5, NULL, NULL, NULL), (6, NULL, NULL, NULL)
"""
ACCOUNTS = f"""{USERS};
INSERT INTO users VALUES
    (1, 'ann@x', NULL, NULL), (2, 'ann@x', NULL, NULL), (3, 'ann@x', NULL, '2026-01-01'),
    (4, 'ann@x', NULL, '2026-02-01'), (5, 'bob@x', NULL, '2026-01-01')
"""
SUBSCRIPTIONS = """
CREATE TABLE subscriptions (id int PRIMARY KEY, customer_id int, status text, started_at timestamptz);
INSERT INTO subscriptions VALUES
    (1, 7, 'active', '2024-01-01'), (2, 7, 'active', '2026-01-01'), (3, 7, 'ended', '2026-06-01'),
    (4, 7, 'ended', NULL), (5, 7, NULL, NULL), (6, 7, 'active', NULL), (7, 8, 'active', NULL)
"""
PAYMENTS = """
CREATE TABLE payments (id int PRIMARY KEY, order_id int, status text, created_at timestamptz);
INSERT INTO payments VALUES
    (1, 1, 'failed', '2026-01-01'), (2, 1, 'pending', '2026-01-02'), (3, 1, 'paid', '2026-01-04'),
    (4, 1, 'paid', '2026-01-03'), (5, 2, 'failed', '2026-01-01'), (6, 2, 'pending', '2026-01-02'), (7, 3, NULL, NULL)
"""
AUTHORS = """
CREATE TABLE authors (id int PRIMARY KEY, name text);
CREATE TABLE books (id int PRIMARY KEY, author_id int REFERENCES authors);
CREATE INDEX ON books (author_id);
INSERT INTO authors VALUES (1, 'Ann'), (2, 'Ann'), (3, 'Ann'), (4, 'Bob'), (5, 'Bob');
INSERT INTO books VALUES (1, 1), (2, 2), (3, 2), (4, 3)
"""
DOWNLOADS = """
CREATE TABLE downloads (id int PRIMARY KEY, url text, error text, fetched_at timestamptz);
INSERT INTO downloads VALUES
    (1, '/a', NULL, '2026-01-01'), (2, '/a', NULL, '2026-01-02'), (3, '/a', 'timeout', '2026-01-03'),
    (4, '/a', NULL, NULL), (5, '/b', 'refused', '2026-01-01'), (6, '/b', 'timeout', '2026-01-02')
"""
ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, customer_id int, placed_at date);
INSERT INTO orders VALUES
    (1, 7, '2026-01-01'), (2, 7, '2026-01-01'), (3, 8, '2026-01-01'),
    (1001, 9, '2026-01-01'), (1002, 9, '2026-01-01'), (1003, 8, '2026-01-01')
"""


@dataclass(frozen=True)
class Example:
    """A revision of a how-to, and what it makes of a table."""

    page: str
    heading: str
    table: str
    rows: str
    survivors: tuple[int, ...]
    rejected: str  #: values of a row that the key forbids
    accepted: str  #: values of a row that it allows


EXAMPLES = [
    Example(
        "expressions-and-parts",
        "Case-insensitive email",
        "users",
        PEOPLE,
        (2, 4, 5, 6),
        "90, 'BOB@x', NULL, NULL",
        "91, NULL, NULL, NULL",
    ),
    Example(
        "expressions-and-parts",
        "Soft delete",
        "users",
        ACCOUNTS,
        (1, 3, 4, 5),
        "90, 'ann@x', NULL, NULL",
        "91, 'bob@x', NULL, NULL",
    ),
    Example(
        "expressions-and-parts",
        "One active row per owner",
        "subscriptions",
        SUBSCRIPTIONS,
        (2, 3, 4, 5, 7),
        "90, 8, 'active', NULL",
        "91, 8, 'ended', NULL",
    ),
    Example(
        "survivors", "Paid before pending", "payments", PAYMENTS, (4, 6, 7), "90, 3, NULL, NULL", "91, 4, NULL, NULL"
    ),
    Example(
        "survivors", "The row that most others reference", "authors", AUTHORS, (2, 4), "90, 'Ann'", "91, 'Cy'"
    ),
    Example(
        "survivors",
        "The newest row without an error",
        "downloads",
        DOWNLOADS,
        (2, 6),
        "90, '/a', NULL, NULL",
        "91, '/c', NULL, NULL",
    ),
    Example(
        "full-and-partial",
        "From full to partial",
        "users",
        f"{USERS}; ALTER TABLE users ADD CONSTRAINT unique_email UNIQUE (email);"
        "INSERT INTO users VALUES (1, 'ann@x', NULL, NULL), (2, 'bob@x', NULL, '2026-01-01')",
        (1, 2),
        "90, 'ann@x', NULL, NULL",
        "91, 'bob@x', NULL, NULL",
    ),
    Example(
        "full-and-partial",
        "From partial to full",
        "users",
        f"{USERS}; CREATE UNIQUE INDEX unique_current_email ON users (email) WHERE deleted_at IS NULL;"
        "INSERT INTO users VALUES (1, 'ann@x', NULL, '2026-01-01'), (2, 'ann@x', NULL, NULL),"
        " (3, 'bob@x', NULL, '2026-01-01'), (4, 'bob@x', NULL, '2026-02-01')",
        (2, 4),
        "90, 'bob@x', NULL, NULL",
        "91, 'cy@x', NULL, NULL",
    ),
    Example(
        "new-rows-first",
        "First: new rows",
        "orders",
        ORDERS,
        (1, 2, 3, 1001, 1003),
        "2000, 9, '2026-01-01'",
        "2001, 7, '2026-01-01'",
    ),
    Example(
        "new-rows-first",
        "Then: the full key",
        "orders",
        f"{ORDERS}; DELETE FROM orders WHERE id = 1002;"
        "CREATE UNIQUE INDEX unique_new_order ON orders (customer_id, placed_at) WHERE id > 1000",
        (1, 3, 1001),
        "2000, 8, '2026-01-01'",
        "2001, 8, '2026-01-02'",
    ),
]


def section(page: str, heading: str) -> str:
    """Return the text under a heading of a how-to."""
    return (HOWTO / f"{page}.md").read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]


def project_of(folder: Path, database_url: str, launcher: Launcher, code: str) -> Project:
    """Return a project whose second revision is the code of a page."""
    project = Project(folder, database_url, launcher)
    (folder / "migrations" / "versions" / "0002.py").write_text(HEADER + code)
    return project


def keys_of(sql: Sql, table: str) -> list[tuple[str]]:
    """Return the definitions of the unique indexes of a table, except its primary key."""
    return sql(
        f"SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{table}'::regclass"
        " AND indisunique AND indisvalid AND NOT indisprimary"
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.heading)
def test_revision_of_the_page_goes_up_down_and_up(
    tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql, example: Example
) -> None:
    """The page's rows survive, its key holds for what comes later, and the downgrade restores rows and keys."""
    sql(example.rows)
    (code,) = re.findall(r"```python\n(.*?)```", section(example.page, example.heading), flags=re.DOTALL)
    project = project_of(tmp_path, database_url, launcher, code)
    content = f"SELECT t::text FROM {example.table} t ORDER BY id"
    rows, keys = sql(content), keys_of(sql, example.table)
    for _ in range(2):
        exit_code, output = project.run("upgrade", "head")
        assert exit_code == 0, output
        assert [(row,) for row in example.survivors] == sql(f"SELECT id FROM {example.table} ORDER BY id")
        assert keys_of(sql, example.table) not in (keys, [])
        assert len(keys_of(sql, example.table)) == 1
        with pytest.raises(errors.UniqueViolation):
            sql(f"INSERT INTO {example.table} VALUES ({example.rejected})")
        (accepted,) = sql(f"INSERT INTO {example.table} VALUES ({example.accepted}) RETURNING id")[0]
        sql(f"DELETE FROM {example.table} WHERE id = {accepted}")
        exit_code, output = project.run("downgrade", "-1")
        assert exit_code == 0, output
        assert rows == sql(content)
        assert keys == keys_of(sql, example.table)
