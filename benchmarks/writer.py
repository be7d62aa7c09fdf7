"""What an event costs: the original's ways, the writer, and a plain COPY, side by side on one durable server.

``python benchmarks/writer.py [--events N] [--repeat N] [--duplicates SHARE]``: agent actions into the reference
project's table, with its eight indexes. The server waits for its disk at each commit, as in production;
``--no-fsync`` shows the differences that remain if commits cost nothing. A ratio compares two ways of one repetition;
printed are the median of the repetitions, the lowest and the highest, and the latency of a commit during them.
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
from typing import Any, NamedTuple

import psycopg
from sqlalchemy import make_url

from dupe_audit.embedded import Server
from dupe_audit.model import UniqueKey
from dupe_audit.writer import Writer
from latency import wire

ROOT = Path(__file__).parents[1]
NAME = "unique_action_per_correlation_timestamp"
KEY = UniqueKey(table="agent_actions", columns=("correlation_id", "action_name", "created_at"), name=NAME)
COLUMNS = ("correlation_id", "agent_name", "action_type", "action_name", "action_details", "debug_mode", "created_at")
INTO = f"INSERT INTO agent_actions ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
ONCE = f"{INTO} ON CONFLICT ON CONSTRAINT {NAME} DO NOTHING RETURNING id"
LOOK = "SELECT id FROM agent_actions WHERE correlation_id = %s AND action_name = %s AND created_at = %s"

Event = tuple[Any, ...]
Connection = psycopg.Connection[Any]


def make_events(count: int, duplicates: float) -> list[Event]:
    """Return events, a share of which repeat earlier ones."""
    rng = random.Random(7)  # noqa: S311 - the same events each time
    first, events = datetime(2030, 1, 31, tzinfo=UTC), []
    for number in range(count):
        if events and rng.random() < duplicates:
            events.append(rng.choice(events[-2000:]))
            continue
        at = (first + timedelta(milliseconds=number)).isoformat()
        details = f'{{"file": "src/module_{number % 97}.py", "lines": {number % 1000}}}'
        correlation = str(uuid.UUID(int=rng.getrandbits(128)))
        events.append((correlation, "researcher", "tool_call", rng.choice(["Read", "Edit", "Bash"]), details, True, at))
    return events


def batches(events: Sequence[Event], size: int) -> Iterator[Sequence[Event]]:
    """Split the events into batches."""
    return (events[start : start + size] for start in range(0, len(events), size))


def look_then_insert(connection: Connection, events: Sequence[Event]) -> None:
    """Write as the original did, with its race: each statement is its own transaction."""
    for event in events:
        if connection.execute(LOOK, (event[0], event[3], event[6])).fetchone() is None:
            connection.execute(INTO, event)


def look_then_insert_batched(connection: Connection, events: Sequence[Event]) -> None:
    """Write as the original did, with a hundred events per transaction."""
    for batch in batches(events, 100):
        with connection.transaction():
            look_then_insert(connection, batch)


def insert_once(connection: Connection, events: Sequence[Event]) -> None:
    """Write as the original did later: one ON CONFLICT per event."""
    for event in events:
        connection.execute(ONCE, event).fetchone()


def insert_once_batched(connection: Connection, events: Sequence[Event]) -> None:
    """Write one ON CONFLICT per event, with a hundred events per transaction."""
    for batch in batches(events, 100):
        with connection.transaction():
            insert_once(connection, batch)


def writer(size: int) -> Callable[[Connection, Sequence[Event]], None]:
    """Return a way that uses the writer with batches of this size."""

    def write(connection: Connection, events: Sequence[Event]) -> None:
        writer = Writer(connection, KEY, COLUMNS)
        for batch in batches(events, size):
            writer.write(batch)

    return write


def copy(connection: Connection, events: Sequence[Event]) -> None:
    """COPY five hundred events at a time without looking for duplicates, into a table without the constraint."""
    for batch in batches(events, 500):
        with connection.cursor().copy(f"COPY agent_actions ({', '.join(COLUMNS)}) FROM STDIN") as rows:
            for event in batch:
                rows.write_row(event)


Way = Callable[[Connection, Sequence[Event]], None]


class Figures(NamedTuple):
    """What one way took in one repetition."""

    rate: float  #: events per second
    cpu: float  #: microseconds of processor time per event: of this process and of its backend
    statements: float  #: per event
    sent: float  #: the same with statements that begin and end transactions


COPY = "COPY, no check for duplicates"
REPLAY = "the writer, batches of 500, every event already in the table"

#: each way, with the share of the events that is enough to measure it
WAYS: dict[str, tuple[Way, float]] = {
    "SELECT, then INSERT": (look_then_insert, 0.1),
    "SELECT, then INSERT, 100 per transaction": (look_then_insert_batched, 0.1),
    "one ON CONFLICT per event": (insert_once, 0.1),
    "one ON CONFLICT per event, 100 per transaction": (insert_once_batched, 0.1),
    "the writer, one event at a time": (writer(1), 0.1),
    "the writer, batches of 100": (writer(100), 0.5),
    "the writer, batches of 500": (writer(500), 1),
    "the writer, batches of 2,000": (writer(2000), 1),
}


def measure(connection: Connection, name: str, events: Sequence[Event]) -> Figures:
    """Measure one way once."""
    way, share = {**WAYS, REPLAY: (writer(500), 1), COPY: (copy, 1)}[name]
    events = events[: int(len(events) * share)]
    connection.execute("TRUNCATE agent_actions")
    if name == REPLAY:
        writer(2000)(connection, events)
    connection.execute("VACUUM ANALYZE agent_actions")
    connection.execute("CHECKPOINT")
    connection.execute("SELECT pg_stat_statements_reset()")
    started, busy = time.perf_counter(), cpu(connection)
    way(connection, events)
    seconds, busy = time.perf_counter() - started, cpu(connection) - busy
    written = connection.execute(
        "SELECT sum(calls) FILTER (WHERE query !~* '^(BEGIN|COMMIT|SET|SELECT pg_catalog.set_config)'), sum(calls)"
        " FROM pg_stat_statements WHERE query !~ '(pg_stat_statements|pg_catalog.pg_attribute)'"
    ).fetchone()
    if way is not copy:
        distinct = len({(event[0], event[3], event[6]) for event in events})
        assert (distinct,) == connection.execute("SELECT count(*) FROM agent_actions").fetchone()  # noqa: S101
    count = len(events)
    return Figures(count / seconds, busy * 1e6 / count, float(written[0]) / count, float(written[1]) / count)


def cpu(connection: Connection) -> float:
    """Return the seconds of processor time of this process and of the backend."""
    fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return time.process_time() + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def commit_latency(connection: Connection) -> float:
    """Return the median of the milliseconds that twenty commits take which write next to nothing."""
    times = []
    for _ in range(20):
        started = time.perf_counter()
        connection.execute("SELECT pg_logical_emit_message(true, '', '')")
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def compare(
    connection: Connection, events: Sequence[Event], repeat: int
) -> tuple[dict[str, list[Figures]], list[float]]:
    """Measure every way several times, in turn; return the figures and the latencies of a commit between them."""
    figures: dict[str, list[Figures]] = {name: [] for name in (*WAYS, REPLAY, COPY)}
    latencies = []
    for repetition in range(repeat):
        # Every other time backwards, so that no way always comes first.
        for name in list(figures)[:: -1 if repetition % 2 else 1]:
            connection.execute("TRUNCATE agent_actions")
            if name == COPY:
                connection.execute(f"ALTER TABLE agent_actions DROP CONSTRAINT {NAME}")
            figures[name].append(measure(connection, name, events))
            latencies.append(commit_latency(connection))
            if name == COPY:
                connection.execute("TRUNCATE agent_actions")
                connection.execute(f"ALTER TABLE agent_actions ADD CONSTRAINT {NAME} UNIQUE ({', '.join(KEY.columns)})")
    return figures, latencies


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median, the lowest and the highest of the values."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratio(figures: dict[str, list[Figures]], name: str, other: str) -> str:
    """Return how many times as fast one way is as another, by the clock and by processor time."""
    pairs = list(zip(figures[name], figures[other], strict=True))
    wall, busy = [a.rate / b.rate for a, b in pairs], [b.cpu / a.cpu for a, b in pairs]
    return f"{spread(wall)} by the clock, {spread(busy)} by processor time"


def report(figures: dict[str, list[Figures]], latencies: Sequence[float]) -> None:
    """Print the medians and the ratios."""
    median = {name: Figures(*map(statistics.median, zip(*runs, strict=True))) for name, runs in figures.items()}
    print(f"{'way':60} {'events/s':>9} {'CPU us/event':>13} {'statements/event':>17} {'with BEGIN, COMMIT':>19}")
    for name, (rate, busy, statements, sent) in median.items():
        print(f"{name:60} {rate:9,.0f} {busy:13,.0f} {statements:17.3f} {sent:19.3f}")
    racy, single, single_of_writer = (
        "SELECT, then INSERT",
        "one ON CONFLICT per event",
        "the writer, one event at a time",
    )
    commit = f"a commit takes {spread(latencies)} ms"
    print(f"\nRatios of the same repetition: median (lowest to highest); {commit}.\n")
    for name in figures:
        print(f"{name}\n  to {racy}: {ratio(figures, name, racy)}\n  to {COPY}: {ratio(figures, name, COPY)}")
    print(f"\n{single_of_writer}, to {single}: {ratio(figures, single_of_writer, single)}; {commit}")
    best = "the writer, batches of 500"
    for name, note in ((single, " (the original expected 40-50 %)"), (best, "")):
        print(f"queries saved by {name}: {1 - median[name].statements / median[racy].statements:.1%}{note}")
    print(f"{best}, to {COPY} (target: 0.60): {ratio(figures, best, COPY)}; {commit}\n", flush=True)


def main() -> None:
    """Print one table for a socket and one for a wire."""
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=40_000)
    options.add_argument("--repeat", type=int, default=5)
    options.add_argument("--duplicates", type=float, default=0.2)
    options.add_argument("--latency", type=float, default=1.0, help="round trip over the wire, in milliseconds")
    options.add_argument("--no-fsync", action="store_true")
    arguments = options.parse_args()
    events = make_events(arguments.events, arguments.duplicates)
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
            report(*compare(connection, events, arguments.repeat))
        print(f"The same over a wire whose round trip takes {arguments.latency} ms:\n")
        with (
            wire(f"{home}/.s.PGSQL.{url.query['port']}", arguments.latency / 1000) as port,
            psycopg.connect(
                host="127.0.0.1", port=port, user="postgres", dbname="postgres", autocommit=True, sslmode="disable"
            ) as connection,
        ):
            report(*compare(connection, events, arguments.repeat))


if __name__ == "__main__":
    main()
