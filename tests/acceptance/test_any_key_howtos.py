"""The revisions of the how-tos for keys of any kind, as their pages print them, go up, down and up again."""

import re
import shlex
import threading
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import Connection

from alembic_project import Project
from conftest import Sql, conninfo
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.elements import is_immutable
from howtos import DOCS, project_of, revision_of, section
from launch import Launcher
from waiting import wait_for

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


EVENTS = """
CREATE TABLE events (id int PRIMARY KEY, account_id int, created_at timestamptz);
INSERT INTO events VALUES (1, 7, '2026-01-01'), (2, 7, '2026-01-01'), (3, 8, '2026-01-01')
"""
BOOKINGS = """
CREATE EXTENSION btree_gist;
CREATE TABLE bookings (id int PRIMARY KEY, room_id int, during daterange);
INSERT INTO bookings VALUES (1, 7, '[2026-01-01,2026-01-05)'), (2, 7, '[2026-01-05,2026-01-09)'),
    (3, 8, '[2026-01-01,2026-01-05)')
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
    Example("survivors", "The row that most others reference", "authors", AUTHORS, (2, 4), "90, 'Ann'", "91, 'Cy'"),
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
    Example(
        "other-keys",
        "Descending order, or another operator class",
        "events",
        EVENTS,
        (1, 3),
        "90, 7, '2026-01-01'",
        "91, 7, '2026-01-02'",
    ),
]

#: column, equal values and another value, for each expression in the tables of the explanations
VALUES = {
    "lower(email)": ("email text", "Ann@x", "ANN@x", "bob@x"),
    "(created_at AT TIME ZONE 'UTC')::date": (
        "created_at timestamptz",
        "2026-01-01 00:30+00",
        "2026-01-01 23:30+00",
        "2026-01-01 23:30-05",
    ),
    "payload ->> 'id'": ("payload jsonb", '{"id": 1}', '{"id": "1"}', '{"no": 1}'),
    "coalesce(area, '')": ("area text", None, "", "x"),
    "app.normalise(name)": ("name text", "Ann", " ann", "bob"),
    "lower(btrim(email))": ("email text", "Ann@x", " ann@X ", "bob@x"),
    'email COLLATE "C"': ("email text", "Ann@x", "Ann@x", "ann@x"),
    "email COLLATE my_case_insensitive": ("email text", "Ann@x", "ann@X", "bob@x"),
    "email": ("email citext", "Ann@x", "ann@X", "bob@x"),
}


def keys_of(sql: Sql, table: str) -> list[tuple[str]]:
    """Return the definitions of the unique indexes of a table, except its primary key."""
    return sql(
        f"SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '{table}'::regclass"
        " AND indisunique AND indisvalid AND NOT indisprimary"
    )


@pytest.mark.thorough
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.heading)
def test_revision_of_the_page_goes_up_down_and_up(
    tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql, example: Example
) -> None:
    """The page's rows survive, its key holds for what comes later, and the downgrade restores rows and keys."""
    sql(example.rows)
    project = project_of(tmp_path, database_url, launcher, revision_of(example.page, example.heading))
    content = f"SELECT t::text FROM {example.table} t ORDER BY id"
    rows, keys = sql(content), keys_of(sql, example.table)
    for command in re.findall(r"\$ dupe-audit (preflight .*)", section(example.page, example.heading)):
        exit_code, output = project.run(*shlex.split(command), program="dupe_audit.cli")
        assert (True, False) == (exit_code in (0, 1), "error [" in output), output
    for step in ("upgrade", "downgrade", "upgrade"):
        exit_code, output = project.run(step, "head" if step == "upgrade" else "-1")
        assert exit_code == 0, output
        if step == "downgrade":
            assert rows == sql(content)
            assert keys == keys_of(sql, example.table)
            continue
        assert [(row,) for row in example.survivors] == sql(f"SELECT id FROM {example.table} ORDER BY id")
        assert keys != keys_of(sql, example.table)
        assert 1 == len(keys_of(sql, example.table))
        with pytest.raises(errors.UniqueViolation):
            sql(f"INSERT INTO {example.table} VALUES ({example.rejected})")
        for clause in re.findall(r"`[^`]*(ON CONFLICT \(.*? DO NOTHING)`", section(example.page, example.heading)):
            assert [] == sql(f"INSERT INTO {example.table} VALUES ({example.rejected}) {clause} RETURNING id")
        sql(f"INSERT INTO {example.table} VALUES ({example.accepted})")
        sql(f"DELETE FROM {example.table} WHERE id = {example.accepted.split(',')[0]}")


