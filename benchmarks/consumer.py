"""From the broker into the table: events a second, where the time goes, and memory over a million events.

``PYTHONPATH=tests python benchmarks/consumer.py [--events N] [--million]``: real consumers, in processes of their own,
read a topic that is full already, from the broker of the tests (or the one of DUPE_AUDIT_KAFKA), into the reference
project's table on a server that waits for its disk. The clock starts with the first committed offset, so that neither
the start of Python nor the group's first rebalance counts.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition
from sqlalchemy import make_url

from dupe_audit.embedded import Server
from torture.consumer.broker import Broker, broker, unique

ROOT = Path(__file__).parents[1]
PARTITIONS = 4
SETTINGS = {"max_wal_size": "4GB", "shared_buffers": "256MB"}

CONFIG = """
[table]
name = "agent_actions"
constraint = "unique_action_per_correlation_timestamp"
key = ["correlation_id", "action_name", "created_at"]
[columns]
correlation_id = {{ type = "uuid" }}
agent_name = {{ type = "text" }}
action_type = {{ type = "text" }}
action_name = {{ type = "text" }}
action_details = {{ type = "jsonb", default = {{}} }}
debug_mode = {{ type = "boolean", default = true }}
duration_ms = {{ type = "integer", required = false }}
created_at = {{ type = "timestamptz", field = "timestamp" }}
[kafka]
brokers = ["{brokers}"]
group = "{group}"
topics = ["{topic}"]
[kafka.librdkafka]
"session.timeout.ms" = 6000
"heartbeat.interval.ms" = 1000
[batch]
rows = {rows}
[http]
enabled = false
"""

#: which calls of the consumer a part of its time is spent in
PARTS = {
    "decode": ("batch", "EventBatch", "__init__"),
    "write": ("database", "Database", "write"),
    "dead letters": ("dlq", "DeadLetters", "send"),
    "poll": ("source", "Source", "poll"),
    "commit": ("source", "Source", "commit"),
}


@dataclass
class Figures:
    """What was measured of one run."""

    rate: float
    parts: dict[str, float]
    memory: list[int]  #: MB, of the first consumer, at each step of the events and at the end


def timed(arguments: list[str]) -> None:
    """Run a consumer that says at its end how long each part has taken."""
    import importlib

    from dupe_audit.cli import main as run

    spent = dict.fromkeys(PARTS, 0.0)

    def clocked(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def clocked_call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent[part] += time.perf_counter() - began

        return clocked_call

    for part, (module, name, method) in PARTS.items():
        owner = getattr(importlib.import_module(f"dupe_audit.consumer.{module}"), name)
        setattr(owner, method, clocked(part, getattr(owner, method)))
    began = time.process_time()
    sys.argv = ["dupe-audit", "consume", *arguments]
    try:
        run()
    finally:
        print(json.dumps({"spent": spent, "cpu": time.process_time() - began}), flush=True)


def events(count: int, duplicates: float, poison: float) -> Iterator[bytes]:
    """Yield events, of which a share is an earlier one again, and a share can never become a row."""
    chance = random.Random(7)  # noqa: S311 - the same events each time
    began, last = datetime(2030, 1, 31, tzinfo=UTC), [b""] * 2000
    for number in range(count):
        at = began + timedelta(milliseconds=number)
        if number > len(last) and chance.random() < duplicates:
            yield chance.choice(last)
            continue
        event = {
            "correlation_id": str(uuid.UUID(int=chance.getrandbits(128))),
            "agent_name": "researcher",
            "action_type": "tool_call",
            "action_name": chance.choice(["Read", "Edit", "Bash"]),
            "action_details": {"file": f"src/module_{number % 97}.py", "lines": number % 1000},
            "debug_mode": True,
            "duration_ms": number % 5000,
            "timestamp": at.isoformat().replace("+00:00", "Z"),
        }
        if chance.random() < poison:  # of one half only the server knows
            yield json.dumps(event | ({"action_type": "dance"} if number % 2 else {"duration_ms": "12"})).encode()
            continue
        last[number % len(last)] = json.dumps(event).encode()
        yield last[number % len(last)]


def produce(on: Broker, topic: str, count: int, poison: float) -> None:
    """Fill a topic."""
    on.create(topic, PARTITIONS)
    on.create(f"{topic}-dlq", PARTITIONS)
    producer = Producer({"bootstrap.servers": on.address, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000})
    for number, value in enumerate(events(count, 0.2, poison)):
        producer.produce(topic, value, partition=number % PARTITIONS)
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("the broker does not take the events")


@contextmanager
def consumers(number: int, config: Path, url: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Run consumers, and end them."""
    with ExitStack() as stack:
        started = []
        for _ in range(number):
            process = subprocess.Popen(
                [sys.executable, __file__, "--timed", str(config)],
                env={**os.environ, "DATABASE_URL": url},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stack.callback(process.kill)
            started.append(process)
        yield started


def memory_of(process: subprocess.Popen[str]) -> int:
    """Return the resident memory in MB; 0 where the system does not say."""
    status = Path(f"/proc/{process.pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


def measure(on: Broker, url: str, topic: str, total: int, *, number: int, rows: int, step: int = 100_000) -> Figures:
    """Let consumers read the whole topic into an empty table."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE agent_actions")
        connection.execute("VACUUM ANALYZE agent_actions")
        connection.execute("CHECKPOINT")
    group = unique("bench")
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "consumer.toml"
        config.write_text(CONFIG.format(brokers=on.address, group=group, topic=topic, rows=rows))
        observer = Consumer({"bootstrap.servers": on.address, "group.id": group})
        wanted = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        memory: list[int] = []
        with consumers(number, config, url) as started:
            began, first, done = 0.0, 0, 0
            while done < total:
                if any(process.poll() is not None for process in started):
                    raise SystemExit("a consumer has ended")
                done = sum(max(0, partition.offset) for partition in observer.committed(wanted, timeout=10))
                if done and not began:
                    began, first = time.perf_counter(), done
                if done // step > len(memory):
                    memory.append(memory_of(started[0]))
                time.sleep(0.02)
            seconds = time.perf_counter() - began
            memory.append(memory_of(started[0]))
            parts = finish(started)
        observer.close()
    return Figures((total - first) / seconds, parts, memory)


def finish(started: list[subprocess.Popen[str]]) -> dict[str, float]:
    """End the consumers; return the seconds of each part of the first one, its processor's among them."""
    for process in started:
        process.terminate()
    reports = [json.loads(process.communicate(timeout=60)[0].splitlines()[-1]) for process in started]
    return {**reports[0]["spent"], "cpu": reports[0]["cpu"]}


def check(url: str, on: Broker, topic: str) -> str:
    """Say what became of the events."""
    with psycopg.connect(url) as connection:
        rows, keys = connection.execute(
            "SELECT count(*), count(DISTINCT (correlation_id, action_name, created_at)) FROM agent_actions"
        ).fetchone() or (0, 0)
    reader = Consumer({"bootstrap.servers": on.address, "group.id": unique("reader"), "enable.auto.commit": False})
    reader.assign([TopicPartition(f"{topic}-dlq", partition, 0) for partition in range(PARTITIONS)])
    letters = 0
    while messages := reader.consume(10_000, 1.5):
        letters += len(messages)
    reader.close()
    return f"{rows:,} rows, {keys:,} keys, {letters:,} dead letters of all runs"


def line(name: str, figures: Figures, total: int) -> str:
    """Return a run as a line of the table; parts as microseconds an event."""
    parts = " ".join(f"{1e6 * seconds / total:8.1f}" for seconds in figures.parts.values())
    return f"{name:34} {figures.rate:9,.0f} {parts} {max(figures.memory):6}"


def main() -> None:
    """Print a table."""
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=150_000)
    options.add_argument("--rows", type=int, nargs="*", default=[100, 200, 500, 1000, 2000, 5000])
    options.add_argument("--million", action="store_true", help="also the memory over a million events")
    arguments = options.parse_args()
    with ExitStack() as stack:
        server = stack.enter_context(Server.start(None, SETTINGS))
        on = stack.enter_context(broker(wire=False))
        url = make_url(server.url()).set(drivername="postgresql").render_as_string(hide_password=False)
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "015"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url},
            check=True,
            capture_output=True,
        )
        clean, poisoned = unique("clean"), unique("poisoned")
        produce(on, clean, arguments.events, 0)
        produce(on, poisoned, arguments.events, 0.003)
        print(
            f"{arguments.events:,} events in {PARTITIONS} partitions, 20 % of them duplicates; microseconds an event:\n"
        )
        heads = " ".join(f"{part[:8]:>8}" for part in (*PARTS, "cpu"))
        print(f"{'':34} {'events/s':>9} {heads} {'MB':>6}", flush=True)
        best = (0.0, 0)
        for rows in arguments.rows:
            figures = measure(on, url, clean, arguments.events, number=1, rows=rows)
            best = max(best, (figures.rate, rows))
            print(line(f"one consumer, batches of {rows}", figures, arguments.events), flush=True)
        rows = best[1]
        figures = measure(on, url, clean, arguments.events, number=2, rows=rows)
        print(line(f"two consumers, batches of {rows}", figures, arguments.events // 2), flush=True)
        print(check(url, on, clean), flush=True)
        figures = measure(on, url, poisoned, arguments.events, number=1, rows=rows)
        print(line(f"0.3 % poison, batches of {rows}", figures, arguments.events), flush=True)
        print(check(url, on, poisoned), flush=True)
        if arguments.million:
            million = unique("million")
            produce(on, million, 1_000_000, 0.003)
            figures = measure(on, url, million, 1_000_000, number=1, rows=rows)
            print(line(f"a million, batches of {rows}", figures, 1_000_000))
            print(f"MB at each 100,000 events: {figures.memory}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--timed"]:
        timed(sys.argv[2:])
    else:
        main()
