"""A role without rights prepares schema dupe_audit, and a superuser uses every command: nothing of it is executed."""

import uuid

import pytest

from traps import SPRUNG, trap

NAME = "unique_action_per_correlation_timestamp"


@pytest.fixture
def stranger(sql):
    """A role that may create schemas in this database, and nothing else."""
    name = f"dupe_audit_stranger_{uuid.uuid4().hex[:8]}"
    ((database,),) = sql("SELECT current_database()")
    sql(f'CREATE ROLE {name}; GRANT CREATE ON DATABASE "{database}" TO {name}')
    yield name
    sql(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


@pytest.mark.parametrize("kind", ["constant in a view", "trigger"])
@pytest.mark.representatives("trigger")
def test_no_command_of_a_superuser_executes_what_a_stranger_prepared(
    alembic, dupe_audit, psql, sql, agent_actions, stranger, kind
):
    """Each command, directive and script refuses the ledger before it reads it, and changes nothing."""
    sql(trap(stranger, kind, table="agent_actions", key="correlation_id", constraint=NAME))
    sql(
        f"ALTER TABLE agent_actions ADD COLUMN n serial; ALTER TABLE agent_actions ADD CONSTRAINT {NAME} "
        "UNIQUE (correlation_id, action_name, created_at, n)"
    )
    outputs = {
        command: done.stdout + done.stderr
        for command, done in (
            ("runs", dupe_audit("runs", code=1)),
            ("runs as json", dupe_audit("runs", "--format", "json", code=1)),
            ("restore", dupe_audit("restore", "1", code=1)),
            ("purge", dupe_audit("purge", "1", "--yes", code=1)),
            ("watch", dupe_audit("watch", "--once", code=1)),
            ("watch on", dupe_audit("watch", "--until-done", code=1)),
            ("preflight", dupe_audit("preflight", code=1)),
            ("verify", dupe_audit("verify", "--table", "agent_actions", "--name", NAME, code=1)),
            ("upgrade", alembic("upgrade", "015", code=255)),
            ("upgrade by script", psql(alembic("upgrade", "014:015", "--sql").stdout, stop="0")),
        )
    }
    sql("UPDATE alembic_version SET version_num = '015'")
    outputs["downgrade"] = alembic("downgrade", "014", code=255).stderr
    outputs["downgrade by script"] = psql(alembic("downgrade", "015:014", "--sql").stdout, stop="0").stderr

    assert [command for command, output in outputs.items() if "untrusted-ledger" not in output] == []
    assert [(False,)] == sql(SPRUNG.format(role=stranger))
    assert [("015", 1060)] == sql("SELECT version_num, (SELECT count(*) FROM agent_actions) FROM alembic_version")
    assert [(NAME,)] == sql(
        "SELECT conname FROM pg_constraint WHERE contype = 'u' AND conrelid = 'agent_actions'::regclass"
    )
