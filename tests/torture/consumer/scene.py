"""A scene's database, topics and configuration, and how to read back their contents."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Consumer, TopicPartition
from sqlalchemy import make_url

from torture.consumer.broker import DLQ_PARTITIONS, PARTITIONS, QUIET, SESSION_TIMEOUT, Broker, unique
from torture.consumer.events import EPOCH, Content, data_of, key_of
from torture.consumer.facts import Stored
from torture.world import NO_INDEX, World

ROOT = Path(__file__).parents[3]
BARE, HEAD = "014", "015"
CONSTRAINT = "unique_action_per_correlation_timestamp"
NAMES = "correlation_id, action_name, created_at, agent_name, action_type, action_details, debug_mode, duration_ms"

#: The breaker counts redelivered messages again, and by chance one batch in a hundred has a tenth of poison.
CONFIG = f"""
[table]
name = "agent_actions"
constraint = "{CONSTRAINT}"
key = ["correlation_id", "action_name", "created_at"]
rollout = true

[columns]
correlation_id = {{ type = "uuid" }}
agent_name     = {{ type = "text" }}
action_type    = {{ type = "text" }}
action_name    = {{ type = "text" }}
action_details = {{ type = "jsonb", default = {{}} }}
debug_mode     = {{ type = "boolean", default = true }}
duration_ms    = {{ type = "integer", required = false }}
created_at     = {{ type = "timestamptz", field = "timestamp" }}

[kafka]
brokers = ["%(brokers)s"]
group = "%(group)s"
topics = ["%(topic)s"]

[kafka.librdkafka]
"session.timeout.ms" = {SESSION_TIMEOUT}
"heartbeat.interval.ms" = 300
"reconnect.backoff.max.ms" = 500
"retry.backoff.max.ms" = 300

[database]
lock_timeout = "2s"
statement_timeout = "10s"

[batch]
rows = %(rows)s
linger = "50ms"

[events]
tombstones = "dlq"
collisions = "dlq"

[breaker]
share = 0.25

[http]
enabled = false
"""


#: seconds in which a member that joins an idle group has to get partitions
JOINED_WITHIN = 60.0


@dataclass(frozen=True)
class Scene:
    """The places of everything."""

    world: World
    broker: Broker
    topic: str
    group: str
    directory: Path

    @property
    def config(self) -> Path:
        """The consumers' file."""
        return self.directory / "consumer.toml"

    def environment(self) -> dict[str, str]:
        """Return the environment of a program that works in the scene."""
        paths = os.pathsep.join(path for path in sys.path if path)
        url = make_url(self.world.url).set(drivername="postgresql").render_as_string(hide_password=False)
        return {**os.environ, "PYTHONPATH": paths, "DATABASE_URL": url}

    def migrate(self, direction: str, revision: str) -> str | None:
        """Run Alembic on the reference project; return its last words if it fails."""
        return migrate(self.environment(), direction, revision)

    def enforced(self) -> bool:
        """Return whether the constraint exists."""
        return self.world.ask(f"SELECT count(*) FROM pg_constraint WHERE conname = '{CONSTRAINT}'") == [1]

    def table(self, numbers: Collection[int] | None = None) -> list[Stored]:
        """Return the rows of the table, or only those of some events."""
        if numbers is not None:
            times = [key_of(number)[2] for number in numbers]
            with self.world.connect() as connection:
                return _rows(connection, f"SELECT {NAMES} FROM agent_actions WHERE created_at = ANY (%s)", (times,))
        with self.world.connect(options=NO_INDEX) as connection:
            return _rows(connection, f"SELECT {NAMES} FROM agent_actions")

    def archive(self) -> list[Stored]:
        """Return the archived rows that no downgrade has restored."""
        rows = []
        with self.world.connect(options=NO_INDEX) as connection:
            archives = connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('dupe_audit') "
                "AND relname ~ '^archive_[0-9]+$' AND relkind = 'r'"
            ).fetchall()
            for (name,) in archives:
                archive = f"dupe_audit.{name} WHERE dupe_audit_restored_at IS NULL"
                rows += _rows(connection, f"SELECT {NAMES} FROM {archive}")
        return rows

    def committed(self, consumer: Consumer) -> dict[int, int]:
        """Return the committed offsets by partition; partitions without one are left out."""
        partitions = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        return {p.partition: p.offset for p in consumer.committed(partitions, timeout=5) if p.offset >= 0}

    def lets_join(self) -> bool:
        """Return whether the broker assigns partitions to a bare member of the group, without our consumer.

        The broker from the wheel sometimes does not, after members have died or joined while a group was forming.
        """
        assignment: list[TopicPartition] = []

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            assignment.extend(partitions)
            consumer.incremental_assign([])

        settings = {"session.timeout.ms": SESSION_TIMEOUT, "heartbeat.interval.ms": 300, "enable.auto.commit": False}
        settings |= {"partition.assignment.strategy": "cooperative-sticky"}
        member = Consumer({"bootstrap.servers": self.broker.address, "group.id": self.group, **settings, **QUIET})
        member.subscribe([self.topic], on_assign=assigned)
        deadline = time.monotonic() + JOINED_WITHIN
        while not assignment and time.monotonic() < deadline:
            member.poll(0.2)
        member.close()
        return bool(assignment)

    def observer(self) -> Consumer:
        """Return a client that reads the group's offsets without being a member."""
        return Consumer(
            {
                "bootstrap.servers": self.broker.address,
                "group.id": self.group,
                "enable.auto.commit": False,
                "reconnect.backoff.max.ms": 500,
                **QUIET,
            }
        )


