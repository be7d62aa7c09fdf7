"""Compare three ways to make a key unique on a table in use, side by side on one server.

    python benchmarks/migration.py [--rows 1000000 3000000] [--repeat 3] [--bin DIRECTORY] [--output FILE]

(a) original: one DELETE … row_number() > 1, then ALTER TABLE … ADD CONSTRAINT … UNIQUE;
(b) by hand:  one DELETE, CREATE UNIQUE INDEX CONCURRENTLY, ADD CONSTRAINT … USING INDEX;
(c) this:     revision 015 of the reference project, with archive, re-checks, ledger and verification.

Each way gets a copy of the same database, in turn, while eight writers insert and update at a fixed rate.
Figures of single runs are noise; read the ratios.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine

from dupe_audit.embedded import Server

ROOT = Path(__file__).parent.parent
WRITERS = 8
RATE = 20  #: transactions per second and writer
KEY = "correlation_id, action_name, created_at"
NAME = "unique_action_per_correlation_timestamp"
DELETE = f"""
DELETE FROM agent_actions WHERE id IN (
    SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY {KEY} ORDER BY id) AS place FROM agent_actions) AS ranked
    WHERE place > 1)
"""
SEED = """
INSERT INTO agent_actions
    (correlation_id, agent_name, action_type, action_name, action_details, duration_ms, created_at)
SELECT md5((i / 5)::text)::uuid, 'agent-' || i % 7, 'tool_call',
       (ARRAY['Read', 'Write', 'Edit', 'Bash', 'Grep'])[1 + i % 5],
       jsonb_build_object('file', '/src/module_' || i % 997 || '.py', 'n', i), i % 900,
       timestamptz '2026-01-01' + i * interval '1 second'
FROM generate_series(1, {unique}) AS i
"""
COPIES = """
INSERT INTO agent_actions
    (correlation_id, agent_name, action_type, action_name, action_details, duration_ms, created_at)
