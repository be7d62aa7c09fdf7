"""From the broker into the table: events per second, where the time goes, and memory over a million events.

``PYTHONPATH=tests python benchmarks/consumer.py [--events N] [--million]``: real consumers, each in its own process,
read a topic that is already full, from the broker of the tests (or the one of DUPE_AUDIT_KAFKA), into the reference
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

#: the method of the consumer whose calls make up each part of its time
PARTS = {
    "decode": ("batch", "EventBatch", "__init__"),
    "write": ("database", "Database", "write"),
    "dead letters": ("dlq", "DeadLetters", "send"),
    "poll": ("source", "Source", "poll"),
    "commit": ("source", "Source", "commit"),
}


@dataclass
class Figures:
    """The measurements of one run."""

    rate: float
    parts: dict[str, float]
    memory: list[int]  #: MB used by the first consumer, after each *step* of events and at the end


def timed(arguments: list[str]) -> None:
    """Run a consumer that prints at its end how long each part has taken."""
    import importlib

    from dupe_audit.cli import main as run

    spent = dict.fromkeys(PARTS, 0.0)

    def timed_method(part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                spent[part] += time.perf_counter() - started

        return timed_call

    for part, (module, name, method) in PARTS.items():
        owner = getattr(importlib.import_module(f"dupe_audit.consumer.{module}"), name)
        setattr(owner, method, timed_method(part, getattr(owner, method)))
    started = time.process_time()
    sys.argv = ["dupe-audit", "consume", *arguments]
    try:
        run()
    finally:
        print(json.dumps({"spent": spent, "cpu": time.process_time() - started}), flush=True)


def events(count: int, duplicates: float, poison: float) -> Iterator[bytes]:
    """Yield events: a share repeats earlier ones, and another share can never become a row."""
    rng = random.Random(7)  # noqa: S311 - the same events each time
    first, last = datetime(2030, 1, 31, tzinfo=UTC), [b""] * 2000
    for number in range(count):
        at = first + timedelta(milliseconds=number)
        if number > len(last) and rng.random() < duplicates:
            yield rng.choice(last)
            continue
        event = {
            "correlation_id": str(uuid.UUID(int=rng.getrandbits(128))),
            "agent_name": "researcher",
            "action_type": "tool_call",
            "action_name": rng.choice(["Read", "Edit", "Bash"]),
            "action_details": {"file": f"src/module_{number % 97}.py", "lines": number % 1000},
            "debug_mode": True,
            "duration_ms": number % 5000,
            "timestamp": at.isoformat().replace("+00:00", "Z"),
        }
        if rng.random() < poison:  # half of it only the server can reject
            yield json.dumps(event | ({"action_type": "dance"} if number % 2 else {"duration_ms": "12"})).encode()
            continue
        last[number % len(last)] = json.dumps(event).encode()
        yield last[number % len(last)]


def produce(kafka: Broker, topic: str, count: int, poison: float) -> None:
    """Create a topic and its dead-letter topic, and fill the topic with events."""
    kafka.create(topic, PARTITIONS)
    kafka.create(f"{topic}-dlq", PARTITIONS)
    producer = Producer(
        {"bootstrap.servers": kafka.address, "linger.ms": 20, "queue.buffering.max.messages": 1_000_000}
    )
    for number, value in enumerate(events(count, 0.2, poison)):
        producer.produce(topic, value, partition=number % PARTITIONS)
        if number % 1000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise SystemExit("the broker does not accept the events")


@contextmanager
def consumers(number: int, config: Path, url: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Start consumers, and kill those that remain at the end."""
    with ExitStack() as stack:
        processes = []
        for _ in range(number):
            process = subprocess.Popen(
                [sys.executable, __file__, "--timed", str(config)],
                env={**os.environ, "DATABASE_URL": url},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            stack.callback(process.kill)
            processes.append(process)
        yield processes


def memory_of(process: subprocess.Popen[str]) -> int:
    """Return the resident memory in MB, or 0 if the system does not report it."""
    status = Path(f"/proc/{process.pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


def measure(kafka: Broker, url: str, topic: str, total: int, *, number: int, rows: int, step: int = 100_000) -> Figures:
    """Let consumers read the whole topic into an empty table."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE agent_actions")
        connection.execute("VACUUM ANALYZE agent_actions")
        connection.execute("CHECKPOINT")
    group = unique("bench")
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "consumer.toml"
        config.write_text(CONFIG.format(brokers=kafka.address, group=group, topic=topic, rows=rows))
        observer = Consumer({"bootstrap.servers": kafka.address, "group.id": group})
        partitions = [TopicPartition(topic, partition) for partition in range(PARTITIONS)]
        memory: list[int] = []
        with consumers(number, config, url) as processes:
            started, first, done = 0.0, 0, 0
            while done < total:
                if any(process.poll() is not None for process in processes):
                    raise SystemExit("a consumer has ended")
                done = sum(max(0, partition.offset) for partition in observer.committed(partitions, timeout=10))
                if done and not started:
                    started, first = time.perf_counter(), done
                if done // step > len(memory):
                    memory.append(memory_of(processes[0]))
                time.sleep(0.02)
            seconds = time.perf_counter() - started
            memory.append(memory_of(processes[0]))
            parts = finish(processes)
        observer.close()
    return Figures((total - first) / seconds, parts, memory)


def finish(processes: list[subprocess.Popen[str]]) -> dict[str, float]:
    """End the consumers; return the seconds of each part of the first one, including its CPU time."""
    for process in processes:
        process.terminate()
    reports = [json.loads(process.communicate(timeout=60)[0].splitlines()[-1]) for process in processes]
    return {**reports[0]["spent"], "cpu": reports[0]["cpu"]}


def check(url: str, kafka: Broker, topic: str) -> str:
    """Return how many rows, keys and dead letters there are."""
    with psycopg.connect(url) as connection:
        rows, keys = connection.execute(
            "SELECT count(*), count(DISTINCT (correlation_id, action_name, created_at)) FROM agent_actions"
        ).fetchone() or (0, 0)
    reader = Consumer({"bootstrap.servers": kafka.address, "group.id": unique("reader"), "enable.auto.commit": False})
    reader.assign([TopicPartition(f"{topic}-dlq", partition, 0) for partition in range(PARTITIONS)])
    letters = 0
    while messages := reader.consume(10_000, 1.5):
        letters += len(messages)
    reader.close()
    return f"{rows:,} rows, {keys:,} keys, {letters:,} dead letters of all runs"


def line(name: str, figures: Figures, total: int) -> str:
    """Return a run as a line of the table, with the parts in microseconds per event."""
    parts = " ".join(f"{1e6 * seconds / total:8.1f}" for seconds in figures.parts.values())
    return f"{name:34} {figures.rate:9,.0f} {parts} {max(figures.memory):6}"


def main() -> None:
    """Measure, and print a table."""
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=150_000)
    options.add_argument("--rows", type=int, nargs="*", default=[100, 200, 500, 1000, 2000, 5000])
    options.add_argument("--million", action="store_true", help="also measure memory over a million events")
    arguments = options.parse_args()
    with ExitStack() as stack:
        server = stack.enter_context(Server.start(None, SETTINGS))
        kafka = stack.enter_context(broker(wire=False))
        url = make_url(server.url()).set(drivername="postgresql").render_as_string(hide_password=False)
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "015"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url},
            check=True,
            capture_output=True,
        )
        clean, poisoned = unique("clean"), unique("poisoned")
        produce(kafka, clean, arguments.events, 0)
        produce(kafka, poisoned, arguments.events, 0.003)
        print(f"{arguments.events:,} events in {PARTITIONS} partitions, 20 % duplicates; microseconds per event:\n")
        heads = " ".join(f"{part[:8]:>8}" for part in (*PARTS, "cpu"))
        print(f"{'':34} {'events/s':>9} {heads} {'MB':>6}", flush=True)
        best = (0.0, 0)
        for rows in arguments.rows:
            figures = measure(kafka, url, clean, arguments.events, number=1, rows=rows)
            best = max(best, (figures.rate, rows))
            print(line(f"one consumer, batches of {rows}", figures, arguments.events), flush=True)
        rows = best[1]
        figures = measure(kafka, url, clean, arguments.events, number=2, rows=rows)
        print(line(f"two consumers, batches of {rows}", figures, arguments.events // 2), flush=True)
        print(check(url, kafka, clean), flush=True)
        figures = measure(kafka, url, poisoned, arguments.events, number=1, rows=rows)
        print(line(f"0.3 % poison, batches of {rows}", figures, arguments.events), flush=True)
        print(check(url, kafka, poisoned), flush=True)
        if arguments.million:
            million = unique("million")
            produce(kafka, million, 1_000_000, 0.003)
            figures = measure(kafka, url, million, 1_000_000, number=1, rows=rows)
            print(line(f"a million, batches of {rows}", figures, 1_000_000))
            print(f"MB at each 100,000 events: {figures.memory}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--timed"]:
        timed(sys.argv[2:])
    else:
        main()
