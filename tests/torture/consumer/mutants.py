"""Consumers as they are often written: ours, with one thing done in the usual way. The harness has to notice each.

``python -m torture.consumer.mutants NAME CONFIG`` runs one, as ``dupe-audit consume CONFIG`` runs the real one.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from dupe_audit.cli import main
from dupe_audit.consumer import fields
from dupe_audit.consumer.batch import EventBatch
from dupe_audit.consumer.database import Database
from dupe_audit.consumer.dlq import DeadLetters, Letter
from dupe_audit.consumer.logs import log_event
from dupe_audit.consumer.loop import Loop
from dupe_audit.writer import Outcome, Unavailable
from torture.consumer.invariants import INVENTED, LETTERS, OFFSETS

#: in the order of the scene's configuration
COLUMNS = "correlation_id, agent_name, action_type, action_name, action_details, debug_mode, duration_ms, created_at"
INTO = f"INSERT INTO agent_actions ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
LOOK = "SELECT FROM agent_actions WHERE correlation_id = %s AND action_name = %s AND created_at = %s"


@dataclass(frozen=True)
class Mutant:
    """A patch, the strike at it, and the objection that it has to provoke: an invariant, and words of the violation."""

    patch: Callable[[], None]
    strike: str | None
    invariant: str
    words: str
    members: int = 1  #: consumers of the group


def commit_first() -> None:
    """Commit the polled messages, then write them."""
    process = Loop._process

    def hasty(self: Loop, messages: list[Any]) -> None:
        offsets = EventBatch(messages, self._decode, self._config.events).offsets()
        self._source.commit(offsets, self._heartbeat)
        process(self, messages)

    Loop._process = hasty  # type: ignore[method-assign]


def swallow() -> None:
    """Log an error inside the batch's transaction and continue in it: the rest of the batch is lost silently."""

    def write(self: Database, rows: Sequence[Any]) -> list[Outcome]:
        with _Away(self) as connection, connection.transaction():
            for row in rows:
                try:
                    connection.execute(f"{INTO} ON CONFLICT DO NOTHING", row)
                except psycopg.Error as error:
                    log_event("an error was ignored", sqlstate=error.sqlstate)
        return [Outcome(kind="inserted")] * len(rows)

    Database.write = write  # type: ignore[method-assign]


def look_then_insert() -> None:
    """SELECT, and INSERT what was not found; a row that the constraint then refuses counts as bad.

    Without the constraint it would make duplicates, which are not a violation then; see ``invariants``.
    """

    def write(self: Database, rows: Sequence[Any]) -> list[Outcome]:
        with _Away(self) as connection, connection.transaction():
            return [_look_then_insert(connection, row) for row in rows]

    Database.write = write  # type: ignore[method-assign]


def _look_then_insert(connection: psycopg.Connection[Any], row: Any) -> Outcome:
    try:
        with connection.transaction():
            if connection.execute(LOOK, (row[0], row[3], row[7])).fetchone() is not None:
                return Outcome(kind="duplicate")
            connection.execute(INTO, row)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
        return Outcome(kind="rejected", sqlstate=error.sqlstate)
    return Outcome(kind="inserted")


class _Away:
    """A connection whose errors tell the loop that the database is away."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> psycopg.Connection[Any]:
        return self._database._ready_connection()

    def __exit__(self, _type: object, error: object, _traceback: object) -> None:
        if isinstance(error, psycopg.Error):
            self._database.close()
            raise Unavailable(str(error), sqlstate=error.sqlstate, reconnect=True) from None


def forget_letters() -> None:
    """Hand dead letters to the client library and call that delivered."""

    def send(self: DeadLetters, letters: Sequence[Letter], *_: object, **__: object) -> None:
        producer = self._ready_producer()
        for letter in letters:
            producer.produce(letter.topic, letter.value, letter.key, headers=list(letter.headers))
        producer.poll(0)

    DeadLetters.send = send  # type: ignore[method-assign]


def read_time() -> None:
    """Let Python read the time: it cuts off the seventh digit, which PostgreSQL rounds."""
    checked = fields.TYPES["timestamptz"]

    def convert(value: Any) -> str:
        try:
            return datetime.fromisoformat(checked(value)).isoformat()
        except ValueError:
            raise fields.Poison("bad_timestamp", "not a time for Python") from None

    fields.TYPES["timestamptz"] = convert


MUTANTS = {
    "commit, then write": Mutant(commit_first, "table locked against writers", OFFSETS, "an event, which is nowhere"),
    "swallow an error in the batch": Mutant(swallow, None, OFFSETS, "an event, which is nowhere"),
    "SELECT, then INSERT": Mutant(look_then_insert, None, LETTERS, "a good event", members=2),
    "dead letters without waiting": Mutant(forget_letters, "dead letters held back", OFFSETS, "which is nowhere"),
    "let Python read the time": Mutant(read_time, None, INVENTED, "which is no event's key"),
}


if __name__ == "__main__":
    MUTANTS[sys.argv.pop(1)].patch()
    sys.argv.insert(1, "consume")
    main()
