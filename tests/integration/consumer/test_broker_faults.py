"""The broker returns errors, is down, or removes the member: librdkafka's mock cluster does so on demand."""

import pytest
from confluent_kafka import KafkaError

from dupe_audit.consumer.source import Source
from kafka import EVENTS, UNIQUE, event
from waiting import wait_for

COUNT = "SELECT count(*), count(DISTINCT (trace, name, at)) FROM events"
OFFSET_COMMIT, LEAVE_GROUP = 8, 13  # of Kafka's protocol

#: a timeout for the broker's replies that is much longer than the test waits for the process to end
ENDLESS = '"socket.timeout.ms" = 300000'


@pytest.fixture
def topic(mock, sql) -> str:
    """A topic with its dead-letter topic, and the table."""
    sql(EVENTS + UNIQUE)
    name = mock.topic(2)
    mock.topic(1, f"{name}-dlq")
    return name


@pytest.mark.parametrize("code", ["REBALANCE_IN_PROGRESS", "ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID"])
@pytest.mark.representatives("ILLEGAL_GENERATION")
def test_refused_offsets_are_committed_later(mock, topic, consumer_file, inside, sql, code):
    """Offsets that the broker refuses to commit are counted and committed later, even if no more events arrive."""
    # A member that rejoins waits until the mock has timed out its old id.
    member = inside(consumer_file(mock, topic, session_timeout=1000)).started()
    mock.fail(OFFSET_COMMIT, getattr(KafkaError, code))
    mock.produce(topic, [event(n) for n in range(50)])
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 50)

    refused = [line for line in member.events("commit_failed") if line["code"] == code]
    assert refused
    assert len(refused) == member.metric("commit_errors_total", code=code)
    assert [(50, 50)] == sql(COUNT)


def test_consumer_continues_after_the_broker_was_down(mock, topic, consumer_file, inside, sql, monkeypatch):
    """While the broker is down the consumer stays alive; afterwards it continues by itself."""
    polls, poll = [], Source.poll
    monkeypatch.setattr(Source, "poll", lambda *arguments: polls.append(1) or poll(*arguments))
    quick = '"reconnect.backoff.max.ms" = 200'
    member = inside(consumer_file(mock, topic, librdkafka=quick)).started()
    mock.produce(topic, [event(n) for n in range(10)])
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 10)
    mock.down()
    member.wait(lambda: member.metric("kafka_errors_total") >= 1)
    before = len(polls)
    member.wait(lambda: len(polls) > before + 10)
    assert 200 == member.get("/healthz")[0]
    mock.up()
    mock.produce(topic, [event(n) for n in range(10, 20)])
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 20)
    assert [(20, 20)] == sql(COUNT)


def test_undeliverable_dead_letters_stop_the_consumer(mock, topic, consumer_file, inside, sql):
    """If a dead letter cannot be delivered, the consumer stops with 3 and commits nothing, so none is lost."""
    mock.topic_error(f"{topic}-dlq", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    mock.produce(topic, [event(1), b"x"], partition=0)
    # Both messages are one batch, however they are fetched.
    together = '[batch]\nrows = 2\nlinger = "30s"'
    error = inside(consumer_file(mock, topic, more=f'{together}\n[dlq]\ntimeout = "1s"\nattempts = 2')).ended(3)

    assert f"1 dead letter could not be delivered to '{topic}-dlq' in 2 attempts" in error
    assert 0 == mock.committed(f"g-{topic}", topic)

    mock.topic_error(f"{topic}-dlq", 0)
    # The mock lets nobody into a group until it has missed the member that was in it, so this is another group.
    member = inside(consumer_file(mock, topic, more=together, group="again"))
    member.wait(lambda: mock.committed(f"again-{topic}", topic) == 2)
    # A delivery whose reply takes longer than the timeout is repeated.
    assert {b"x"} == {message.value() for message in mock.read(f"{topic}-dlq", 1)}
    assert [(1, 1)] == sql(COUNT)


def test_dead_letter_is_sent_again(mock, topic, consumer_file, inside):
    """A dead letter whose delivery fails is sent again, and its offset is committed only after that."""
    mock.topic_error(f"{topic}-dlq", KafkaError.TOPIC_AUTHORIZATION_FAILED)
    member = inside(consumer_file(mock, topic, more='[dlq]\ntimeout = "1s"\nattempts = 20')).started()
    mock.produce(topic, [b"x"])
    member.wait(lambda: member.events("dead_letters_undelivered"))
    assert 0 == mock.committed(f"g-{topic}", topic)
    mock.topic_error(f"{topic}-dlq", 0)
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 1)

    # A delivery whose reply takes longer than the timeout is repeated.
    assert {b"x"} == {message.value() for message in mock.read(f"{topic}-dlq", 1)}


