"""From a broker into the table: each event once, bad events to the dead letters, offsets committed after both."""

import signal

import pytest

from dupe_audit.consumer.source import Source
from kafka import EVENTS, UNIQUE, by_trace, event
from waiting import wait_for

FETCH = 1  # the number of the request in Kafka's protocol
PATIENT = '[database]\nlock_timeout = "10min"\nstatement_timeout = "10min"'
COUNT = "SELECT count(*), count(DISTINCT (trace, name, at)) FROM events"


@pytest.fixture
def topic(broker) -> str:
    """A topic with its dead-letter topic."""
    name = broker.topic()
    return broker.topic(2, f"{name}-dlq").removesuffix("-dlq")


@pytest.fixture
def table(sql) -> None:
    """The table, with its constraint."""
    sql(EVENTS + UNIQUE)


def test_each_event_once(broker, topic, table, consumer_file, inside, sql):
    """Whatever mixture of events, copies and collisions arrives, each key is one row; bad events are dead-lettered."""
    good = [event(n % 50) for n in range(100)]
    bad = [b"x", {"trace": 5}, event(77, amount=-1)]
    broker.produce(topic, [*good, *bad, None, event(1, details={"n": "other"})], headers=[("mine", b"1")])
    # What is counted is counted once only as long as the member is not thrown out.
    member = inside(consumer_file(broker, topic, session_timeout=4000))
    member.wait(lambda: broker.committed(f"g-{topic}", topic) == 105)

    member.wait(lambda: member.metric("batch_events_sum") == 105)
    assert [(50, 50)] == sql(COUNT)
    counts = {name: member.metric(f"{name}_total") for name in ("inserted", "duplicates", "in_batch_duplicates")}
    assert 101 == sum(counts.values()) + member.metric("collisions_total")
    assert 50 == counts["inserted"]
    assert member.metric("collisions_total") > 0
    assert 1 == member.metric("tombstones_total")
    assert {"not_json": 1.0, "wrong_type": 1.0, "database": 1.0} == {
        reason: member.metric("rejected_total", reason=reason) for reason in ("not_json", "wrong_type", "database")
    }
    assert 3 == member.metric("dlq_messages_total", topic=f"{topic}-dlq")

    letters = {dict(letter.headers())["dupe-audit-reason"]: letter for letter in broker.read(f"{topic}-dlq", 3)}
    assert {b"not_json", b"wrong_type", b"database"} == letters.keys()
    headers = dict(letters[b"database"].headers())
    assert (b"23514", b"1", topic.encode(), b"1") == tuple(
        headers[name] for name in ("dupe-audit-sqlstate", "dupe-audit-attempt", "dupe-audit-topic", "mine")
    )
    assert b"x" == letters[b"not_json"].value()


def test_key_in_a_part_of_the_table(mock, consumer_file, inside, sql):
    """With the condition of a partial index, redeliveries are duplicates; without it, the consumer does not start."""
    sql(f"{EVENTS}; CREATE UNIQUE INDEX once ON events (trace, name, at) WHERE amount IS NULL")
    topic = mock.topic()
    mock.topic(1, f"{topic}-dlq")
    mock.produce(topic, [event(n % 5, amount=None) for n in range(20)])
    error = inside(consumer_file(mock, topic)).ended(2)
    assert "public.events has no arbiter for the key (trace, name, at)" in error
    assert "WHERE (amount IS NULL)" in error

    member = inside(consumer_file(mock, topic, table='where = "amount IS NULL"'))
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 20)
    assert [(5, 5)] == sql(COUNT)
    member.wait(lambda: member.metric("batch_events_sum") == 20)
    assert 0 == member.metric("rejected_total", reason="database")


def test_no_value_of_an_event_is_logged(mock, table, consumer_file, consume):
    """No log line and no metric contains a value of an event; prevented duplicates are logged with their number."""
    secret = event(1, name="SECRET", details={"SECRET": 1})
    topic = mock.topic()
    mock.topic(1, f"{topic}-dlq")
    mock.produce(topic, [secret, secret, {**secret, "amount": -7}, {**secret, "at": "SECRET"}, b'"SECRET'])
    program = consume(consumer_file(mock, topic))
    program.wait(lambda: mock.committed(f"g-{topic}", topic) == 5)
    served = "".join(program.get(path)[1] for path in ("/metrics", "/healthz", "/readyz"))
    printed = program.stop()

    assert "SECRET" not in printed + served
    assert 1 == sum(line["count"] for line in program.events("duplicates_prevented"))
    assert {"dead_lettered", "started", "stopped", "arbiter"} < {line["event"] for line in program.events()}
    assert all(line.startswith("{") for line in printed.splitlines())


