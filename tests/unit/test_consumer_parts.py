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

import pytest
from confluent_kafka import Message

from dupe_audit.consumer import logs
from dupe_audit.consumer.batch import Batch
from dupe_audit.consumer.breaker import Breaker
from dupe_audit.consumer.config import BreakerRule, Column, DlqRule, EventRule, HttpRule, KafkaRule
from dupe_audit.consumer.dlq import DeadLetters, Letter, Rejection, letter
from dupe_audit.consumer.events import Decoder
from dupe_audit.consumer.fields import TYPES
from dupe_audit.consumer.health import Endpoint, Health
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.consumer.source import Source
from dupe_audit.consumer.stop import Abandoned, Stop
from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.writer import Outcome


def message(partition: int, offset: int, value: bytes | None, **more) -> Message:
    """Return a message of topic t."""
    return Message(topic="t", partition=partition, offset=offset, value=value, timestamp=(1, 99), **more)


def batch(*messages: Message, rule: EventRule | None = None) -> Batch:
    """Return a batch of events with one whole number x."""
    columns = [Column(name="x", path=("x",), type="bigint", convert=TYPES["bigint"])]
    return Batch(messages, Decoder(columns, rule or EventRule()), rule or EventRule())


def test_a_trickle_trips_the_breaker():
    """Bad events in batches of one add up over the window, and a few of them do not stop the process."""
    breaker = Breaker(BreakerRule(share=0.1, window=100, minimum=20))
    for _ in range(19):
        breaker.check({"t": (1, 1)})
    with pytest.raises(DupeAuditError, match="20 of the last 20 events of topic 't'"):
        breaker.check({"t": (1, 1)})


def test_the_window_forgets():
    """What was rejected long ago no longer counts."""
    breaker = Breaker(BreakerRule(share=0.1, window=100, minimum=20))
    breaker.check({"t": (300, 19)})
    breaker.check({"t": (100, 0)})
    breaker.check({"t": (100, 10)})  # the first batch would make 29 of 500


def test_the_share_has_to_be_exceeded():
    """Exactly the share is allowed, one more is not, and 1 allows everything."""
    breaker = Breaker(BreakerRule(share=0.1, window=1000, minimum=20))
    breaker.check({"t": (500, 50)})
    with pytest.raises(DupeAuditError, match="51 of the last 500"):
        Breaker(BreakerRule()).check({"t": (500, 51)})
    Breaker(BreakerRule(share=1.0)).check({"t": (500, 500)})


def test_a_busy_topic_does_not_hide_a_broken_one():
    """Each topic has a window of its own."""
    with pytest.raises(DupeAuditError, match="30 of the last 30 events of topic 'quiet'"):
        Breaker(BreakerRule()).check({"busy": (470, 0), "quiet": (30, 30)})


def test_events_of_lost_partitions_are_dropped():
    """Of partitions that are no longer ours neither rows, dead letters nor offsets are left in a batch."""
    held = batch(message(0, 7, b'{"x":1}'), message(1, 3, b'{"x":2}'), message(1, 4, b"bad"), message(0, 8, None))
    held.keep({("t", 0)})
    held.settle([Outcome(kind="inserted")])

    assert ([(1,)], [], {("t", 0): 9}, 1) == (held.rows(), held.rejected(), held.offsets(), held.skipped)


def test_outcomes_meet_their_messages():
    """Each outcome of the writer is that of the message at its place among those that became rows."""
    held = batch(message(0, 1, b"bad"), message(0, 2, b'{"x":1}'), message(0, 3, b'{"x":2}'))
    held.settle([Outcome(kind="inserted"), Outcome(kind="rejected", sqlstate="23514", reason="check")])

    assert [(1, "not_json", None), (3, "database", "23514")] == [
        (one.offset(), why.reason, why.sqlstate) for one, why in held.rejected()
    ]
    assert {"t": (3, 2)} == held.by_topic()


