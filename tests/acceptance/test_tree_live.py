"""The reference project's table, partitioned by month, goes up, down and up while racy writers insert."""

import threading
import time
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from dupe_audit.demo.traffic import DemoWriter, Event
from dupe_audit.demo.writers import raced
from waiting import wait_for

WRITERS = 4
PARTITIONED = """
ALTER TABLE agent_actions RENAME TO plain;
CREATE TABLE agent_actions (LIKE plain INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (id, created_at))
    PARTITION BY RANGE (created_at);
CREATE TABLE agent_actions_2025_12 PARTITION OF agent_actions FOR VALUES FROM ('2025-12-01Z') TO ('2026-01-01Z');
CREATE TABLE agent_actions_2026_01 PARTITION OF agent_actions FOR VALUES FROM ('2026-01-01Z') TO ('2026-02-01Z');
CREATE TABLE agent_actions_2026_02 PARTITION OF agent_actions FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
CREATE TABLE agent_actions_rest PARTITION OF agent_actions DEFAULT;
CREATE INDEX ON agent_actions (correlation_id, created_at DESC);
INSERT INTO agent_actions SELECT * FROM plain;
DROP TABLE plain
"""
PARTS = (
    "SELECT indisvalid FROM pg_index WHERE indisunique AND NOT indisprimary AND indrelid::regclass::text ~ 'actions'"
)


class MonthlyWriter(DemoWriter):
    """A racy writer whose events lie in three months, so that it writes to three leaves."""

    def event(self, number: int, *, consumer: bool = True) -> Event:
        """Return event *number*, moved to the month that its number selects."""
        event = super().event(number, consumer=consumer)
        trace, action, created_at = event.key
        return replace(event, key=(trace, action, created_at + timedelta(days=31 * (number % 3))))


@pytest.fixture
def upgrade(request, alembic, patient):
    """Upgrade to the constraint: online, or by a script that psql executes."""
    if request.param == "online":
        return lambda: alembic("upgrade", "015", cwd=patient)
    psql = request.getfixturevalue("psql")  # not all of the tests' servers have it

    def execute_script():
        done = psql(alembic("-x", "dupe_audit.partitioned=agent_actions", "upgrade", "014:015", "--sql").stdout)
        assert done.returncode == 0, done.stderr

    return execute_script


@pytest.mark.torture
@pytest.mark.thorough
@pytest.mark.parametrize("upgrade", ["online", "script"], indirect=True)
def test_partitioned_reference_table_up_down_and_up(alembic, upgrade, dupe_audit, sql, agent_actions, psycopg_connect):
    """Under racy writers in three leaves, each upgrade enforces the key on every leaf, and no row is lost."""
    sql(PARTITIONED)
    before = sql("SELECT count(*) FROM agent_actions")[0][0]
    stop, begun, group = threading.Event(), time.monotonic() + 0.2, uuid4().hex
    writers = [
        MonthlyWriter(psycopg_connect(autocommit=True), "old", f"{group} {number}", 40) for number in range(WRITERS)
    ]
    threads = [threading.Thread(target=writer.work, args=[begun, stop]) for writer in writers]
    try:
        for thread in threads:
            thread.start()
        for _ in range(2):
            count = raced([writer.report for writer in writers])
            wait_for(lambda count=count: raced([writer.report for writer in writers]) > count)
            upgrade()
            assert [(True,)] * 5 == sql(PARTS)
            dupe_audit("verify")
            alembic("downgrade", "014")
            assert [] == sql(PARTS)
        upgrade()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [{}] * WRITERS == [writer.report.errors for writer in writers]
    inserted = sum(writer.report.inserted for writer in writers)
    archived = sql("SELECT sum(archived - restored) FROM dupe_audit.run")[0][0]
    assert [(before + inserted - archived,)] == sql("SELECT count(*) FROM agent_actions")
    alembic("downgrade", "014")
    assert [(before + inserted,)] == sql("SELECT count(*) FROM agent_actions")
