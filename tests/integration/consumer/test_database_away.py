"""The database is unreachable, slow, or changes under a consumer: no event is lost, and partitions are kept."""

import signal
import socket
import time

import psycopg
import pytest
from sqlalchemy import make_url

from dupe_audit.consumer import loop, read
from dupe_audit.consumer.database import Database
from dupe_audit.consumer.source import Source
from kafka import EVENTS, UNIQUE, by_trace, event
from waiting import PATIENCE

PATIENT = '[database]\nlock_timeout = "10min"\nstatement_timeout = "10min"'
COUNT = "SELECT count(*), count(DISTINCT (trace, name, at)) FROM events"


@pytest.fixture
def away(server_url, database_url):
    """Refuse connections to the test's database and end existing ones, or allow them again."""
    name = make_url(database_url).database
    server = make_url(server_url).set(drivername="postgresql").render_as_string(hide_password=False)

    def switch(*, allow: bool) -> None:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allow}".encode())
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    yield switch
    switch(allow=True)


@pytest.mark.thorough
def test_partitions_are_kept_while_the_database_is_away(
    mock, consumer_file, inside, sql, psycopg_connect, away, monkeypatch
):
    """While the database is unreachable the consumer is alive, not ready, keeps its partitions, and then continues."""
    sql(EVENTS + UNIQUE)
    topic = mock.topic()
    quick, impatient = '[batch]\nrows = 10\n[dlq]\ntimeout = "1s"', '"max.poll.interval.ms" = 4000'
    polled, poll = [], Source.poll
    monkeypatch.setattr(Source, "poll", lambda *arguments: polled.append(time.monotonic()) or poll(*arguments))
    member = inside(consumer_file(mock, topic, more=quick, librdkafka=impatient, session_timeout=4000)).started()
    member.wait(lambda: member.get("/readyz")[0] == 200)
    away(allow=False)
    mock.produce(topic, [event(n) for n in range(100)])
    member.wait(lambda: member.metric("database_up") == 0)
    since = time.monotonic()
    # Longer than max.poll.interval.ms, which librdkafka looks at every half second.
    member.wait(lambda: polled[-1] > since + 4.6)

    assert (503, "the database is unreachable\n") == member.get("/readyz")
    assert 200 == member.get("/healthz")[0]
    assert 0 == mock.committed(f"g-{topic}", topic)
    away(allow=True)
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 100)
    assert 200 == member.get("/readyz")[0]
    assert ["assigned"] == [line["kind"] for line in member.events("partitions")]
    assert member.metric("database_retries_total") >= 1
    with psycopg_connect() as fresh:
        assert (100, 100) == fresh.execute(COUNT).fetchone()


def test_the_database_is_logged_before_it_is_written(mock, consumer_file, inside, sql, database_url):
    """The log says which database, host and role the consumer uses, before it writes."""
    sql(EVENTS + UNIQUE)
    topic = mock.topic()
    mock.produce(topic, [event(1), event(1)])
    member = inside(consumer_file(mock, topic))
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 2)
    names = [line["event"] for line in member.events()]
    assert ["started", "database", "arbiter"] == names[:3]
    [logged] = member.events("database")
    expected = make_url(database_url)
    assert (expected.database, expected.query["host"], "postgres") == (
        logged["database"],
        logged["host"],
        logged["role"],
    )


def test_another_host_is_logged(mock, consumer_file, sql, database_url, tmp_path, caplog):
    """After a reconnection the database is logged again only if it is on another host, and never with the password."""
    sql(EVENTS + UNIQUE)
    parts = make_url(database_url)
    host, port, other = parts.query["host"], parts.query.get("port", "5432"), tmp_path / "other"
    other.symlink_to(host)
    several = f"host={other},{host} port={port},{port} dbname={parts.database} user=postgres password=hunter2"
    caplog.set_level("INFO", logger="dupe_audit.consumer")
    database = Database(several, read(consumer_file(mock, mock.topic()), {}))
    for _ in range(2):
        database.probe()
        database.close()
    other.unlink()
    for _ in range(2):
        database.probe()
        database.close()
    logged = [record.fields for record in caplog.records if record.msg == "database"]
    assert [str(other), host] == [fields["host"] for fields in logged]
    assert "hunter2" not in str(logged)