@pytest.mark.thorough
def test_batch_that_takes_longer_than_the_poll_interval(
    mock, topic, consumer_file, inside, sql, psycopg_connect, waiting_for_locks
):
    """A member that was removed for not polling rejoins, and the batch that it could not commit is redelivered."""
    file = consumer_file(
        mock,
        topic,
        session_timeout=1000,
        librdkafka='"max.poll.interval.ms" = 1500',
        more='[dlq]\ntimeout = "1s"\n[database]\nlock_timeout = "10min"\nstatement_timeout = "10min"',
    )
    member = inside(file).started()
    with psycopg_connect() as holder:
        holder.execute("LOCK TABLE events IN SHARE MODE")
        before = mock.requests(LEAVE_GROUP)
        mock.produce(topic, [event(n) for n in range(10)])
        member.wait(waiting_for_locks)
        member.wait(lambda: mock.requests(LEAVE_GROUP) > before)
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 10)

    assert 1 <= member.metric("rebalances_total", kind="lost")
    assert [(10, 10)] == sql(COUNT)


def test_missing_permission_stops_the_consumer(mock, topic, consumer_file, inside):
    """If the topic may not be read, the consumer ends with 3 and a message that says so."""
    mock.topic_error(topic, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert "Allow this user" in inside(consumer_file(mock, topic)).ended(3)


def test_start_error(mock, topic, consumer_file, inside):
    """With start = "error", a group without offsets stops with 3 instead of skipping events."""
    mock.produce(topic, [event(1)])
    assert "kafka.start" in inside(consumer_file(mock, topic, kafka='start = "error"')).ended(3)


def test_start_latest(mock, topic, consumer_file, inside, sql):
    """With start = "latest", a new group skips existing events and reads new ones."""
    mock.produce(topic, [event(1)])
    member = inside(consumer_file(mock, topic, kafka='start = "latest"')).started()

    def is_inserted() -> bool:
        mock.produce(topic, [event(2)])  # repeatedly, because events sent before it has found the end are skipped too
        return member.metric("inserted_total") == 1

    member.wait(is_inserted)
    assert [(1, 1)] == sql(COUNT)


@pytest.mark.thorough
def test_setting_that_librdkafka_refuses(mock, topic, consumer_file, consume):
    """A setting that librdkafka refuses is wrong usage, and the message does not contain its value."""
    file = consumer_file(mock, topic)
    file.write_text(file.read_text().replace("[http]", '"security.protocol" = "SECRET"\n[http]'))
    error = consume(file).ended(2)
    assert "security.protocol" in error
    assert "SECRET" not in error


@pytest.mark.thorough
def test_static_member_gets_its_partitions_again(mock, topic, consumer_file, inside):
    """A static member gets its partitions again after a restart."""
    file = consumer_file(mock, topic, kafka='instance_id = "one"', session_timeout=1000)
    for done in (1, 2):
        mock.produce(topic, [event(done)])
        member = inside(file).started()
        member.wait(lambda done=done: mock.committed(f"g-{topic}", topic) == done)
        member.stop()


def test_port_that_is_in_use(mock, topic, consumer_file, inside):
    """A port that is in use is wrong usage, and the message names the setting."""
    first = inside(consumer_file(mock, topic)).started()
    port = first.events("started")[0]["http"].rpartition(":")[2]
    file = consumer_file(mock, topic)
    file.write_text(file.read_text().replace("port = 0", f"port = {port}"))
    assert "another [http] port" in inside(file).ended(2)


def test_signal_while_the_broker_is_down(mock, topic, consumer_file, consume):
    """While the broker is down, a signal still ends the process in time, although it cannot leave its group."""
    program = consume(consumer_file(mock, topic, librdkafka=ENDLESS)).started()
    mock.produce(topic, [event(n) for n in range(10)])
    program.wait(lambda: mock.committed(f"g-{topic}", topic) == 10)
    mock.down()
    program.wait(lambda: program.metric("kafka_errors_total") >= 1)
    program.stop(seconds=60)
    mock.up()


@pytest.mark.thorough
def test_commit_without_a_reply(mock, topic, consumer_file, consume, sql, psycopg_connect, waiting_for_locks):
    """While a commit gets no reply, the consumer stays alive, and a signal ends it before the session times out."""
    more = '[batch]\nshutdown = "1s"\n[database]\nlock_timeout = "10min"\nstatement_timeout = "10min"'
    program = consume(consumer_file(mock, topic, more=more, librdkafka=ENDLESS, session_timeout=250_000)).started()
    with psycopg_connect() as holder:
        holder.execute("LOCK TABLE events IN SHARE MODE")
        mock.produce(topic, [event(n) for n in range(10)])
        program.wait(waiting_for_locks)
        mock.down()
    # The batch is what had arrived when the broker went down, which may not be all events.
    written = wait_for(lambda: sql(COUNT)[0][0])
    assert 200 == program.get("/healthz")[0]
    assert 0 == program.metric("inserted_total")  # counted once the commit has a reply, or the session times out
    program.stop(seconds=60)
    assert not program.events("commit_failed")

    mock.up()
    assert 0 == mock.committed(f"g-{topic}", topic)
    # The mock lets nobody into a group until it has missed the member that was in it, so this is another group.
    again = consume(consumer_file(mock, topic, more=more, group="again"))
    again.wait(lambda: mock.committed(f"again-{topic}", topic) == 10)
    again.wait(lambda: written == again.metric("duplicates_total"))
    assert [(10, 10)] == sql(COUNT)
