"""Everything bad that happens to consumers, each as a function that ends when the world is as it was."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import psycopg

from dupe_audit.embedded import Server
from torture.consumer.broker import PARTITIONS, SESSION_TIMEOUT
from torture.consumer.events import Content, key_of, plain
from torture.consumer.invariants import UNCAUSED
from torture.consumer.members import Member, Members
from torture.consumer.producer import Sender
from torture.consumer.scene import BARE, HEAD, Scene
from torture.consumer.stream import Message
from torture.invariants import Objection

#: librdkafka's name of the producer of dead letters
DLQ_CLIENT = "dupe-audit-dlq"

#: numbers of events that the stream does not reach
ANTAGONIST = 10**7

#: seconds; the machine may be busy
PATIENCE = 30


@dataclass
class Stage:
    """What a strike can reach."""

    scene: Scene
    members: Members
    sender: Sender
    server: Server | None
    random: Random
    deadlocks: int = 0

    def any_member(self) -> Member:
        """Return one of the consumers."""
        return self.random.choice(self.members.all)


Strike = Callable[[Stage], list[Objection]]


def killed(stage: Stage) -> list[Objection]:
    """SIGKILL, and another process a little later."""
    member = stage.any_member()
    member.kill()
    time.sleep(stage.random.uniform(0, 1))
    member.start()
    return []


def terminated(stage: Stage) -> list[Objection]:
    """SIGTERM, which has to end well, and another process."""
    member = stage.any_member()
    member.ready(PATIENCE)
    member.signal(signal.SIGTERM)
    code = member.wait(PATIENCE)
    wrong = [] if code == 0 else [Objection(UNCAUSED, f"SIGTERM ended a consumer with {code}: {member.last_words()}")]
    if code is None:
        member.kill()
    member.start()
    return wrong


def stopped(stage: Stage) -> list[Objection]:
    """Stand still until the group has gone on without it, and then go on as if nothing had happened."""
    member = stage.any_member()
    member.signal(signal.SIGSTOP)
    time.sleep(SESSION_TIMEOUT / 1000 * stage.random.uniform(1.2, 2))
    member.signal(signal.SIGCONT)
    return []


def backends_ended(stage: Stage) -> list[Objection]:
    """Every consumer's backend, several times."""
    with stage.scene.world.connect() as connection:
        for _ in range(stage.random.randint(1, 5)):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'dupe-audit consume%'"
            )
            time.sleep(stage.random.uniform(0.02, 0.2))
    return []


def crashed(stage: Stage) -> list[Objection]:
    """The server, without a checkpoint; it is away for a while."""
    if stage.server:
        stage.server.crash()
        time.sleep(stage.random.uniform(0, 1.5))
        stage.server.resume()
    return []


def locked(stage: Stage, mode: str = "ACCESS EXCLUSIVE") -> list[Objection]:
    """The table, for about as long as a consumer's lock_timeout."""
    with stage.scene.world.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE agent_actions IN {mode} MODE".encode())
        time.sleep(stage.random.uniform(1.5, 2.5))
    return []


def locked_against_writers(stage: Stage) -> list[Objection]:
    """The table, for writers only: what is committed meanwhile without being written can be seen."""
    return locked(stage, "EXCLUSIVE")


def deadlocked(stage: Stage) -> list[Objection]:
    """A transaction that holds the greater of two keys, and asks for the smaller one when a consumer has it."""
    if not stage.scene.enforced():  # nothing is held by a key then
        return []
    first = ANTAGONIST + stage.random.randrange(10**7)
    low, high = sorted((Content(first, 0), Content(first + 4, 0)), key=lambda one: str(key_of(one.number)[0]))
    with stage.scene.world.connect() as connection:
        before = _deadlocks(connection)
        connection.execute("SET deadlock_timeout = '20s'")  # so it is the consumer that finds out
        connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        connection.execute(_INSERT, key_of(high.number))
        partition = stage.random.randrange(PARTITIONS)
        for content in (low, high):
            stage.sender.send(Message(partition, b"deadlock", plain(content), content))
        if _somebody_waits_for(connection.info.backend_pid, stage.scene):
            with suppress(psycopg.OperationalError, psycopg.errors.UniqueViolation):
                connection.execute("SET LOCAL lock_timeout = '5s'")
                connection.execute(_INSERT, key_of(low.number))
        connection.execute("ROLLBACK")
        stage.deadlocks += _deadlocks(connection) > before
    return []


_INSERT = (
    "INSERT INTO agent_actions (correlation_id, action_name, created_at, agent_name, action_type) "
    "VALUES (%s, %s, %s, 'antagonist', 'error')"
)


def _somebody_waits_for(pid: int, scene: Scene) -> bool:
    # From outside: in a transaction pg_stat_activity stands still.
    with scene.world.connect() as connection:
        for _ in range(200):
            waits = f"SELECT FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))"
            if connection.execute(waits.encode()).fetchone() is not None:
                return True
            time.sleep(0.02)
    return False


def _deadlocks(connection: psycopg.Connection) -> int:
    if connection.info.server_version >= 150000:
        connection.execute("SELECT pg_stat_force_next_flush()")
    counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int((connection.execute(counted).fetchone() or (0,))[0])


def cut(stage: Stage) -> list[Objection]:
    """The wire to the broker, a few times in a row or for a while."""
    proxy = stage.scene.broker.proxy
    if proxy:
        for _ in range(stage.random.randint(1, 3)):
            with proxy.cut():
                time.sleep(stage.random.uniform(0.1, 1.5))
            time.sleep(stage.random.uniform(0, 0.3))
    return []


def dlq_away(stage: Stage) -> list[Objection]:
    """The topic of dead letters takes nothing for a while; everything else works."""
    proxy = stage.scene.broker.proxy
    if proxy:
        with proxy.holding(DLQ_CLIENT):
            time.sleep(stage.random.uniform(1.5, 3))
            # Whoever does not wait for the acknowledgement has lost it now.
            member = stage.any_member()
            member.kill()
        member.start()
    return []


def downgraded(stage: Stage) -> list[Objection]:
    """The constraint, by alembic downgrade under load."""
    return _migrated(stage, "downgrade", BARE)


def upgraded(stage: Stage) -> list[Objection]:
    """The constraint, by alembic upgrade under load."""
    return _migrated(stage, "upgrade", HEAD)


def _migrated(stage: Stage, direction: str, revision: str) -> list[Objection]:
    words = stage.scene.migrate(direction, revision)
    return [Objection(UNCAUSED, f"{direction}: {words}")] if words else []


#: by the name in the tally; the constraint goes and comes back with the next two
STRIKES: dict[str, Strike] = {
    "consumer killed": killed,
    "consumer ended by SIGTERM": terminated,
    "consumer stopped beyond its session": stopped,
    "backends ended": backends_ended,
    "server crashed": crashed,
    "table locked": locked,
    "table locked against writers": locked_against_writers,
    "deadlock": deadlocked,
    "broker cut off": cut,
    "dead letters held back": dlq_away,
}
DOWN, UP = "alembic downgrade", "alembic upgrade"
MIGRATIONS: dict[str, Strike] = {DOWN: downgraded, UP: upgraded}