def test_a_dead_letter_keeps_its_origin():
    """A dead letter that is rejected again says where it came from at first, counts up, and has the new reason."""
    first = letter(
        message(3, 5, b"v", key=b"k", headers=[("trace", b"1")]), Rejection(reason="not_json", message="m"), "d", "1"
    )
    again = letter(
        message(0, 0, first.value, key=first.key, headers=first.headers),
        Rejection(reason="database", message="n", sqlstate="23503"),
        "d",
        "2",
    )
    told = dict(again.headers)

    assert (b"v", b"k", len(told)) == (again.value, again.key, len(again.headers))
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
    } == told


@pytest.mark.parametrize(
    ("told", "attempt"),
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
def test_a_producer_that_writes_our_headers(told, attempt):
    """A header of ours that a producer made up counts where it is a number, and else as none; nothing fails."""
    rejected = message(0, 5, b"v", headers=[("dupe-audit-attempt", told)])
    letter_of = letter(rejected, Rejection(reason="not_json", message="m"), "d", "1")
    assert attempt == dict(letter_of.headers)["dupe-audit-attempt"]


def test_a_producer_that_cannot_be_made():
    """Where the producer's certificate has gone since the start, the error says so; nothing of the letters is lost."""
    settings = {"security.protocol": "ssl", "ssl.ca.location": "/nowhere/SECRET"}
    kafka = KafkaRule(brokers="b:1", group="g", topics=("t",), librdkafka=settings)
    letters = DeadLetters(kafka, DlqRule(replay_group="r"), Metrics(version="1", group="g"))
    one = Letter(topic="d", key=None, value=b"x", headers=[])
    with pytest.raises(DupeAuditError, match=r"cannot be sent: .*ssl\.ca\.location failed") as caught:
        letters.send([one], lambda: None, lambda _seconds: None)
    assert (3, False) == (caught.value.exit_code, "SECRET" in str(caught.value))


@pytest.mark.parametrize("secret", ["SECRET", "SEC\nRET", 'SEC"RET', "secret"])
@pytest.mark.parametrize("name", ["security.protocol", "sasl.mechanism", "plugin.library.paths"])
def test_a_value_of_librdkafka_is_never_told(name, secret):
    """The error about a setting has nothing of its value, whatever characters that has."""
    settings = {"security.protocol": "sasl_plaintext", name: secret}
    kafka = KafkaRule(brokers="b:1", group="g", topics=("t",), librdkafka=settings)
    with pytest.raises(WrongUsage, match="librdkafka does not take") as caught:
        Source(kafka, Metrics(version="1", group="g"), Health(HttpRule(), rollout=False))
    assert [] == [part for part in ("SEC", "RET", "secret") if part in str(caught.value)]


def test_log_lines_are_json():
    """An event is one line of JSON with its fields, and so is a line that a library logs."""
    form = logs.JsonLines().format
    ours = logging.makeLogRecord({"msg": "partitions", "levelname": "INFO", "fields": {"kind": "lost"}})
    theirs = logging.makeLogRecord({"msg": "a %s\nb", "args": ("x",), "levelname": "WARNING", "name": "lib"})

    assert {"level": "info", "event": "partitions", "kind": "lost"}.items() <= json.loads(form(ours)).items()
    assert {"event": "log", "message": "a x\nb", "logger": "lib"}.items() <= json.loads(form(theirs)).items()
    assert "\n" not in form(theirs)


def ask(endpoint: Endpoint, path: str) -> tuple[int, str]:
    """Return what is served."""
    try:
        with urllib.request.urlopen(f"http://{endpoint.address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_health_and_readiness():
    """A loop that hangs is neither alive nor ready; what is missing until then is said."""
    rule = HttpRule(port=0, stuck_after=200)
    health = Health(rule, rollout=False)
    endpoint = Endpoint(rule, health, Metrics(version="1", group="g"))
    try:
        assert (503, "the consumer has not joined its group\n") == ask(endpoint, "/readyz")
        health.joined = True
        assert (503, "the database is away\n") == ask(endpoint, "/readyz")
        health.database = True
        assert "no valid constraint" in ask(endpoint, "/readyz")[1]
        health.enforced = True
        health.beat()
        assert [(200, "ok\n")] * 2 == [ask(endpoint, path) for path in ("/readyz", "/healthz")]
        assert "dupe_audit_consumer_ready 1.0" in ask(endpoint, "/metrics")[1]
        time.sleep(0.3)
        assert [503, 503] == [ask(endpoint, path)[0] for path in ("/readyz", "/healthz")]
        assert "dupe_audit_consumer_ready 0.0" in ask(endpoint, "/metrics")[1]
        assert 404 == ask(endpoint, "/")[0]
    finally:
        endpoint.close()


@pytest.fixture
def serve():
    """Serve metrics at a host until the test ends."""
    endpoints = []

    def serve(host: str = "127.0.0.1") -> Endpoint:
        rule = HttpRule(host=host, port=0)
        endpoints.append(Endpoint(rule, Health(rule, rollout=False), Metrics(version="1", group="g")))
        return endpoints[-1]

    yield serve
    for endpoint in endpoints:
        endpoint.close()


def test_clients_that_go_away(serve, capfd):
    """A client that resets its connection leaves nothing on standard error, and the next one is served."""
    endpoint = serve()
    host, _colon, port = endpoint.address.rpartition(":")
    for _ in range(4):
        client = socket.create_connection((host, int(port)))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing sends a reset
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        client.close()
    assert 200 == ask(endpoint, "/healthz")[0]
    assert ("", "") == capfd.readouterr()


def test_a_request_that_fails(serve, capfd, caplog, monkeypatch):
    """An error of our own in an answer is a log line, not a traceback on standard error."""
    endpoint = serve()
    monkeypatch.setattr(Health, "stuck", lambda _self: 1 / 0)
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        ask(endpoint, "/healthz")
    assert ["a request was not answered: ZeroDivisionError"] == [one.message for one in caplog.records]
    assert ("", "") == capfd.readouterr()


@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_address_of_ipv6(serve, host):
    """Metrics can be served on an address of IPv6, which is told as it is written in a URL."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    endpoint = serve(host)
    assert f"[{host}]:" == endpoint.address.rstrip("0123456789")
    assert (200, "ok\n") == ask(endpoint, "/healthz")


@pytest.mark.parametrize("host", ["192.0.2.1", "x" * 64, "2001:db8::1"])
def test_a_host_that_cannot_be_had(serve, host):
    """The error about an address that is none of this machine's advises another host, not another port."""
    with pytest.raises(WrongUsage, match=r"Metrics cannot be served on .*Give another \[http\] host\.$"):
        serve(host)


def work(stop: Stop) -> None:
    """Work for five seconds, with a second signal in the middle."""
    with stop.breakable():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(5)


def test_a_batch_is_broken_off_only_where_that_is_safe():
    """After the grace a signal interrupts what may be broken off, at once the second time, and nothing else."""
    before = signal.getsignal(signal.SIGTERM)
    stop = Stop(0.1)
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.3)  # the alarm finds nothing that it may break off
        assert stop.overdue
        with pytest.raises(Abandoned), stop.breakable():
            pytest.fail("it is too late to begin")
    assert before is signal.getsignal(signal.SIGTERM)

    slow = Stop(60)
    with slow.listening():
        signal.raise_signal(signal.SIGINT)
        assert (signal.SIGINT, False) == (slow.signal, slow.overdue)
        with pytest.raises(Abandoned):
            work(slow)
    assert signal.SIGINT == slow.signal


def test_no_signals_in_a_thread():
    """In a thread, where there are no signals to hear, the caller asks."""
    stop = Stop(60)

    def run() -> None:
        with stop.listening():
            stop.asked(signal.SIGTERM)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert stop


def test_a_broker_that_is_away_does_not_flood_the_log(caplog, monkeypatch):
    """What librdkafka says many times a second is logged once in ten seconds, each kind for itself."""
    clock = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock[0])
    library = logging.getLogger("a library")
    library.addFilter(logs.Seldom())
    for _ in range(50):
        library.error("FAIL [a] refused")
        library.error("REQTMOUT [a] late")
    clock[0] += 10
    library.error("FAIL [b] refused")
    assert ["FAIL [a] refused", "REQTMOUT [a] late", "FAIL [b] refused"] == [one.message for one in caplog.records]
    assert [logs.Seldom] == [type(one) for one in logs.librdkafka.filters]
