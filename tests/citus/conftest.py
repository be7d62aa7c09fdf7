"""A Citus cluster, if DUPE_AUDIT_TEST_CITUS has the URL of its coordinator, for a superuser."""

import os
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from conftest import Sql, conninfo

EMPTY = """
SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace WHERE nspname IN ('dupe_audit', 'application')
UNION ALL SELECT 'DROP TABLE IF EXISTS public.alembic_version'
"""

#: kinds of tables, and what makes an ordinary table one of them
KINDS = {
    "distributed": "SELECT create_distributed_table('application.events', 'tenant', shard_count := 8)",
    "reference": "SELECT create_reference_table('application.events')",
    "local": "SELECT citus_add_local_table_to_metadata('application.events')",
}
#: 1,200 rows in 400 groups of 3, of 20 tenants; in 40 groups the rows differ
ROWS = """
INSERT INTO application.events (tenant, id, name, at, details)
SELECT n % 20, n, 'n' || n % 400, timestamptz '2026-01-01 12:00:00.123456+00',
       jsonb_build_object('n', CASE WHEN n % 400 < 40 THEN n ELSE 0 END)
FROM generate_series(1, 1200) AS n
"""


@pytest.fixture(scope="session")
def citus_url() -> str:
    """The URL of the coordinator, as SQLAlchemy takes it."""
    if not (url := os.environ.get("DUPE_AUDIT_TEST_CITUS")):
        pytest.skip("DUPE_AUDIT_TEST_CITUS does not name the coordinator of a Citus cluster")
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


@pytest.fixture
def database_url(citus_url: str) -> Iterator[str]:
    """The cluster's own database, for one test at a time, without what an earlier test has left."""
    with psycopg.connect(conninfo(citus_url), autocommit=True) as own:
        own.execute("SELECT pg_advisory_lock(hashtext('dupe-audit tests'))")
        for (drop,) in own.execute(EMPTY).fetchall():
            own.execute(drop)
        own.execute("CREATE SCHEMA application")
        yield citus_url


@pytest.fixture
def events(sql: Sql) -> Callable[[str], None]:
    """Create application.events as a table of a kind, with duplicates."""

    def create(kind: str, *, rows: str = ROWS) -> None:
        sql(
            "CREATE TABLE application.events (tenant int NOT NULL, id bigint NOT NULL, name text, at timestamptz, "
            "details jsonb, PRIMARY KEY (tenant, id))"
        )
        sql(KINDS[kind])
        sql(rows)

    return create


@pytest.fixture
def on_placements(sql: Sql) -> Callable[[str], list[str]]:
    """Execute a query with the name of a shard as %s on every shard and copy of application.events."""

    def run(query: str) -> list[str]:
        quoted = query.replace("'", "''")
        rows = sql(f"SELECT success, result FROM run_command_on_placements('application.events', '{quoted}')")
        assert {success for success, _ in rows or ()} == {True}, rows
        return [result for _, result in rows]

    return run
