"""The stack's migrate job: deploy/migrate as its container would run it."""

import psycopg
import pytest

from dupe_audit.embedded import Server
from stack import ACTION, DECISION, PASSWORDS

pytestmark = pytest.mark.min_pg(15)  # psql reads the environment (\getenv) since then; the stack's own is 17


def test_new_database_is_proven(start, admin, cluster):
    """On a new database the job goes on after preflight's findings, leaves the consumers their part, and runs again."""
    output = start("migrate").ended(0)
    assert 3 == output.count("table-missing"), output
    assert [("018", "migrator")] == admin(
        "SELECT version_num, tableowner FROM alembic_version, pg_tables WHERE tablename = 'agent_actions'"
    )

    may_add_rows_and_nothing_else(cluster)
    assert "No pending revision" in start("migrate").ended(0)


def may_add_rows_and_nothing_else(cluster: Server) -> None:
    """Try what the consumers' role may do and what not, its ledger and its password included."""
    conninfo = f"host={cluster._home} port=5432 dbname=agents user=writer"
    with psycopg.connect(conninfo, password=PASSWORDS["WRITER_PASSWORD"], autocommit=True) as writer:
        assert 1 == writer.execute(ACTION).rowcount
        for statement in (
            "UPDATE agent_actions SET agent_name = 'a'",
            "DELETE FROM agent_actions",
            "SELECT FROM dupe_audit.run",
            "CREATE TABLE mine ()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                writer.execute(statement)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(conninfo, password=PASSWORDS["MIGRATOR_PASSWORD"], connect_timeout=5)


def test_cleans_or_says_why_not(start, admin):
    """Duplicates do not stop the job, divergent ones do with Alembic's exit code, and without them it goes on."""
    start("migrate", "alembic", "upgrade", "014").ended(0)
    admin(f"{ACTION} FROM generate_series(1, 3)")
    assert "2 extras to archive" in start("migrate").ended(0)
    assert [(1, 2)] == admin("SELECT (SELECT count(*) FROM agent_actions), sum(archived) FROM dupe_audit.run")

    start("migrate", "alembic", "downgrade", "016").ended(0)
    admin(f"{DECISION} FROM generate_series(1, 2) AS n")
    assert "divergent-duplicates" in start("migrate").ended(255)
    assert [("016", 2)] == admin(
        "SELECT version_num, (SELECT count(*) FROM agent_routing_decisions) FROM alembic_version"
    )

    admin("DELETE FROM agent_routing_decisions WHERE user_request = 'request 2'")
    start("migrate").ended(0)


def test_stops_without_a_server(start):
    """Where nothing can be reached, the job ends with preflight's exit code and does not try the upgrade."""
    output = start("migrate", DATABASE_URL="postgresql://migrator@localhost:1/agents").ended(3)

    assert 1 == output.count("Cannot connect")
    assert PASSWORDS["MIGRATOR_PASSWORD"] not in output
