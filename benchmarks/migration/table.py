"""The table to clean: revision 014 of the reference project, with rows drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[2]
NAME = "unique_action_per_correlation_timestamp"
KEY = "correlation_id, action_name, created_at"
CHEAPEST_FIRST = "created_at, correlation_id, action_name"  #: eight bytes and nearly unique, before wider columns
SAMPLE = 6_000  #: extras whose groups the writers choose from; few, because each process is sent its own

#: An original arrives within a minute of its time, and a copy within a day of its original: so extras are all over the
#: table, and no column is sorted.
ROWS = """
INSERT INTO agent_actions
    (id, correlation_id, agent_name, action_type, action_name, action_details, duration_ms, created_at)
SELECT md5('{seed} ' || n)::uuid, md5('{seed} correlation ' || i / 5)::uuid, 'agent-' || i % 7, 'tool_call',
       (ARRAY['Read', 'Write', 'Edit', 'Bash', 'Grep'])[1 + i % 5],
       jsonb_build_object('file', '/src/module_' || i % 997 || '.py', 'n', i), i % 900,
       timestamptz '2026-01-01 00:00:00+00' + (i + {share_of_i}) * interval '1 second'
FROM (
    SELECT i AS n, i, i + 60 * {share_of_i} AS arrival FROM generate_series(1::int8, {unique}) AS i
    UNION ALL
    SELECT n, i, i + 86400 * {share_of_n} FROM ({copies}) AS copy
) AS event
ORDER BY arrival, n
"""
#: the number of each extra, and of the row that it repeats; a row can be repeated more than once
COPIES = """
SELECT {unique} + j AS n, 1 + floor({share_of_j} * {unique})::int8 AS i
FROM generate_series(1::int8, {extras}) AS j
"""
#: half of these are originals, half are copies; the smallest id decides which row of a group survives
GROUPED = """
SELECT id::text, correlation_id::text, action_name, created_at::text
FROM (SELECT DISTINCT CASE WHEN n % 2 = 0 THEN n ELSE i END AS n FROM ({copies}) AS copy) AS chosen
JOIN agent_actions ON id = md5('{seed} ' || chosen.n)::uuid
ORDER BY md5('{seed} order ' || chosen.n)
"""


def extras_of(rows: int) -> int:
    """Return the number of extras: 5 % of the rows."""
    return rows // 20


@dataclass(frozen=True, slots=True)
class GroupedRow:
    """A row of a group at the start: an extra or a survivor."""

    id: str
    key: tuple[str, ...]


def conninfo(url: str) -> str:
    """Return the libpq form of a SQLAlchemy URL."""
    return url.replace("postgresql+psycopg", "postgresql", 1)


def fill(url: str, rows: int, seed: int) -> None:
    """Insert the rows without indexes, create the indexes again, and analyze the table."""
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        definitions = connection.execute(
            "SELECT pg_get_indexdef(indexrelid), indexrelid::regclass::text FROM pg_index "
            "WHERE indrelid = 'agent_actions'::regclass AND NOT indisprimary"
        ).fetchall()
        primary = connection.execute(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'agent_actions'::regclass AND contype = 'p'"
        ).fetchone()
        for _, name in definitions:
            connection.execute(f"DROP INDEX {name}")
        connection.execute(f"ALTER TABLE agent_actions DROP CONSTRAINT {primary[0]}")
        connection.execute(_drawn(ROWS, rows, extras_of(rows), seed))
        connection.execute(f"ALTER TABLE agent_actions ADD CONSTRAINT {primary[0]} PRIMARY KEY (id)")
        for definition, _ in definitions:
            connection.execute(definition)
        connection.execute("VACUUM (ANALYZE) agent_actions")


def grouped_rows(url: str, rows: int, seed: int) -> list[GroupedRow]:
    """Return rows of groups in random order, the same for the same seed."""
    with psycopg.connect(conninfo(url)) as connection:
        query = _drawn(GROUPED, rows, min(extras_of(rows), SAMPLE), seed)
        return [GroupedRow(row[0], tuple(row[1:])) for row in connection.execute(query)]


def _drawn(text: str, rows: int, extras: int, seed: int) -> str:
    """Fill a query; the shares are pseudorandom numbers from 0 to 1, which depend on the seed only."""
    share = "((hashint8extended({}, {}) & 2147483647) / 2147483648.0)"
    shares = {f"share_of_{column}": share.format(column, seed) for column in "inj"}
    values = {"unique": rows - extras_of(rows), "extras": extras, "seed": seed, **shares}
    return text.format(**values, copies=COPIES.format(**values))