@pytest.mark.thorough
def test_rebalance_while_the_database_is_away(broker, consumer_file, inside, sql, psycopg_connect, away):
    """A member that joins meanwhile takes over partitions, and neither commits an event that it has not written."""
    sql(EVENTS + UNIQUE)
    topic = broker.topic()
    file = consumer_file(broker, topic)
    first = inside(file).started()
    away(allow=False)
    broker.produce(topic, [event(n) for n in range(400)], key=by_trace)
    first.wait(lambda: first.metric("database_up") == 0)
    second = inside(file)
    first.wait(lambda: first.metric("rebalances_total", kind="revoked") >= 1)
    second.wait(lambda: second.metric("assigned_partitions") == 2)
    assert 0 == broker.committed(f"g-{topic}", topic)
    away(allow=True)
    first.wait(lambda: broker.committed(f"g-{topic}", topic) == 400)
    first.stop()
    second.stop()
    with psycopg_connect() as fresh:
        assert (400, 400) == fresh.execute(COUNT).fetchone()


def test_killed_backends_lose_and_repeat_no_event(mock, consumer_file, inside, sql, psycopg_connect):
    """Wherever backends are killed, each event is exactly one row in the end."""
    sql(EVENTS + UNIQUE)
    topic = mock.topic()
    mock.produce(topic, [event(n // 2) for n in range(1500)], key=by_trace)
    member = inside(consumer_file(mock, topic, more="[batch]\nrows = 50"))
    busy = (
        "FROM pg_stat_activity WHERE application_name LIKE 'dupe-audit consume%' AND datname = current_database() "
        "AND state <> 'idle'"
    )
    blocked = f"SELECT pid {busy} AND pid IN (SELECT pid FROM pg_locks WHERE NOT granted)"
    with psycopg_connect() as holder:  # in the middle of a batch
        holder.execute("LOCK TABLE events IN SHARE MODE")
        for _ in range(5):
            [(victim,)] = member.wait(lambda: sql(blocked))
            assert [(True,)] == sql(f"SELECT pg_terminate_backend({victim}, 60000)")  # ms; it is gone then
    killed = 0
    while mock.committed(f"g-{topic}", topic) < 1500:  # and at any other point
        killed += sql(f"SELECT count(pg_terminate_backend(pid)) {busy}")[0][0] if killed < 5 else 0
        assert member.alive(), member.lines()

    assert [(750, 750)] == sql(COUNT)


@pytest.mark.parametrize(("sqlstate", "times"), [("53100", 8), ("40001", 8), ("40P01", 8), ("57P03", 3)])
@pytest.mark.representatives("40001-8", "57P03-3")
def test_passing_errors_are_retried(mock, consumer_file, inside, sql, sqlstate, times):
    """A full disk, a serialization failure or a deadlock is retried: no dead letter, and no stop."""
    sql(
        EVENTS + UNIQUE + "; CREATE SEQUENCE tries;"
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('tries') <= {times} THEN RAISE SQLSTATE '{sqlstate}'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    topic = mock.topic(1)
    letters = mock.topic(1, f"{topic}-dlq")
    member = inside(consumer_file(mock, topic)).started()
    mock.produce(topic, [event(n) for n in range(20)])
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 20)

    assert [(20, 20)] == sql(COUNT)
    assert times == member.metric("database_retries_total", sqlstate=sqlstate)
    assert (0, []) == (member.metric("rejected_total"), mock.read(letters, 0))
    assert member.get("/readyz")[0] == 200


def test_readiness_follows_the_constraint(mock, consumer_file, inside, sql, monkeypatch):
    """Without the constraint the consumer writes but is not ready; with it, it is ready and prevents duplicates."""
    sql(EVENTS)
    monkeypatch.setattr(loop, "PROBE_EVERY", 0.05)
    topic = mock.topic(1)
    member = inside(consumer_file(mock, topic)).started()
    member.wait(lambda: member.metric("arbiter", mode="any") == 1)
    mock.produce(topic, [event(n) for n in range(10)])
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 10)
    assert (503, "no valid constraint keeps the key unique, and rollout is false\n") == member.get("/readyz")

    sql(UNIQUE)
    member.wait(lambda: member.get("/readyz")[0] == 200)
    mock.produce(topic, [event(n) for n in range(10)])
    member.wait(lambda: member.metric("duplicates_total") == 10)
    assert 1 == member.metric("arbiter", mode="named")

    monkeypatch.setattr(loop, "PROBE_EVERY", 3600)  # so that the next batch notices it
    mock.produce(topic, [event(0)])
    member.wait(lambda: member.metric("duplicates_total") == 11)  # a probe that was already due has ended
    sql("ALTER TABLE events DROP CONSTRAINT one_event")
    mock.produce(topic, [event(n) for n in range(10, 20)])
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 31)
    assert (503, 1) == (member.get("/readyz")[0], member.metric("arbiter", mode="any"))
    assert [(20, 20)] == sql(COUNT)
    assert member.metric("database_retries_total") >= 1


def test_ready_without_the_constraint_during_a_rollout(mock, consumer_file, inside, sql):
    """With rollout = true the consumer is ready before the constraint exists."""
    sql(EVENTS)
    member = inside(consumer_file(mock, mock.topic(), table="rollout = true"))
    member.wait(lambda: member.get("/readyz") == (200, "ok\n"))


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        ("SELECT 1", "Table 'events' does not exist"),
        (EVENTS + "ALTER TABLE events DROP COLUMN amount", "no column 'amount'"),
    ],
)
def test_unsuitable_table_is_reported_before_the_group_is_joined(mock, consumer_file, inside, sql, prepare, says):
    """A missing table or column ends the consumer with a message before it joins its group."""
    sql(prepare)
    member = inside(consumer_file(mock, mock.topic()))
    member.wait(lambda: member.code is not None)

    assert says in member.error
    assert [] == member.events("partitions")
    assert ["stopped"] == [line["event"] for line in member.events()[-1:]]


