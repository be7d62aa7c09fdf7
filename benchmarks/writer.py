"""What an event costs: the original's ways, ours, and COPY without a look, side by side on one durable server.

``python benchmarks/writer.py [--events N] [--repeat N] [--duplicates SHARE]``: agent actions into the reference
project's table, with its eight indexes. A server that waits for its disk at each commit is the honest setting:
``--no-fsync`` shows what is left of the differences where commits cost nothing.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from latency import wire
from sqlalchemy import make_url

from dupe_audit.embedded import Server
from dupe_audit.model import UniqueKey
from dupe_audit.writer import Writer

ROOT = Path(__file__).parents[1]
NAME = "unique_action_per_correlation_timestamp"
KEY = UniqueKey(table="agent_actions", columns=("correlation_id", "action_name", "created_at"), name=NAME)
COLUMNS = ("correlation_id", "agent_name", "action_type", "action_name", "action_details", "debug_mode", "created_at")
INTO = f"INSERT INTO agent_actions ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
ONCE = f"{INTO} ON CONFLICT ON CONSTRAINT {NAME} DO NOTHING RETURNING id"
LOOK = "SELECT id FROM agent_actions WHERE correlation_id = %s AND action_name = %s AND created_at = %s"

Event = tuple[Any, ...]
Connection = psycopg.Connection[Any]


def events(count: int, duplicates: float) -> list[Event]:
    """Return events, of which a share is an earlier one again."""
    chance = random.Random(7)  # noqa: S311 - the same events each time
    began, made = datetime(2030, 1, 31, tzinfo=UTC), []
    for number in range(count):
        if made and chance.random() < duplicates:
            made.append(chance.choice(made[-2000:]))
            continue
        at = (began + timedelta(milliseconds=number)).isoformat()
        details = f'{{"file": "src/module_{number % 97}.py", "lines": {number % 1000}}}'
        correlation = str(uuid.UUID(int=chance.getrandbits(128)))
        made.append(
            (correlation, "researcher", "tool_call", chance.choice(["Read", "Edit", "Bash"]), details, True, at)
        )
    return made


def batches(made: Sequence[Event], size: int) -> Iterator[Sequence[Event]]:
    """Cut the events into batches."""
    return (made[start : start + size] for start in range(0, len(made), size))


def look_then_insert(connection: Connection, made: Sequence[Event]) -> None:
    """Write as the original did, racing; each statement its own transaction."""
    for event in made:
        if connection.execute(LOOK, (event[0], event[3], event[6])).fetchone() is None:
            connection.execute(INTO, event)


def look_then_insert_batched(connection: Connection, made: Sequence[Event]) -> None:
    """Write as the original did, a hundred events in one transaction."""
    for batch in batches(made, 100):
        with connection.transaction():
            look_then_insert(connection, batch)


def insert_once(connection: Connection, made: Sequence[Event]) -> None:
    """Write as the original then did: one ON CONFLICT for each event."""
    for event in made:
        connection.execute(ONCE, event).fetchone()


def insert_once_batched(connection: Connection, made: Sequence[Event]) -> None:
    """One ON CONFLICT for each event, a hundred in one transaction."""
    for batch in batches(made, 100):
        with connection.transaction():
            insert_once(connection, batch)


def writer(size: int) -> Callable[[Connection, Sequence[Event]], None]:
    """Return a run of the writer with batches of a size."""

    def run(connection: Connection, made: Sequence[Event]) -> None:
        writer = Writer(connection, KEY, COLUMNS)
        for batch in batches(made, size):
            writer.write(batch)

    return run


def copy(connection: Connection, made: Sequence[Event]) -> None:
    """COPY five hundred events at a time, with no look at duplicates, which needs a table without the constraint."""
    for batch in batches(made, 500):
        with connection.cursor().copy(f"COPY agent_actions ({', '.join(COLUMNS)}) FROM STDIN") as rows:
            for event in batch:
                rows.write_row(event)


Way = Callable[[Connection, Sequence[Event]], None]
Figures = tuple[float, float, float]

COPY = "COPY, no look at duplicates"
REPLAY = "the writer, batches of 500, every event there already"

#: with the share of the events that is enough for a figure
WAYS: dict[str, tuple[Way, float]] = {
    "SELECT, then INSERT": (look_then_insert, 0.1),
    "SELECT, then INSERT, 100 a transaction": (look_then_insert_batched, 0.1),
    "one ON CONFLICT an event": (insert_once, 0.1),
    "one ON CONFLICT an event, 100 a transaction": (insert_once_batched, 0.1),
    "the writer, an event at a time": (writer(1), 0.1),
    "the writer, batches of 100": (writer(100), 0.5),
    "the writer, batches of 500": (writer(500), 1),
    "the writer, batches of 2,000": (writer(2000), 1),
}


def measure(connection: Connection, name: str, made: Sequence[Event]) -> Figures:
    """Return events a second, statements an event, and those an event with what begins and ends transactions."""
    way, share = {**WAYS, REPLAY: (writer(500), 1), COPY: (copy, 1)}[name]
    made = made[: int(len(made) * share)]
    connection.execute("TRUNCATE agent_actions")
    if name == REPLAY:
        writer(2000)(connection, made)
    connection.execute("VACUUM ANALYZE agent_actions")
    connection.execute("CHECKPOINT")
    connection.execute("SELECT pg_stat_statements_reset()")
    began = time.perf_counter()
    way(connection, made)
    seconds = time.perf_counter() - began
    written = connection.execute(
        "SELECT sum(calls) FILTER (WHERE query !~* '^(BEGIN|COMMIT|SET)'), sum(calls) FROM pg_stat_statements"
        " WHERE query !~ '(pg_stat_statements|pg_catalog.pg_attribute|CREATE TEMP)'"
    ).fetchone()
    if way is not copy:
        distinct = len({(event[0], event[3], event[6]) for event in made})
        assert (distinct,) == connection.execute("SELECT count(*) FROM agent_actions").fetchone()  # noqa: S101
    return len(made) / seconds, float(written[0]) / len(made), float(written[1]) / len(made)


def compare(connection: Connection, made: Sequence[Event], repeat: int) -> dict[str, list[Figures]]:
    """Run every way several times, in turns, and return the figures."""
    figures: dict[str, list[Figures]] = {name: [] for name in (*WAYS, REPLAY, COPY)}
    for _ in range(repeat):
        for name in WAYS:
            figures[name].append(measure(connection, name, made))
        figures[REPLAY].append(measure(connection, REPLAY, made))
        connection.execute(f"ALTER TABLE agent_actions DROP CONSTRAINT {NAME}")
        figures[COPY].append(measure(connection, COPY, made))
        connection.execute("TRUNCATE agent_actions")
        connection.execute(f"ALTER TABLE agent_actions ADD CONSTRAINT {NAME} UNIQUE ({', '.join(KEY.columns)})")
    return figures


def report(figures: dict[str, list[Figures]]) -> None:
    """Print the medians and the ratios."""
    median = {name: [statistics.median(part) for part in zip(*runs, strict=True)] for name, runs in figures.items()}
    racy, raw = median["SELECT, then INSERT"], median[COPY]
    print(f"{'way':52} {'events/s':>9} {'x racy':>7} {'x COPY':>7} {'statements/event':>17} {'with BEGIN, COMMIT':>19}")
    for name, (rate, statements, every) in median.items():
        print(f"{name:52} {rate:9,.0f} {rate / racy[0]:7.1f} {rate / raw[0]:7.2f} {statements:17.3f} {every:19.3f}")
    single, best = median["one ON CONFLICT an event"], median["the writer, batches of 500"]
    print(f"\nqueries saved by one ON CONFLICT an event: {1 - single[1] / racy[1]:.0%} (the original expected 40-50 %)")
    print(f"queries saved by the writer, batches of 500: {1 - best[1] / racy[1]:.1%}")
    print(f"the writer is {best[0] / racy[0]:.1f} times SELECT-then-INSERT (aim: 20)")
    print(f"the writer reaches {best[0] / raw[0]:.2f} of COPY (aim: 0.4)\n", flush=True)


def main() -> None:
    """Print a table over a socket and one over a wire."""
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=40_000)
    options.add_argument("--repeat", type=int, default=3)
    options.add_argument("--duplicates", type=float, default=0.2)
    options.add_argument("--latency", type=float, default=1.0, help="milliseconds of a round trip over the wire")
    options.add_argument("--no-fsync", action="store_true")
    arguments = options.parse_args()
    made = events(arguments.events, arguments.duplicates)
    settings = {"fsync": "off" if arguments.no_fsync else "on", "shared_preload_libraries": "pg_stat_statements"}
    with Server.start(None, {**settings, "max_wal_size": "4GB", "shared_buffers": "256MB"}) as server:
        url = make_url(server.url())
        subprocess.run(
            [sys.executable, "-m", "alembic", "upgrade", "015"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": server.url()},
            check=True,
            capture_output=True,
        )
        home = str(url.query["host"])
        print(f"{arguments.events:,} events, {arguments.duplicates:.0%} of them duplicates; a Unix socket:\n")
        with psycopg.connect(host=home, user="postgres", dbname="postgres", autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            report(compare(connection, made, arguments.repeat))
        print(f"The same over a wire whose round trip takes {arguments.latency} ms:\n")
        with (
            wire(f"{home}/.s.PGSQL.{url.query['port']}", arguments.latency / 1000) as port,
            psycopg.connect(
                host="127.0.0.1", port=port, user="postgres", dbname="postgres", autocommit=True, sslmode="disable"
            ) as connection,
        ):
            report(compare(connection, made, arguments.repeat))


if __name__ == "__main__":
    main()
