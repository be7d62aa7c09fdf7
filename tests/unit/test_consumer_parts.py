"""The parts of the consumer that need neither a broker nor a database."""

import json
import logging
import signal
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest
from confluent_kafka import Message

from dupe_audit.consumer import health, logs
from dupe_audit.consumer.batch import EventBatch
from dupe_audit.consumer.breaker import Breaker
from dupe_audit.consumer.config import (
    BreakerSettings,
    ColumnMapping,
    DlqSettings,
    EventSettings,
    HttpSettings,
    KafkaSettings,
)
from dupe_audit.consumer.dlq import DeadLetters, Letter, Rejection, make_letter
from dupe_audit.consumer.events import Decoder
from dupe_audit.consumer.fields import TYPES
from dupe_audit.consumer.health import Endpoint, Health
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.consumer.source import Source
from dupe_audit.consumer.stop import Abandoned, Stop
from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.writer import Outcome
from waiting import PATIENCE, wait_for


def message(partition: int, offset: int, value: bytes | None, **fields) -> Message:
    """Return a message of topic t."""
    return Message(topic="t", partition=partition, offset=offset, value=value, timestamp=(1, 99), **fields)


def batch(*messages: Message, settings: EventSettings | None = None) -> EventBatch:
    """Return a batch of events whose only field is a whole number x."""
    columns = [ColumnMapping(name="x", path=("x",), type="bigint", convert=TYPES["bigint"])]
    return EventBatch(messages, Decoder(columns, settings or EventSettings()), settings or EventSettings())


def test_a_trickle_trips_the_breaker():
    """Bad events in batches of one add up over the window; a few of them do not stop the process."""
    breaker = Breaker(BreakerSettings(share=0.1, window=100, minimum=20))
    for _ in range(19):
        breaker.check({"t": (1, 1)})
    with pytest.raises(DupeAuditError, match="20 of the last 20 events of topic 't'"):
        breaker.check({"t": (1, 1)})


def test_the_window_forgets():
    """Rejections that have left the window no longer count."""
    breaker = Breaker(BreakerSettings(share=0.1, window=100, minimum=20))
    breaker.check({"t": (300, 19)})
    breaker.check({"t": (100, 0)})
    breaker.check({"t": (100, 10)})  # the first batch would make 29 of 500


def test_the_share_has_to_be_exceeded():
    """Exactly the share is allowed, one event more is not, and a share of 1 allows everything."""
    breaker = Breaker(BreakerSettings(share=0.1, window=1000, minimum=20))
    breaker.check({"t": (500, 50)})
    with pytest.raises(DupeAuditError, match="51 of the last 500"):
        Breaker(BreakerSettings()).check({"t": (500, 51)})
    Breaker(BreakerSettings(share=1.0)).check({"t": (500, 500)})


def test_a_busy_topic_does_not_hide_a_broken_one():
    """Each topic has its own window."""
    with pytest.raises(DupeAuditError, match="30 of the last 30 events of topic 'quiet'"):
        Breaker(BreakerSettings()).check({"busy": (470, 0), "quiet": (30, 30)})


def test_events_of_lost_partitions_are_dropped():
    """Rows, dead letters and offsets of partitions that are no longer owned are removed from a batch."""
    events = batch(message(0, 7, b'{"x":1}'), message(1, 3, b'{"x":2}'), message(1, 4, b"bad"), message(0, 8, None))
    events.keep_owned({("t", 0)})
    events.record([Outcome(kind="inserted")])

    assert ([(1,)], [], {("t", 0): 9}, 1) == (events.rows(), events.rejected(), events.offsets(), events.skipped)


def test_outcomes_are_assigned_to_their_messages():
    """The writer's outcomes are assigned, in order, to the messages that became rows."""
    events = batch(message(0, 1, b"bad"), message(0, 2, b'{"x":1}'), message(0, 3, b'{"x":2}'))
    events.record([Outcome(kind="inserted"), Outcome(kind="rejected", sqlstate="23514", reason="check")])

    assert [(1, "not_json", None), (3, "database", "23514")] == [
        (rejected.offset(), rejection.reason, rejection.sqlstate) for rejected, rejection in events.rejected()
    ]
    assert {"t": (3, 2)} == events.counts_by_topic()