def test_dropped_table_stops_the_consumer(mock, consumer_file, inside, sql):
    """If the table is dropped, the consumer stops with 3; nothing is dead-lettered or committed."""
    sql(EVENTS + UNIQUE)
    topic = mock.topic(1)
    letters = mock.topic(1, f"{topic}-dlq")
    member = inside(consumer_file(mock, topic)).started()
    sql("DROP TABLE events")
    mock.produce(topic, [event(1)])
    member.ended(3)

    assert 0 == mock.committed(f"g-{topic}", topic)
    assert [] == mock.read(letters, 0)


@pytest.mark.thorough
def test_batch_that_waits_for_a_lock_is_abandoned(
    mock, consumer_file, consume, sql, psycopg_connect, waiting_for_locks
):
    """After a signal, a batch that takes too long is abandoned without a commit, and the next consumer writes it."""
    sql(EVENTS + UNIQUE)
    topic = mock.topic(1)
    more = f'[batch]\nshutdown = "500ms"\n{PATIENT}'
    program = consume(consumer_file(mock, topic, more=more)).started()
    with psycopg_connect() as holder:
        holder.execute("LOCK TABLE events IN SHARE MODE")
        mock.produce(topic, [event(n) for n in range(10)])
        program.wait(waiting_for_locks)
        before = time.monotonic()
        program.stop(seconds=60)
        assert 0.4 < time.monotonic() - before
    assert 0 == mock.committed(f"g-{topic}", topic)

    # The mock lets nobody into a group until it has missed the member that was in it, so this is another group.
    again = consume(consumer_file(mock, topic, more=more, group="again"))
    again.wait(lambda: mock.committed(f"again-{topic}", topic) == 10)
    assert [(10, 10)] == sql(COUNT)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signal_during_the_first_connection(mock, consumer_file, consume, number, code):
    """A signal ends the consumer as usual even while a database accepts its connection but never replies."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(PATIENCE)
        database = (
            f'[database]\nurl = "postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d"\nconnect_timeout = "10min"'
        )
        more = f'[batch]\nshutdown = "200ms"\n{database}'
        program = consume(consumer_file(mock, mock.topic(), more=more))
        connection, _address = silent.accept()
        with connection:
            program.stop(number, code, seconds=60)
    assert [("abandoned", None), ("stopped", number.name)] == [
        (line["event"], line.get("reason")) for line in program.events()[-2:]
    ]


def test_lock_held_beyond_the_timeout_is_waited_for(mock, consumer_file, inside, sql, psycopg_connect):
    """A lock held longer than the timeout is an outage, not a bad event: the batch is retried until it is free."""
    sql(EVENTS + UNIQUE)
    topic = mock.topic(1)
    member = inside(consumer_file(mock, topic, more='[database]\nlock_timeout = "50ms"')).started()
    with psycopg_connect() as holder:
        holder.execute("LOCK TABLE events IN SHARE MODE")
        mock.produce(topic, [event(n) for n in range(10)])
        member.wait(lambda: member.metric("database_retries_total", sqlstate="55P03") >= 6)
    member.wait(lambda: mock.committed(f"g-{topic}", topic) == 10)

    assert [(10, 10)] == sql(COUNT)
    assert 0 == member.metric("rejected_total")