SELECT correlation_id, agent_name, action_type, action_name, action_details, duration_ms, created_at
FROM agent_actions ORDER BY md5(id::text) LIMIT {extras}
"""


def conninfo(server: Server, database: str) -> str:
    """Return the libpq URL of one database of the server."""
    return server.url(database).replace("postgresql+psycopg", "postgresql")


def alembic(server: Server, database: str, revision: str) -> None:
    """Upgrade the database to a revision of the reference project, in this process."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.set_main_option("path_separator", "os")
    engine = create_engine(server.url(database), poolclass=NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def original(server: Server, database: str) -> None:
    """Delete the extras and add the constraint, in two statements that block."""
    with psycopg.connect(conninfo(server, database)) as connection:
        connection.execute(DELETE)
        connection.execute(f"ALTER TABLE agent_actions ADD CONSTRAINT {NAME} UNIQUE ({KEY})")


def by_hand(server: Server, database: str) -> None:
    """Follow the recipe of common guides."""
    with psycopg.connect(conninfo(server, database), autocommit=True) as connection:
        connection.execute(DELETE)
        connection.execute(f"CREATE UNIQUE INDEX CONCURRENTLY {NAME} ON agent_actions ({KEY})")
        connection.execute(f"ALTER TABLE agent_actions ADD CONSTRAINT {NAME} UNIQUE USING INDEX {NAME}")


def upgrade(server: Server, database: str) -> None:
    """Upgrade to revision 015."""
    alembic(server, database, "015")


WAYS: dict[str, Callable[[Server, str], None]] = {"a original": original, "b by hand": by_hand, "c this": upgrade}


def write(url: str, number: int, ready: Barrier, stop: Event, waits: Queue[list[float]]) -> None:
    """Insert and update rows at a fixed rate, and put the seconds of each transaction in *waits*."""
    durations = []
    with psycopg.connect(url, autocommit=True) as connection:
        ready.wait()
        due, count = time.monotonic(), 0
        while not stop.is_set():
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            with connection.transaction():
                row = connection.execute(
                    "INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name) "
                    "VALUES (gen_random_uuid(), %s, 'tool_call', 'Read') RETURNING id",
                    (f"writer-{number}",),
                ).fetchone()
                connection.execute("UPDATE agent_actions SET duration_ms = %s WHERE id = %s", (count % 900, row[0]))
            durations.append(time.monotonic() - started)
            due, count = max(due, time.monotonic() - 1), count + 1
    waits.put(durations)


def measure(server: Server, way: str, template: str) -> dict[str, float]:
    """Run one way on a copy of the template under traffic; return the wall time and the waits in seconds."""
    database = f"copy_of_{template}"
    admin = conninfo(server, "postgres")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {database}")
        connection.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
        connection.execute("CHECKPOINT")
    context = multiprocessing.get_context("spawn")
    ready, stop, waits = context.Barrier(WRITERS + 1), context.Event(), context.Queue()
    url = conninfo(server, database)
    writers = [context.Process(target=write, args=(url, n, ready, stop, waits), daemon=True) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    ready.wait(timeout=60)
    time.sleep(1.0)
    started = time.monotonic()
    WAYS[way](server, database)
    wall = time.monotonic() - started
    time.sleep(0.5)
    stop.set()
    durations = sorted(wait for _ in writers for wait in waits.get(timeout=120))
    for writer in writers:
        writer.join()
    with psycopg.connect(url) as connection:
        remaining = connection.execute(
            f"SELECT count(*) FROM (SELECT FROM agent_actions GROUP BY {KEY} HAVING count(*) > 1) AS extra"
        ).fetchone()
        if remaining != (0,):
            raise SystemExit(f"{way} left duplicates, so its time is meaningless")
    return {
        "wall": wall,
        "p50": durations[len(durations) // 2],
        "p99": durations[int(len(durations) * 0.99)],
        "max": durations[-1],
        "transactions": len(durations),
    }


def seed(server: Server, rows: int) -> str:
    """Create a template database with this many rows, 5 % of them extras, and return its name."""
    name = f"rows_{rows}"
    with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    alembic(server, name, "014")
    extras = rows // 20
    with psycopg.connect(conninfo(server, name), autocommit=True) as connection:
        connection.execute(SEED.format(unique=rows - extras))
        connection.execute(COPIES.format(extras=extras))
        connection.execute("VACUUM (ANALYZE) agent_actions")
    return name


def count(server: Server, template: str, repeat: int) -> tuple[float, float, float]:
    """Return the median seconds of preflight, and of a bare GROUP BY with and without indexes, measured in turn."""
    from dupe_audit.model import UniqueKey
    from dupe_audit.preflight import preflight

    key = UniqueKey(table="agent_actions", columns=tuple(KEY.split(", ")), name=NAME)
    bare_query = f"SELECT count(*) FROM (SELECT {KEY} FROM agent_actions GROUP BY {KEY} HAVING count(*) > 1) AS extra"
    preflights, bare, unindexed = [], [], []
    engine = create_engine(server.url(template), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for _ in range(repeat):
            started = time.monotonic()
            preflight(connection, key)
            preflights.append(time.monotonic() - started)
            for setting, seconds in (("on", bare), ("off", unindexed)):
                # preflight uses no index, because a corrupt one hides duplicates: only "off" is comparable.
                for method in ("indexscan", "indexonlyscan", "bitmapscan"):
                    connection.exec_driver_sql(f"SET enable_{method} = {setting}")
                started = time.monotonic()
                connection.exec_driver_sql(bare_query).scalar()
                seconds.append(time.monotonic() - started)
            connection.exec_driver_sql("RESET ALL")
    return statistics.median(preflights), statistics.median(bare), statistics.median(unindexed)


def memory(server: Server, template: str) -> float:
    """Return the peak memory, in MB, of a fresh process that upgrades a copy of the template."""
    database = f"memory_{template}"
    with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {database}")
        connection.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
    program = (
        "import resource, sys; from alembic.config import main; main(argv=['-c', sys.argv[1], 'upgrade', '015']); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, str(ROOT / "alembic.ini")],
        env={**os.environ, "DATABASE_URL": conninfo(server, database)},
        capture_output=True,
        text=True,
        check=True,
    )
    with psycopg.connect(conninfo(server, "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {database}")
    return int(completed.stdout) / 1024


def main() -> None:
    """Measure, and print the results as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 3_000_000])
    parser.add_argument("--memory-rows", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--bin", type=Path, help="directory of server programs; default: the embedded server")
    options = parser.parse_args()
    settings = {"max_wal_size": "8GB", "shared_buffers": "512MB", "synchronous_commit": "on", "fsync": "off"}
    with Server.start(options.bin, settings) as server:
        print(f"PostgreSQL {server.version_num}, {os.cpu_count()} cores, fsync off, {WRITERS} writers of {RATE}/s each")
        for rows in options.rows:
            template = seed(server, rows)
            runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(options.repeat):
                for way in WAYS:
                    runs[way].append(measure(server, way, template))
            report(rows, runs)
            preflights, bare, unindexed = count(server, template, options.repeat)
            print(f"\npreflight {preflights:.2f} s; bare GROUP BY {bare:.2f} s ({preflights / bare:.2f} x), ", end="")
            print(f"without indexes {unindexed:.2f} s ({preflights / unindexed:.2f} x)\n", flush=True)
        for rows in options.memory_rows:
            template = f"rows_{rows}" if rows in options.rows else seed(server, rows)
            print(f"peak client memory at {rows:,} rows: {memory(server, template):.0f} MB", flush=True)


def report(rows: int, runs: dict[str, list[dict[str, float]]]) -> None:
    """Print medians and ratios for one size."""
    median = {
        way: {k: statistics.median(run[k] for run in measured) for k in measured[0]} for way, measured in runs.items()
    }
    a, b, c = (median[way] for way in WAYS)
    print(f"\n### {rows:,} rows, {rows // 20:,} extras, median of {len(runs['c this'])}\n")
    print("| way | wall s | write p50 ms | write p99 ms | longest write ms | transactions |")
    print("| --- | --- | --- | --- | --- | --- |")
    for way, figures in median.items():
        waits = " | ".join(f"{1000 * figures[k]:.1f}" for k in ("p50", "p99", "max"))
        print(f"| {way} | {figures['wall']:.2f} | {waits} | {figures['transactions']:.0f} |")
    print(
        f"\n(c) / (b) wall: {c['wall'] / b['wall']:.2f}; (a) / (c) longest write: {a['max'] / c['max']:.1f}", flush=True
    )


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
