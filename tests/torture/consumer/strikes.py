"""Everything bad that happens to consumers; each strike is a function that returns when its cause is over."""

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

#: the client id of the producer of dead letters
DLQ_CLIENT = "dupe-audit-dlq"

#: the first number of events that the stream does not reach
ANTAGONIST = 10**7

#: seconds until an event must have come; the machine may be busy
PATIENCE = 120


@dataclass
class Stage:
    """Everything that a strike can reach."""

    scene: Scene
    members: Members
    sender: Sender
    server: Server | None
    random: Random
    pace: float = 1.0  #: factor of the durations of strikes
    enough: Callable[[], bool] | None = None  #: ends a strike, whatever its duration is
    deadlocks: int = 0

    def any_member(self) -> Member:
        """Return one of the consumers."""
        return self.random.choice(self.members.all)

    def last(self, shortest: float, longest: float) -> None:
        """Let a strike last: for a random number of seconds, or until there is enough of it."""
        if self.enough is None:
            time.sleep(self.random.uniform(shortest, longest) * self.pace)
            return
        deadline = time.monotonic() + PATIENCE
        while not self.enough() and time.monotonic() < deadline:
            time.sleep(0.02)


Strike = Callable[[Stage], list[Objection]]


def killed(stage: Stage) -> list[Objection]:
    """SIGKILL, and another process a little later."""
    member = stage.any_member()
    member.kill()
    stage.last(0, 1)
    member.start()
    return []


def terminated(stage: Stage) -> list[Objection]:
    """SIGTERM, which has to end well, and another process."""
    member = stage.any_member()
    member.ready(PATIENCE)
    member.signal(signal.SIGTERM)
    code = member.wait(PATIENCE)
    failed = [] if code == 0 else [Objection(UNCAUSED, f"SIGTERM ended a consumer with {code}: {member.last_words()}")]
    if code is None:
        member.kill()
    member.start()
    return failed


def stopped(stage: Stage) -> list[Objection]:
    """SIGSTOP until the group has continued without the consumer, then SIGCONT."""
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
            stage.last(0.02, 0.2)
    return []


def crashed(stage: Stage) -> list[Objection]:
    """A stop of the server without a checkpoint; it is away for a while."""
    if stage.server:
        stage.server.crash()
        stage.last(0, 1.5)
        stage.server.resume()
    return []


def locked(stage: Stage, mode: str = "ACCESS EXCLUSIVE") -> list[Objection]:
    """A lock on the table, for about as long as a consumer's lock_timeout."""
    with stage.scene.world.connect() as connection, connection.transaction():
        connection.execute(f"LOCK TABLE agent_actions IN {mode} MODE".encode())
        stage.last(1.5, 2.5)
    return []


def locked_against_writers(stage: Stage) -> list[Objection]:
    """A lock that stops only writers, so that the watcher sees offsets that are committed without rows."""
    return locked(stage, "EXCLUSIVE")


def deadlocked(stage: Stage) -> list[Objection]:
    """A transaction that holds the greater of two keys, and requests the smaller one when a consumer holds it."""
    if not stage.scene.enforced():  # without the constraint nobody waits for a key
        return []
    first = ANTAGONIST + stage.random.randrange(10**7)
    low, high = sorted((Content(first, 0), Content(first + 4, 0)), key=lambda content: str(key_of(content.number)[0]))
    with stage.scene.world.connect() as connection:
        before = _deadlocks(connection)
        connection.execute("SET deadlock_timeout = '20s'")  # so that the consumer's transaction is the victim
        connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        connection.execute(_INSERT, key_of(high.number))
        partition = stage.random.randrange(PARTITIONS)
        for content in (low, high):
            stage.sender.send(Message(partition, b"deadlock", plain(content), content))
        if _blocks_a_consumer(connection.info.backend_pid, stage.scene):
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


def _blocks_a_consumer(pid: int, scene: Scene) -> bool:
    # On another connection, for pg_stat_activity does not change inside a transaction.
    with scene.world.connect() as connection:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            waits = f"SELECT FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))"
            if connection.execute(waits.encode()).fetchone() is not None:
                return True
            time.sleep(0.01)
    return False


def _deadlocks(connection: psycopg.Connection) -> int:
    if connection.info.server_version >= 150000:
        connection.execute("SELECT pg_stat_force_next_flush()")
    counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int((connection.execute(counted).fetchone() or (0,))[0])


def cut(stage: Stage) -> list[Objection]:
    """Cuts of the wire to the broker, one to three in a row."""
    proxy = stage.scene.broker.proxy
    if proxy:
        for _ in range(stage.random.randint(1, 3)):
            with proxy.cut():
                stage.last(0.1, 1.5)
            stage.last(0, 0.3)
    return []


def dlq_away(stage: Stage) -> list[Objection]:
    """Dead letters that do not arrive for a while; everything else does."""
    proxy = stage.scene.broker.proxy
    if proxy:
        with proxy.holding(DLQ_CLIENT) as arrived:
            arrived.wait(PATIENCE)
            stage.last(1.5, 3)
            # A consumer that does not wait for the acknowledgement loses its letter now.
            member = stage.any_member()
            member.kill()
        member.start()
    return []


def downgraded(stage: Stage) -> list[Objection]:
    """Drop the constraint with alembic downgrade under load."""
    return _migrated(stage, "downgrade", BARE)


def upgraded(stage: Stage) -> list[Objection]:
    """Create the constraint with alembic upgrade under load."""
    return _migrated(stage, "upgrade", HEAD)


def _migrated(stage: Stage, direction: str, revision: str) -> list[Objection]:
    words = stage.scene.migrate(direction, revision)
    return [Objection(UNCAUSED, f"{direction}: {words}")] if words else []


#: by the name in the tally; MIGRATIONS drop the constraint and create it again
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
