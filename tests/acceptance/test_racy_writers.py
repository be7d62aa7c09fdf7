"""The demo's racy writers, at ten times their rate, do not keep the upgrade from enforcing the key."""

import threading
import time
from uuid import uuid4

import pytest

from dupe_audit.demo import traffic
from dupe_audit.demo.writers import raced
from waiting import wait_for

WRITERS = 4


@pytest.mark.torture
@pytest.mark.thorough
def test_upgrade_succeeds_against_the_demos_writers_at_ten_times_their_rate(
    alembic, sql, agent_actions, psycopg_connect, monkeypatch, patient
):
    """At ten times the rate, every event redelivered to all, the key is enforced, and every row is restored."""
    monkeypatch.setattr(traffic, "PERIOD", traffic.PERIOD / 10)
    stop, begun, group = threading.Event(), time.monotonic() + 0.2, uuid4().hex
    before = sql("SELECT count(*) FROM agent_actions")[0][0]
    # A cycle as long as its burst: every event is delivered to every writer.
    writers = [
        traffic.DemoWriter(psycopg_connect(autocommit=True), "old", f"{group} {number}", traffic.BURST)
        for number in range(WRITERS)
    ]
    threads = [threading.Thread(target=writer.work, args=[begun, stop]) for writer in writers]
    try:
        for thread in threads:
            thread.start()
        wait_for(lambda: raced([writer.report for writer in writers]))
        done = alembic("upgrade", "015", cwd=patient)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert "unique_action_per_correlation_timestamp" in done.stderr
    assert [("enforced",)] == sql("SELECT state FROM dupe_audit.run")
    assert [{}] * WRITERS == [writer.report.errors for writer in writers]
    alembic("downgrade", "014", cwd=patient)
    inserted = sum(writer.report.inserted for writer in writers)
    assert [(before + inserted,)] == sql("SELECT count(*) FROM agent_actions")