def test_a_dead_letter_keeps_its_origin():
    """A dead letter that is rejected again keeps its origin, counts one attempt more, and has the new reason."""
    first = make_letter(
        message(3, 5, b"v", key=b"k", headers=[("trace", b"1")]), Rejection(reason="not_json", message="m"), "d", "1"
    )
    second = make_letter(
        message(0, 0, first.value, key=first.key, headers=first.headers),
        Rejection(reason="database", message="n", sqlstate="23503"),
        "d",
        "2",
    )
    headers = dict(second.headers)

    assert (b"v", b"k", len(headers)) == (second.value, second.key, len(second.headers))
    assert {
        "trace": b"1",
        "dupe-audit-topic": b"t",
        "dupe-audit-partition": b"3",
        "dupe-audit-offset": b"5",
        "dupe-audit-timestamp": b"99",
        "dupe-audit-attempt": b"2",
        "dupe-audit-reason": b"database",
        "dupe-audit-message": b"n",
        "dupe-audit-sqlstate": b"23503",
        "dupe-audit-version": b"2",
    } == headers


@pytest.mark.parametrize(
    ("header", "attempt"),
    [
        ("abc", b"1"),
        ("-3", b"1"),
        ("1_0", b"1"),
        ("", b"1"),
        (None, b"1"),
        ("²", b"1"),
        ("9" * 5000, b"1"),
        ("7", b"8"),
    ],
)
def test_a_producer_that_writes_our_headers(header, attempt):
    """One of our headers, invented by a producer, counts if it is a number and is ignored otherwise; nothing fails."""
    rejected = message(0, 5, b"v", headers=[("dupe-audit-attempt", header)])
    letter = make_letter(rejected, Rejection(reason="not_json", message="m"), "d", "1")
    assert attempt == dict(letter.headers)["dupe-audit-attempt"]


def test_a_producer_that_cannot_be_created():
    """If the producer's certificate has been removed since the start, the error says so, and stops with exit code 3."""
    settings = {"security.protocol": "ssl", "ssl.ca.location": "/nowhere/SECRET"}
    kafka = KafkaSettings(brokers="b:1", group="g", topics=("t",), librdkafka=settings)
    letters = DeadLetters(kafka, DlqSettings(replay_group="r"), Metrics(version="1", group="g"))
    letter = Letter(topic="d", key=None, value=b"x", headers=[])
    with pytest.raises(DupeAuditError, match=r"cannot be sent: .*ssl\.ca\.location failed") as caught:
        letters.send([letter], lambda: None, lambda _seconds: None)
    assert (3, False) == (caught.value.exit_code, "SECRET" in str(caught.value))


@pytest.mark.parametrize("secret", ["SECRET", "SEC\nRET", 'SEC"RET', "secret"])
@pytest.mark.parametrize("name", ["security.protocol", "sasl.mechanism", "plugin.library.paths"])
def test_errors_never_contain_librdkafka_values(name, secret):
    """The error about a setting contains no part of its value, whatever characters it has."""
    settings = {"security.protocol": "sasl_plaintext", name: secret}
    kafka = KafkaSettings(brokers="b:1", group="g", topics=("t",), librdkafka=settings)
    with pytest.raises(WrongUsage, match="librdkafka rejects") as caught:
        Source(kafka, Metrics(version="1", group="g"), Health(HttpSettings(), rollout=False))
    assert [] == [part for part in ("SEC", "RET", "secret") if part in str(caught.value)]