def test_tombstones_and_collisions_are_dead_lettered_on_request(broker, topic, table, consumer_file, inside):
    """Tombstones and collisions are dead-lettered if the file says so."""
    broker.produce(topic, [event(1), event(1, amount=2), None], key=lambda _value: b"1")
    more = '[events]\ntombstones = "dlq"\ncollisions = "dlq"'
    member = inside(consumer_file(broker, topic, more=more))
    member.wait(lambda: broker.committed(f"g-{topic}", topic) == 3)

    letters = broker.read(f"{topic}-dlq", 2)
    assert {b"tombstone": None, b"collision": b"1"} == {
        dict(letter.headers())["dupe-audit-reason"]: letter.value() and letter.key() for letter in letters
    }


@pytest.mark.thorough
def test_replay(broker, topic, table, consumer_file, inside, sql):
    """A replay writes the events that can be written now, dead-letters the others again, and ends."""
    sql("CREATE TABLE names (name text PRIMARY KEY); INSERT INTO names VALUES ('Read')")
    sql("ALTER TABLE events ADD FOREIGN KEY (name) REFERENCES names")
    broker.produce(topic, [event(1), event(2, name="Late"), event(3, name="Later")])
    file = consumer_file(broker, topic, session_timeout=4000)
    member = inside(file)
    member.wait(lambda: broker.committed(f"g-{topic}", topic) == 3)
    member.stop()

    sql("INSERT INTO names VALUES ('Late')")
    replayed = inside(file, replay=True)
    replayed.ended(1)
    (counts,) = replayed.events("replayed")
    assert (2, 1, 1) == (counts["read"], counts["inserted"], counts["rejected"])

    sql("INSERT INTO names VALUES ('Later')")
    again = inside(file, replay=True)
    again.ended(0)
    (counts,) = again.events("replayed")
    assert (1, 1) == (counts["read"], counts["inserted"])
    inside(file, replay=True).ended(0)

    attempts = [dict(letter.headers())["dupe-audit-attempt"] for letter in broker.read(f"{topic}-dlq", 3)]
    assert [b"1", b"1", b"2"] == sorted(attempts)
    assert [("Late",), ("Later",), ("Read",)] == sql("SELECT name FROM events ORDER BY name")


def test_replay_does_not_read_its_own_dead_letters(mock, table, consumer_file, inside, monkeypatch):
    """What is rejected again is the next replay's, also where a partition is not known to have had an end before it."""
    topic = mock.topic(1)
    mock.topic(2, f"{topic}-dlq")
    mock.produce(f"{topic}-dlq", [b"%d" % n for n in range(5)])
    polled, poll = [], Source.poll

    def counted(*arguments):
        messages = poll(*arguments)
        polled.extend(messages)
        return messages

    monkeypatch.setattr(Source, "_end_offset", lambda *_: None)
    monkeypatch.setattr(Source, "poll", counted)
    monkeypatch.setattr(Source, "finished", lambda _: len(polled) >= 10)  # what it sent has come back
    replay = inside(consumer_file(mock, topic), replay=True)
    replay.ended(1)

    (replayed,) = replay.events("replayed")
    assert (5, 5) == (replayed["read"], replayed["rejected"])


def test_replay_of_nothing(broker, table, consumer_file, inside):
    """If the dead-letter topic does not exist, a replay has nothing to do and ends with 0."""
    inside(consumer_file(broker, broker.topic()), replay=True).ended(0)


def test_breaker_stops_on_too_many_rejections(mock, table, consumer_file, inside, sql):
    """When too many are rejected the process ends with 3; nothing of the batch is dead-lettered or committed."""
    topic = mock.topic(1)
    mock.topic(1, f"{topic}-dlq")
    # Few at a time may pass as long as they are few; what is in one partition comes at once.
    mock.produce(topic, [event(n) for n in range(20)] + [{"other": n} for n in range(30)])
    all_at_once = '[batch]\nrows = 50\nlinger = "30s"'
    error = inside(consumer_file(mock, topic, more=all_at_once)).ended(3)

    assert f"of topic '{topic}' were rejected" in error
    assert 0 == mock.committed(f"g-{topic}", topic)
    assert [] == mock.read(f"{topic}-dlq", 0)

    # The mock lets nobody into a group until it has missed the member that was in it, so this is another group.
    allowed = inside(consumer_file(mock, topic, more="[breaker]\nshare = 1", group="allowed"))
    allowed.wait(lambda: mock.committed(f"allowed-{topic}", topic) == 50)
    assert 30 == allowed.metric("dlq_messages_total")
    assert [(20, 20)] == sql(COUNT)


