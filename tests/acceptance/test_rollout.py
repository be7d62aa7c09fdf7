"""Upgrade and downgrade under running writers, which are deployed first: no event is lost, no error raised."""

import random
import threading
import time
import uuid
from collections import Counter

import pytest

from dupe_audit.model import UniqueKey
from dupe_audit.writer import Writer, delivery
from waiting import PATIENCE, wait_for

NAME = "unique_action_per_correlation_timestamp"
KEY = UniqueKey(table="agent_actions", columns=("correlation_id", "action_name", "created_at"), name=NAME)
COLUMNS = ["correlation_id", "agent_name", "action_type", "action_name", "created_at"]
EXTRAS = (
    "SELECT coalesce(sum(n - 1), 0)::int FROM (SELECT count(*) AS n FROM agent_actions "
    "GROUP BY correlation_id, action_name, created_at) AS k"
)


class Service(threading.Thread):
    """A running consumer: it writes batches of new events, every tenth of which is redelivered later."""

    def __init__(self, writer: Writer, seed: int) -> None:
        super().__init__(daemon=True)
        self.writer, self.random = writer, random.Random(seed)  # noqa: S311
        self.stopped, self.error, self.mode = threading.Event(), None, None
        self.produced: list[tuple] = []
        self.kinds: Counter[str] = Counter()

    def batch(self) -> list[tuple]:
        """Return a batch with redeliveries."""
        new = [
            (str(uuid.UUID(int=self.random.getrandbits(128))), "agent", "tool_call", "Read", "2030-01-31T12:00:00Z")
            for _ in range(18)
        ]
        again = self.random.sample(self.produced, 2) if len(self.produced) > 2 else []
        self.produced += new
        return new + again

    def run(self) -> None:
        """Write until asked to stop; keep the error, if any."""
        try:
            while not self.stopped.is_set():
                self.kinds.update(outcome.kind for outcome in self.writer.write(self.batch()))
                self.mode = self.writer.arbiter.mode
                time.sleep(0.02)
        except Exception as error:
            self.error = error
            raise

    @property
    def keys(self) -> set[str]:
        """The correlation ids of all events so far; no two events share one."""
        return {row[0] for row in self.produced}


@pytest.fixture
def services(agent_actions, psycopg_connect, monkeypatch):
    """Two running consumers on a table without the constraint, which has duplicates."""
    monkeypatch.setattr(delivery, "PROBE_EVERY", 0.1)
    running = [Service(Writer(psycopg_connect(autocommit=True), KEY, COLUMNS), seed) for seed in (1, 2)]
    for service in running:
        service.start()
    yield running
    for service in running:
        service.stopped.set()
        service.join(PATIENCE)


def wait_for_mode(services, mode):
    """Wait until every writer uses this arbiter and has written some batches with it."""

    def healthy():
        assert [None, None] == [service.error for service in services]
        return True

    wait_for(lambda: healthy() and {mode} == {service.mode for service in services})
    marks = [len(service.produced) + 5 * 18 for service in services]
    wait_for(lambda: healthy() and all(len(s.produced) >= mark for s, mark in zip(services, marks, strict=True)))


@pytest.mark.thorough
def test_upgrade_and_downgrade_under_running_writers(services, alembic, dupe_audit, sql):
    """Upgrade and downgrade under running writers lose no event; the writers name the constraint while it is valid."""
    wait_for_mode(services, "any")
    alembic("upgrade", "015")
    wait_for_mode(services, "named")
    dupe_audit("verify", "--table", "agent_actions", "--name", NAME)
    assert [(0,)] == sql(EXTRAS)

    alembic("downgrade", "014")
    wait_for_mode(services, "any")
    alembic("upgrade", "015")
    wait_for_mode(services, "named")
    for service in services:
        service.stopped.set()
        service.join(PATIENCE)

    assert [None, None] == [service.error for service in services]
    assert {"inserted", "duplicate"} >= {kind for service in services for kind in service.kinds}
    assert all(service.kinds["duplicate"] for service in services)
    stored = {str(key) for (key,) in sql("SELECT correlation_id FROM agent_actions")}
    assert set() == set.union(*(service.keys for service in services)) - stored
    assert [(0,)] == sql(EXTRAS)
