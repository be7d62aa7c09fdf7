"""The stack's migrate job: deploy/migrate, started as its container would start it."""

import psycopg
import pytest

from dupe_audit.embedded import Server
from stack import ACTION, DECISION, PASSWORDS

pytestmark = pytest.mark.min_pg(15)  # the first psql with \getenv, which the scripts use; the stack's own is 17


@pytest.mark.thorough
def test_new_database_is_migrated(start, admin, cluster):
    """On a new database the job continues despite preflight's findings, grants INSERT, and can be repeated."""
    output = start("migrate").ended(0)
    assert 3 == output.count("table-missing"), output
    assert [("018", "migrator")] == admin(
        "SELECT version_num, tableowner FROM alembic_version, pg_tables WHERE tablename = 'agent_actions'"
    )

    check_privileges_of_the_consumers(cluster)
    assert "No pending revision" in start("migrate").ended(0)


def check_privileges_of_the_consumers(cluster: Server) -> None:
    """Check that the consumers' role may insert rows, but not change them, read the ledger or log in as migrator."""
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


@pytest.mark.thorough
def test_job_cleans_or_reports_divergent_duplicates(start, admin):
    """Exact duplicates do not stop the job; divergent ones do, with Alembic's exit code, until they are removed."""
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


@pytest.mark.thorough
def test_job_stops_without_a_server(start):
    """If the server cannot be reached, the job ends with preflight's exit code and does not try the upgrade."""
    output = start("migrate", DATABASE_URL="postgresql://migrator@localhost:1/agents").ended(3)

    assert 1 == output.count("Cannot connect")
    assert PASSWORDS["MIGRATOR_PASSWORD"] not in output
