"""The stack's three consumers with a broker, started as their containers would start them."""

import contextlib
import json
import os
import re
import subprocess
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator

import pytest

from kafka import Broker
from stack import ACTION, BIN, CONSUMERS, DEPLOY, PASSWORDS, Started
from waiting import PATIENCE, wait_for

pytestmark = pytest.mark.min_pg(15)  # the first psql with \getenv, which the scripts use; the stack's own is 17


@pytest.fixture
def broker(tmp_path, services) -> Iterator[Broker]:
    """A broker with the topics that the topics job creates, one per test because the names are fixed."""
    (script,) = services["topics"]["command"][2:]
    with Broker.start(tmp_path) as running:
        for topic in re.search(r"for topic in (.*); do", script)[1].split():
            for name in (topic, f"{topic}-dlq"):
                running.topic(3, name)
        yield running


def event(name: str, **changes) -> dict:
    return json.loads((DEPLOY / "events" / f"{name}.json").read_text()) | changes


@pytest.fixture
def start_consumers(start, broker):
    """Start the named consumers, or all three; return each with the port of its metrics."""

    def run(*names: str, **changes: str) -> dict[str, tuple[Started, int]]:
        places = {"KAFKA_BROKERS": broker.address, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0"}
        running = {name: start(name, **places, **changes) for name in names or CONSUMERS}
        return {name: (started, served_at(started)) for name, started in running.items()}

    return run


def served_at(consumer: Started) -> int:
    """Return the port of a consumer's metrics, as soon as it has logged it."""

    def address() -> str | None:
        logged = re.search(r'"event": "started".*"http": "[^"]*:(\d+)"', consumer.log.read_text())
        assert logged or consumer.process.poll() is None, consumer.log.read_text()
        return logged and logged[1]

    return int(wait_for(address))


def page(port: int) -> str:
    """Return the text of a consumer's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        return answer.read().decode()


def metric(port: int, name: str) -> float:
    """Return the sum of a metric's samples."""
    lines = [line for line in page(port).splitlines() if re.match(rf"dupe_audit_consumer_{re.escape(name)}[ {{]", line)]
    return sum(float(line.split()[-1]) for line in lines)


def health(port: int) -> int:
    """Run the image's health check; return its exit code."""
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    command = json.loads(re.search(r"HEALTHCHECK .*\n +CMD (\[.*\])$", dockerfile, flags=re.MULTILINE)[1])
    environment = {"PATH": f"{BIN}:{os.defpath}", "HTTP_PORT": str(port)}
    return subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=False).returncode


TABLES = ("agent_actions", "agent_routing_decisions", "agent_manifest_injections")
ROWS = "SELECT " + ", ".join(f"(SELECT count(*)::int FROM {table})" for table in TABLES)


LATE = "22222222-2222-2222-2222-222222222222"


@pytest.mark.slow
@pytest.mark.thorough
def test_events_become_rows_once(start, admin, broker, start_consumers):
    """Each event is one row, an early child is replayed, all metrics in use are exported, and a stop is clean."""
    start("migrate").ended(0)
    consumers = start_consumers()
    broker.produce("agent-actions", [event("agent-actions")] * 2 + [b"no JSON"])
    broker.produce("agent-routing-decisions", [event("routing-decisions")] * 2)
    wait_for(lambda: [(1, 1, 0)] == admin(ROWS))
    early = event("manifest-injections", agent_name="tester", routing_decision_id=LATE)
    broker.produce("agent-manifest-injections", [event("manifest-injections")] * 2 + [early])
    wait_for(lambda: [(1, 1, 1)] == admin(ROWS))

    for _, port in consumers.values():
        wait_for(lambda port=port: metric(port, "duplicates_total") + metric(port, "in_batch_duplicates_total") == 1)
        wait_for(lambda port=port: metric(port, "ready"))
        assert (0, 1) == (health(port), metric(port, 'arbiter{mode="named"}'))
        assert set() == metrics_in_use() - set(re.findall(r"^# TYPE (\w+)", page(port), flags=re.MULTILINE))
    wait_for(lambda: [metric(port, "dlq_messages_total") for _, port in consumers.values()] == [1, 0, 1])

    broker.produce("agent-routing-decisions", [event("routing-decisions", id=LATE, selected_agent="tester")])
    wait_for(lambda: [(1, 2, 1)] == admin(ROWS))
    replay = ("dupe-audit", "consume", "consumers/manifest-injections.toml", "--replay-dlq")
    places = {"KAFKA_BROKERS": broker.address, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0"}
    start("intelligence-consumer", *replay, **places).ended(0)
    assert [(1, 2, 2)] == admin(ROWS)

    for consumer, _ in consumers.values():
        consumer.process.terminate()
    for consumer, port in consumers.values():
        printed = consumer.ended(0)
        assert 1 == health(port)
        assert [] == [password for password in PASSWORDS.values() if password in printed]


def metrics_in_use() -> set[str]:
    """Return the metrics that the alert rules and the dashboard use."""
    files = [(DEPLOY / "monitoring" / name).read_text() for name in ("alerts.yml", "dashboard.json")]
    named = re.findall(r"dupe_audit_consumer_\w+", "".join(files))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}


@pytest.fixture
def traffic(broker) -> Iterator[Callable[[], int]]:
    """Send new actions, each twice, until the returned function is called; that returns their number."""
    done, sent = threading.Event(), []

    def run():
        while not done.wait(0.05):
            action = event("agent-actions", correlation_id=str(uuid.uuid4()))
            broker.produce("agent-actions", [action, action])
            sent.append(action)

    thread = threading.Thread(target=run)
    thread.start()

    def stop():
        done.set()
        thread.join()
        return len(sent)

    yield stop
    stop()


@pytest.mark.slow
@pytest.mark.thorough
def test_consumer_runs_through_rollout_and_rollback(start, admin, broker, start_consumers, traffic):
    """During upgrade and downgrade the consumer loses no event, and names the constraint while it exists."""
    start("migrate", "alembic", "upgrade", "014").ended(0)
    admin(f"{ACTION} FROM generate_series(1, 300)")
    ((consumer, port),) = start_consumers("agent-consumer", ROLLOUT="true").values()

    def arbiter_is(mode):
        with contextlib.suppress(OSError):  # it serves no metrics before it has started
            return metric(port, f'arbiter{{mode="{mode}"}}')

    wait_for(lambda: arbiter_is("any") and metric(port, "inserted_total"))
    for command, mode in (((), "named"), (("alembic", "downgrade", "014"), "any")):
        start("migrate", *command).ended(0)
        wait_for(lambda mode=mode: arbiter_is(mode))
    sent = traffic()

    wait_for(lambda: 2 * sent == sum(metric(port, f"{outcome}_total") for outcome in SETTLED))
    assert 0 == metric(port, "rejected_total")
    # The rows include those inserted before and after the constraint, and those restored by the downgrade.
    assert [(1 + sent, 300 + metric(port, "inserted_total"))] == admin(
        "SELECT count(DISTINCT correlation_id), count(*) FROM agent_actions"
    )
    consumer.stopped()


#: the outcomes of an event that is not rejected
SETTLED = ("inserted", "duplicates", "in_batch_duplicates", "collisions")