@pytest.mark.thorough
def test_expressions_of_the_pages_go_up_and_down(
    tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql
) -> None:
    """Each expression in the tables of the explanations can be the key of an index, and compares as its row says."""
    equalities = (DOCS / "explanation" / "what-counts-as-a-duplicate.md").read_text().split("## Expressions\n")[1]
    shown = {
        *re.findall(r'sa\.text\("(.*?)"\)', (DOCS / "explanation" / "kinds-of-keys.md").read_text()),
        *re.findall(r"^\| `(.*?)`", equalities.split("\n## ")[0], flags=re.MULTILINE),
    }
    assert VALUES.keys() == shown
    examples = dict(VALUES)
    try:
        sql("CREATE COLLATION my_case_insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except errors.FeatureNotSupported:  # a server without ICU
        del examples["email COLLATE my_case_insensitive"]
    body = "LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.lower(pg_catalog.btrim($1))'"
    sql(f"CREATE SCHEMA app; CREATE FUNCTION app.normalise(text) RETURNS text {body}")
    up, down, before = "", "", {}
    for number, (expression, (column, *values)) in enumerate(examples.items()):
        table, key = f"t{number}", f"[sa.text({expression!r})]"
        sql(f"CREATE TABLE {table} (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {column})")
        literals = ("NULL" if value is None else f"'{value}'" for value in values)
        sql(f"INSERT INTO {table} ({column.split()[0]}) VALUES {', '.join(f'({literal})' for literal in literals)}")
        before[table] = sql(f"SELECT t::text FROM {table} t ORDER BY id")
        up += f'op.archive_duplicates("{table}", {key}, divergent="archive")\n'
        up += f'op.create_unique_index_online("{table}_key", "{table}", {key})\n'
        down += f'op.drop_unique_index_online("{table}_key", "{table}")\nop.restore_duplicates("{table}", {key})\n'
    project = Project(tmp_path, database_url, launcher)
    project.revision("0002", "0001", up, down)

    exit_code, output = project.run("upgrade", "head")
    assert exit_code == 0, output
    assert {table: [(1,), (3,)] for table in before} == {
        table: sql(f"SELECT id FROM {table} ORDER BY id") for table in before
    }
    assert [1] * len(before) == [len(keys_of(sql, table)) for table in before]
    exit_code, output = project.run("downgrade", "-1")
    assert exit_code == 0, output
    assert before == {table: sql(f"SELECT t::text FROM {table} t ORDER BY id") for table in before}


@pytest.mark.parametrize(
    "heading", ["Exclusion constraints", pytest.param("WITHOUT OVERLAPS", marks=pytest.mark.min_pg(18))]
)
def test_recipe_for_rows_that_must_not_overlap(
    tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql, heading: str
) -> None:
    """The recipe for exclusion constraints goes up, down and up, and takes the lock that its table names."""
    if not sql("SELECT name FROM pg_available_extensions WHERE name = 'btree_gist'"):
        pytest.skip("the server has no btree_gist")
    sql(BOOKINGS)
    code = revision_of("other-keys", heading)
    project = project_of(tmp_path, database_url, launcher, code)
    overlap = "INSERT INTO bookings VALUES (4, 7, '[2026-01-04,2026-01-06)')"
    for _ in range(2):
        exit_code, output = project.run("upgrade", "head")
        assert exit_code == 0, output
        with pytest.raises(errors.ExclusionViolation):
            sql(overlap)
        exit_code, output = project.run("downgrade", "-1")
        assert exit_code == 0, output

    add, drop = re.findall(r'"(ALTER TABLE .*?)"', code)
    for statement in (add, drop):
        assert "AccessExclusiveLock" in locks_of(database_url, "bookings", statement)
        sql(statement)
    sql(overlap)
    (query,) = re.findall(r"```sql\n(.*?);\n```", section("other-keys", "Exclusion constraints"), flags=re.DOTALL)
    assert [(1, 4), (2, 4)] == sorted(sql(query))
    if heading == "Exclusion constraints":
        sql(f"{add} WHERE (id > 1000)")


def test_recipe_for_another_order_builds_beside_writers(database_url: str, sql: Sql) -> None:
    """The concurrent build of the recipe takes the lock that its table names, and writers continue meanwhile."""
    sql(EVENTS)
    code = revision_of("other-keys", "Descending order, or another operator class")
    (statement,) = re.findall(r'"(CREATE UNIQUE .*?)"', code)
    sql("DELETE FROM events WHERE id = 2")
    build = threading.Thread(target=sql, args=(statement,))
    modes = "SELECT mode FROM pg_locks WHERE relation = 'events'::regclass AND pid <> pg_backend_pid()"
    with psycopg.connect(conninfo(database_url)) as writer:
        writer.execute("INSERT INTO events VALUES (4, 9, '2026-01-01')")
        build.start()
        wait_for(lambda: ("ShareUpdateExclusiveLock",) in writer.execute(modes).fetchall())
        writer.execute("INSERT INTO events VALUES (5, 9, '2026-01-02')")
        assert {"ShareUpdateExclusiveLock"} == {mode for (mode,) in writer.execute(modes).fetchall()}
    build.join()
    assert 2 == len(keys_of(sql, "events")) + 1
    with pytest.raises(errors.UniqueViolation):
        sql("INSERT INTO events VALUES (6, 9, '2026-01-02')")


def test_alternatives_of_the_page_are_immutable(conn: Connection, sql: Sql) -> None:
    """Each expression that the page of not-immutable advises is immutable, and the one that it replaces is not."""
    sql("CREATE TABLE t (created_at timestamptz)")
    page = (DOCS / "reference" / "findings" / "not-immutable.md").read_text()
    rows = re.findall(r"^\| `([^`]+)`(?:, of a `timestamptz`)? \| `([^`]+)` \|$", page, flags=re.MULTILINE)
    assert 3 == len(rows)
    execute(conn, "SET constraint_exclusion = on")
    judged = [tuple(is_immutable(conn, "ONLY public.t AS t", sql) for sql in row) for row in rows]
    assert [(False, True)] * 3 == judged


def locks_of(database_url: str, table: str, statement: str) -> set[str]:
    """Return the modes of the locks on a table that a statement holds until its transaction ends."""
    with psycopg.connect(conninfo(database_url)) as connection:
        connection.execute(statement)
        modes = connection.execute(
            "SELECT mode FROM pg_locks WHERE relation = %s::regclass AND pid = pg_backend_pid()", [table]
        ).fetchall()
        connection.rollback()
    return {mode for (mode,) in modes}


def test_first_copy_of_an_old_row_is_rejected_h93(
    tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql
) -> None:
    """The variant that leaves only old duplicates out rejects the first new copy of an old row."""
    sql(ORDERS)
    sql("DELETE FROM orders WHERE id IN (1002, 1003)")
    (statements,) = re.findall(
        r"```sql\n(.*?)```", section("new-rows-first", "Or: all rows but the old duplicates"), flags=re.DOTALL
    )
    sql(statements)
    code = revision_of("new-rows-first", "First: new rows").replace('"id > 1000"', '"NOT is_old_duplicate"')
    project = project_of(tmp_path, database_url, launcher, code)
    exit_code, output = project.run("upgrade", "head")
    assert exit_code == 0, output
    assert [(1,), (2,), (3,), (1001,)] == sql("SELECT id FROM orders ORDER BY id")
    with pytest.raises(errors.UniqueViolation):
        sql("INSERT INTO orders VALUES (2000, 7, '2026-01-01')")
    exit_code, output = project.run("downgrade", "-1")
    assert exit_code == 0, output