@pytest.mark.thorough
def test_batch_of_a_killed_member_is_written_by_another(
    broker, topic, table, consumer_file, consume, sql, psycopg_connect, waiting_for_locks
):
    """Two processes share the partitions; if one is killed, the other writes its unfinished batch."""
    # Long enough that the broker removes nobody but the killed member.
    file = consumer_file(broker, topic, session_timeout=10_000, more=f"[batch]\nrows = 50\n{PATIENT}")
    first = consume(file).started()
    second = consume(file)
    first.wait(lambda: first.metric("assigned_partitions") == 2)
    second.wait(lambda: second.metric("assigned_partitions") == 2)
    with psycopg_connect() as holder:
        holder.execute("LOCK TABLE events IN SHARE MODE")
        broker.produce(topic, [event(n // 2) for n in range(1000)], key=by_trace)
        second.wait(lambda: waiting_for_locks() == 2)
        second.process.kill()
        second.process.wait()
    first.wait(lambda: broker.committed(f"g-{topic}", topic) == 1000)
    first.stop()

    assert [(500, 500)] == sql(COUNT)
    assert 1 <= len([line for line in first.events("partitions") if line["kind"] == "revoked"])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
@pytest.mark.representatives("15-0")
def test_signal_ends_the_consumer_after_its_batch(
    mock, table, consumer_file, consume, sql, psycopg_connect, waiting_for_locks, number, code
):
    """A signal ends the process after the current batch, with its offsets committed and the group left."""
    topic = mock.topic()
    more = f'[batch]\nrows = 20\nshutdown = "10min"\n{PATIENT}'
    program = consume(consumer_file(mock, topic, more=more)).started()
    with psycopg_connect() as holder:
        holder.execute("LOCK TABLE events IN SHARE MODE")
        mock.produce(topic, [event(n) for n in range(500)])
        program.wait(waiting_for_locks)
        program.process.send_signal(number)
    program.ended(code)

    (rows, _keys), *_ = sql(COUNT)
    assert rows == mock.committed(f"g-{topic}", topic)
    assert 0 < rows <= 20
    assert "revoked" == program.events("partitions")[-1]["kind"]


def test_event_that_arrived_before_a_signal_is_written(mock, table, consumer_file, inside, sql, monkeypatch):
    """An event that arrives between the last look for events and a signal belongs to the last batch."""
    topic, poll, sent = mock.topic(1), Source.poll, []
    member = inside(consumer_file(mock, topic, more='[batch]\nlinger = "30s"')).started()

    def last_look(*arguments):
        messages = poll(*arguments)
        if not sent:
            sent.append(event(1))
            mock.produce(topic, sent)
            # The first request after this can still have been sent before; the next one follows the event's arrival.
            before = mock.requests(FETCH)
            wait_for(lambda: mock.requests(FETCH) > before + 1)
            member.request_stop()
        return messages

    monkeypatch.setattr(Source, "poll", last_look)
    member.ended(0)
    assert [(1, 1)] == sql(COUNT)
    assert 1 == mock.committed(f"g-{topic}", topic)


def test_signal_ends_the_wait_for_more_events(mock, table, consumer_file, consume, sql):
    """A signal ends the wait for a full batch: the events that have arrived are written, and the process ends."""
    topic = mock.topic(1)
    program = consume(consumer_file(mock, topic, more='[batch]\nlinger = "30s"')).started()
    mock.produce(topic, [event(1)])
    # A member fetches again only after it has received the event, which it then keeps despite a signal.
    before = mock.requests(FETCH)
    program.wait(lambda: mock.requests(FETCH) > before + 1)
    program.stop(seconds=25)  # less than linger, whose maximum is 30 s

    assert [(1, 1)] == sql(COUNT)
    assert 1 == mock.committed(f"g-{topic}", topic)
