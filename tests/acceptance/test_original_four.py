"""The four tests of the original change, with the real writer on the reference project."""

import threading
import uuid

import pytest

from dupe_audit.model import UniqueKey
from dupe_audit.writer import Writer
from waiting import PATIENCE

NAME = "unique_action_per_correlation_timestamp"
KEY = UniqueKey(table="agent_actions", columns=("correlation_id", "action_name", "created_at"), name=NAME)
COLUMNS = ["correlation_id", "agent_name", "action_type", "action_name", "action_details", "debug_mode", "created_at"]


def event(at="2030-01-31T12:00:00.000001Z", correlation_id="6f1f8f2e-0000-4000-8000-000000000001"):
    """Return one agent action as a consumer writes it."""
    return (correlation_id, "researcher", "tool_call", "Read", {"file": "a.py"}, True, at)


@pytest.fixture
def migrated(psycopg_connect):
    """Make a writer of the reference project's table after its migration."""

    def make():
        return Writer(psycopg_connect(autocommit=True), KEY, COLUMNS)

    return make


def test_the_constraint_exists(migrated, sql):
    """The migration creates a valid unique constraint with the documented name and columns."""
    assert [(f"UNIQUE ({', '.join(KEY.columns)})", True)] == sql(
        "SELECT pg_get_constraintdef(con.oid), i.indisvalid FROM pg_constraint con"
        f" JOIN pg_index i ON i.indexrelid = con.conindid WHERE con.conname = '{NAME}'"
    )
    assert "named" == migrated().arbiter.mode


def test_a_duplicate_is_prevented(migrated, sql):
    """An event that is delivered twice is one row, and the second delivery gets that row's id."""
    writer = migrated()
    first, second = writer.write_one(event()), writer.write_one(event())
    assert ["inserted", "duplicate"] == [first.kind, second.kind]
    assert first.id == second.id
    assert [(first.id,)] == sql("SELECT id FROM agent_actions")


def test_ten_concurrent_inserts(migrated, sql):
    """Ten consumers that write the same event at the same moment insert one row."""
    writers = [migrated() for _ in range(10)]
    barrier, done = threading.Barrier(10, timeout=PATIENCE), []

    def write(writer):
        writer.probe()
        barrier.wait()
        done.append(writer.write_one(event()).kind)

    threads = [threading.Thread(target=write, args=[writer]) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["duplicate"] * 9 + ["inserted"] == sorted(done)
    assert [(1,)] == sql("SELECT count(*) FROM agent_actions")


def test_different_timestamps_are_different_events(migrated, sql):
    """The same action a microsecond later, or with another correlation id, is another row."""
    outcomes = migrated().write(
        [event(), event(at="2030-01-31T12:00:00.000002Z"), event(correlation_id=str(uuid.UUID(int=2)))]
    )
    assert ["inserted"] * 3 == [outcome.kind for outcome in outcomes]
    assert [(3,)] == sql("SELECT count(*) FROM agent_actions")
