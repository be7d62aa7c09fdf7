"""Compare what can become of the same extras: archived, amended, or merged into their survivor, in turn.

    python benchmarks/outcomes.py [--rows 1000000] [--rounds 3] [--bin DIRECTORY]

Each outcome gets a copy of the same database. Read the ratios to archiving in the same round, not the seconds.
They are of the processor time of the one server process that works, which a busy machine changes less than wall time.
There are no parallel workers, and batches have 5,000 rows whatever their time, so that a busy machine changes neither.
"""

import argparse
import os
import statistics
from pathlib import Path

from sqlalchemy import NullPool, create_engine

from dupe_audit.cleanup import Horizon, cleanup, pace
from dupe_audit.embedded import Server
from dupe_audit.ledger import find_runs
from dupe_audit.model import Change, CleanupRule, Merge, UniqueKey
from dupe_audit.restore import restore

NAME = UniqueKey(table="account", columns=("name",))
LIVING = UniqueKey(table="account", columns=("name",), where="deleted_at IS NULL")


def amending(column: str, value: str) -> CleanupRule:
    """Return the rule that changes one column of each extra."""
    return CleanupRule(exact="amend", divergent="amend", changes=(Change(column, value),))


OUTCOMES = {
    "archive": (NAME, CleanupRule(divergent="archive")),
    "archive, of a partial key": (LIVING, CleanupRule(divergent="archive")),
    "soft delete": (LIVING, amending("deleted_at", "now()")),
    "rename": (NAME, amending("name", "name || '-' || duplicate.number")),
    "null out": (NAME, amending("name", "NULL")),
    "merge a sum": (NAME, CleanupRule(divergent="archive", merges=(Merge("hits", "sum"),))),
}
ROWS = """
CREATE TABLE account (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, hits int, note text, deleted_at timestamptz);
INSERT INTO account (name, hits, note)
SELECT 'account ' || md5((i %% {unique})::text), 1, 'note ' || i FROM generate_series(1, {rows}) AS i;
CREATE INDEX ON account (note);
"""

SETTINGS = {
    "fsync": "off",
    "max_wal_size": "8GB",
    "shared_buffers": "512MB",
    "autovacuum": "off",
    "max_parallel_workers_per_gather": "0",
}


def processor_seconds(process: int) -> float:
    """Return the processor time that a process has used."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9


def measure(server: Server, name: str) -> dict[str, float]:
    """Return the processor seconds of a cleanup and its restore, on a copy of the database."""
    admin = create_engine(server.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for statement in ("DROP DATABASE IF EXISTS copy", "CREATE DATABASE copy TEMPLATE original", "CHECKPOINT"):
            connection.exec_driver_sql(statement)
    engine = create_engine(server.url("copy"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    (key, rule), horizon = OUTCOMES[name], Horizon()
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE) account")
        process = int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())
        started = processor_seconds(process)
        list(cleanup(connection, key, rule, horizon=horizon))
        cleaned = processor_seconds(process)
        list(restore(connection, find_runs(connection, "true")[0].run.id))
        return {"cleanup": cleaned - started, "restore": processor_seconds(process) - cleaned}


def main() -> None:
    """Print the medians of each outcome, and the ratios to archiving in the same round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bin", type=Path, help="directory of server programs; default: the embedded server")
    options = parser.parse_args()
    pace.TARGET = 60.0
    with Server.start(options.bin, SETTINGS) as server:
        admin = create_engine(server.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE original")
        engine = create_engine(server.url("original"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(ROWS.format(rows=options.rows, unique=options.rows - options.rows // 20))
        rounds = []
        for number in range(options.rounds):
            names = list(OUTCOMES) if number % 2 == 0 else list(OUTCOMES)[::-1]
            rounds.append({name: measure(server, name) for name in names})
        print(f"PostgreSQL {server.version_num}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{options.rows:,} rows, {options.rows // 20:,} extras, {options.rounds} rounds\n")
        print("| outcome | cleanup s | ratio | of the rounds | restore s | ratio | of the rounds |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name in OUTCOMES:
            base = "archive, of a partial key" if OUTCOMES[name][0] is LIVING else "archive"
            cells = [name]
            for step in ("cleanup", "restore"):
                ratios = sorted(each[name][step] / each[base][step] for each in rounds)
                seconds = statistics.median(each[name][step] for each in rounds)
                cells += [f"{seconds:.2f}", f"{statistics.median(ratios):.2f}", f"{ratios[0]:.2f} to {ratios[-1]:.2f}"]
            print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