def test_log_lines_are_json():
    """An event is one line of JSON with its fields; so is a line that a library logs."""
    format_record = logs.JsonLines().format
    event = logging.makeLogRecord({"msg": "partitions", "levelname": "INFO", "fields": {"kind": "lost"}})
    library = logging.makeLogRecord({"msg": "a %s\nb", "args": ("x",), "levelname": "WARNING", "name": "lib"})

    assert {"level": "info", "event": "partitions", "kind": "lost"}.items() <= json.loads(format_record(event)).items()
    assert {"event": "log", "message": "a x\nb", "logger": "lib"}.items() <= json.loads(format_record(library)).items()
    assert "\n" not in format_record(library)


def get(endpoint: Endpoint, path: str) -> tuple[int, str]:
    """Return the status and the body of an answer."""
    try:
        with urllib.request.urlopen(f"http://{endpoint.address}{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_and_readiness():
    """A loop that hangs is neither alive nor ready; /readyz says what is missing."""
    settings = HttpSettings(port=0)
    state = Health(settings, rollout=False)
    endpoint = Endpoint(settings, state, Metrics(version="1", group="g"))
    try:
        assert (503, "the consumer has not joined its group\n") == get(endpoint, "/readyz")
        state.joined = True
        assert (503, "the database is unreachable\n") == get(endpoint, "/readyz")
        state.database_up = True
        assert "no valid constraint" in get(endpoint, "/readyz")[1]
        state.enforced = True
        state.beat()
        assert [(200, "ok\n")] * 2 == [get(endpoint, path) for path in ("/readyz", "/healthz")]
        assert "dupe_audit_consumer_ready 1.0" in get(endpoint, "/metrics")[1]
        state._stuck_after = 0
        assert [503, 503] == [get(endpoint, path)[0] for path in ("/readyz", "/healthz")]
        assert "dupe_audit_consumer_ready 0.0" in get(endpoint, "/metrics")[1]
        assert 404 == get(endpoint, "/")[0]
    finally:
        endpoint.close()


@pytest.fixture
def serve():
    """Serve metrics on a host until the test ends."""
    endpoints = []

    def serve(host: str = "127.0.0.1") -> Endpoint:
        settings = HttpSettings(host=host, port=0)
        endpoint = Endpoint(settings, Health(settings, rollout=False), Metrics(version="1", group="g"))
        endpoints.append(endpoint)
        return endpoint

    yield serve
    for endpoint in endpoints:
        endpoint.close()


def connect(endpoint: Endpoint) -> socket.socket:
    """Return a connection that has sent nothing yet."""
    host, _colon, port = endpoint.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def test_clients_that_disconnect(serve, capfd):
    """A client that resets its connection leaves nothing on standard error, and the next one is served."""
    endpoint = serve()
    for _ in range(4):
        client = connect(endpoint)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends a reset
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.close()
    assert 200 == get(endpoint, "/healthz")[0]
    assert ("", "") == capfd.readouterr()


@pytest.fixture
def patient(monkeypatch):
    """Let a silent connection keep its place for longer than a test may take."""
    monkeypatch.setattr(health, "CLIENT_TIMEOUT", 3600)
    monkeypatch.setattr(health, "CONNECTION_LIMIT", 3600)


def test_silent_connections_delay_no_probe(patient, serve):
    """While connections stay silent, or stop in the middle of a request, a probe on another one is answered at once."""
    endpoint = serve()
    with ExitStack() as connections:
        clients = [connections.enter_context(connect(endpoint)) for _ in range(20)]
        for client in clients[10:]:
            client.sendall(b"GET /healthz HT")
        assert [200, 503, 200] == [get(endpoint, path)[0] for path in ("/healthz", "/readyz", "/metrics")]


def test_silent_connections_are_bounded_in_number(patient, serve):
    """However many connections stay silent, a few are open at once: the oldest is closed, and probes are answered."""
    endpoint = serve()
    with ExitStack() as connections:
        clients = [connections.enter_context(connect(endpoint)) for _ in range(health.MOST_CONNECTIONS + 10)]
        assert [b""] * 10 == [client.recv(1) for client in clients[:10]]
        assert [200, 200] == [get(endpoint, path)[0] for path in ("/healthz", "/metrics")]
        # Each probe needed a place too.
        clients[-1].sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert clients[-1].recv(1)


def is_closed(client: socket.socket) -> bool:
    """Send a byte, and return whether the server has closed the connection."""
    try:
        client.sendall(b"a")
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_trickle_of_bytes_is_bounded_in_time(serve, monkeypatch):
    """A client that sends a byte now and then is disconnected after a while, though it is never silent for long."""
    monkeypatch.setattr(health, "CONNECTION_LIMIT", 0.2)
    with connect(serve()) as client:
        client.settimeout(0.02)
        wait_for(lambda: is_closed(client))


def test_a_silent_connection_is_closed(serve, monkeypatch):
    """A connection that stays silent is closed after the timeout, so that it does not keep its thread for ever."""
    monkeypatch.setattr(health, "CLIENT_TIMEOUT", 0.3)
    with connect(serve()) as client:
        assert b"" == client.recv(1)


def test_closing_does_not_wait_for_silent_connections(patient, serve):
    """Silent connections do not delay the end of the process."""
    endpoint = serve()
    with connect(endpoint), connect(endpoint):
        assert 200 == get(endpoint, "/healthz")[0]
        endpoint.close()


def test_a_request_that_fails(serve, capfd, caplog, monkeypatch):
    """An internal error is a log line, not a traceback on standard error."""
    endpoint = serve()
    monkeypatch.setattr(Health, "liveness_problem", lambda _self: 1 / 0)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        get(endpoint, "/healthz")
    assert ["a request was not answered: ZeroDivisionError"] == [record.message for record in caplog.records]
    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_ipv6_address(serve, host):
    """Metrics can be served on an IPv6 address, which is reported as it is written in a URL."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    endpoint = serve(host)
    assert f"[{host}]:" == endpoint.address.rstrip("0123456789")
    assert (200, "ok\n") == get(endpoint, "/healthz")


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 64, "2001:db8::1"])
def test_a_host_that_is_not_available(serve, host):
    """The error about an address that this machine does not have advises another host, not another port."""
    with pytest.raises(WrongUsage, match=r"Metrics cannot be served on .*Set another \[http\] host\.$"):
        serve(host)


def work(stop: Stop) -> None:
    """Work for five seconds, with a second signal in the middle."""
    with stop.interruptible():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(5)


def test_a_batch_is_interrupted_only_where_that_is_safe():
    """A signal interrupts an interruptible block after the grace period, a second one at once, and nothing else."""
    handler = signal.getsignal(signal.SIGTERM)
    stop = Stop(0.1)
    with stop.handling_signals():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.3)  # the alarm finds no interruptible block
        assert stop.overdue
        with pytest.raises(Abandoned), stop.interruptible():
            pytest.fail("it is too late to begin")
    assert handler is signal.getsignal(signal.SIGTERM)

    slow = Stop(60)
    with slow.handling_signals():
        signal.raise_signal(signal.SIGINT)
        assert (signal.SIGINT, False) == (slow.signal, slow.overdue)
        with pytest.raises(Abandoned):
            work(slow)
    assert signal.SIGINT == slow.signal


def test_no_signals_in_a_thread():
    """In a thread, which receives no signals, the caller requests the stop."""
    stop = Stop(60)

    def run() -> None:
        with stop.handling_signals():
            stop.request(signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert stop


def test_an_unreachable_broker_does_not_flood_the_log(caplog, monkeypatch):
    """A message that librdkafka repeats many times per second is logged once in ten seconds, per kind."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    library = logging.getLogger("a library")
    library.addFilter(logs.RateLimit())
    for _ in range(50):
        library.error("FAIL [a] refused")
        library.error("REQTMOUT [a] late")
    clock[0] += 10
    library.error("FAIL [b] refused")
    assert ["FAIL [a] refused", "REQTMOUT [a] late", "FAIL [b] refused"] == [
        record.message for record in caplog.records
    ]
    assert [logs.RateLimit] == [type(rule) for rule in logs.librdkafka_log.filters]
