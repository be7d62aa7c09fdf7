"""Brokers and consumers, shared with other suites."""

import socketserver

import pytest

pytest.importorskip("confluent_kafka", reason="needs the extra kafka")

from dupe_audit.consumer import loop, source
from kafka import broker, consume, consumer_file, inside, mock, url  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the pauses of a consumer in this process; no test is about their length."""
    monkeypatch.setattr(loop, "FIRST_PAUSE", 0.02)
    monkeypatch.setattr(loop, "LONGEST_PAUSE", 0.2)
    monkeypatch.setattr(source, "COMMIT_EVERY", 0.05)
    monkeypatch.setattr(
        socketserver.BaseServer.serve_forever, "__defaults__", (0.02,)
    )  # seconds; it can stop only between two polls


@pytest.fixture
def waiting_for_locks(sql):
    """Return how many sessions of the test's database wait for a lock."""
    question = "SELECT count(DISTINCT pid) FROM pg_stat_activity JOIN pg_locks USING (pid)"
    return lambda: sql(f"{question} WHERE datname = current_database() AND NOT granted")[0][0]