def _rows(connection: psycopg.Connection, query: str, parameters: tuple[Any, ...] | None = None) -> list[Stored]:
    # Row by row without a cursor on the server, which could not be closed after a crash.
    with connection.cursor() as cursor:
        return [read_back(row) for row in cursor.stream(query.encode(), parameters)]


def read_back(row: tuple[Any, ...]) -> Stored:
    """Return which event a row is, and what is wrong with its other columns."""
    (correlation, action, at), data = row[:3], row[3:]
    number = (at - EPOCH) // timedelta(seconds=1)
    if number < 1 or (correlation, action, at) != key_of(number):
        return Stored(None, f"a row of {at}, which is no event's key")
    details = data[2]
    content = Content(number, details.get("version", -1) if isinstance(details, dict) else -1)
    if data != data_of(content):
        return Stored(content, f"a row of {content} with other data")
    return Stored(content)


def migrate(environment: dict[str, str], direction: str, revision: str) -> str | None:
    """Run Alembic; return its last words if it fails."""
    process = subprocess.run(
        [sys.executable, "-m", "alembic", direction, revision],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if process.returncode == 0 else "\n".join(process.stderr.splitlines()[-4:])


@contextmanager
def template(server_url: str) -> Iterator[str]:
    """Create a database in which the reference project is at its head; drop it at the end."""
    name = unique("dupe_audit_template").replace("-", "_")
    run = World(server_url).run
    run(f"CREATE DATABASE {name}")
    try:
        url = make_url(server_url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)
        if words := migrate({**os.environ, "DATABASE_URL": url}, "upgrade", HEAD):
            raise RuntimeError(words)
        yield name
    finally:
        run(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def new_scene(server_url: str, like: str, on: Broker, *, rows: int = 100) -> Iterator[Scene]:
    """Create a database like the template, topics and a configuration; drop them at the end."""
    name, topic = unique("dupe_audit_consumer").replace("-", "_"), unique("agent-actions")
    run = World(server_url).run
    run(f"CREATE DATABASE {name} TEMPLATE {like}")
    # A role's or database's default isolation must make no difference.
    run(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    world = World(make_url(server_url).set(database=name).render_as_string(hide_password=False))
    with tempfile.TemporaryDirectory(prefix="dupe-audit-consumer-") as directory:
        scene = Scene(world, on, topic, unique("group"), Path(directory))
        values = {"brokers": on.address, "group": scene.group, "topic": topic, "rows": rows}
        scene.config.write_text(CONFIG % values)
        on.create(topic, PARTITIONS)
        on.create(f"{topic}-dlq", DLQ_PARTITIONS)
        try:
            yield scene
        finally:
            run(f"DROP DATABASE {name} WITH (FORCE)")
            on.delete(topic, f"{topic}-dlq")
