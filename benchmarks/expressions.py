"""Compare a key over a column with a key over an expression and a part of the table, on the same rows, in turn.

    python benchmarks/expressions.py [--rows 1000000] [--pairs 3] [--bin DIRECTORY]

Both keys find the same extras, 5 % of the rows: every address is in lower case, and no row is deleted.
Each key gets a copy of the same database. Read the ratios of the pairs and their spread, not the seconds.
The query by hand says what the expression itself costs.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import NullPool, create_engine

from dupe_audit.cleanup import Horizon, cleanup
from dupe_audit.constraint import enforce
from dupe_audit.embedded import Server
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.verify import verify

KEYS = {
    "email": UniqueKey(table="users", columns=("email",), form="index", name="ux"),
    "lower(email) WHERE deleted_at IS NULL": UniqueKey(
        table="users", columns=(Expression("lower(email)"),), where="deleted_at IS NULL", form="index", name="ux"
    ),
}
#: what a person would type to look for the same duplicates; what an expression costs by itself
BY_HAND = {
    "email": "SELECT email, count(*) FROM users GROUP BY email HAVING count(*) > 1",
    "lower(email) WHERE deleted_at IS NULL": (
        "SELECT lower(email), count(*) FROM users WHERE deleted_at IS NULL GROUP BY lower(email) HAVING count(*) > 1"
    ),
}
ROWS = """
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, name text, deleted_at timestamptz);
INSERT INTO users (email, name)
SELECT 'person' || md5((i %% {unique})::text) || '@example.org', 'name ' || i FROM generate_series(1, {rows}) AS i;
"""


def measure(server: Server, name: str) -> dict[str, float]:
    """Return the seconds of each step on a copy of the database."""
    admin = create_engine(server.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for statement in ("DROP DATABASE IF EXISTS copy", "CREATE DATABASE copy TEMPLATE original", "CHECKPOINT"):
            connection.exec_driver_sql(statement)
    engine = create_engine(server.url("copy"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    key, seconds = KEYS[name], dict[str, float]()

    def timed(name: str, action: Callable[[], object]) -> None:
        started = time.monotonic()
        action()
        seconds[name] = time.monotonic() - started

    horizon, rule = Horizon(), CleanupRule(divergent="archive")
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM (ANALYZE) users")
        timed("by hand: GROUP BY … HAVING", lambda: connection.exec_driver_sql(BY_HAND[name]).all())
        timed("preflight", lambda: preflight(connection, key, rule))
        timed("cleanup", lambda: list(cleanup(connection, key, rule, horizon=horizon)))
        seconds["ranking, of it"] = horizon.ranking_seconds
        again = "INSERT INTO users (email) SELECT email FROM users WHERE id <= 100"
        connection.exec_driver_sql(again)
        timed("a further cleanup of 100 new rows", lambda: list(cleanup(connection, key, rule, horizon=horizon)))
        timed("a further cleanup of nothing", lambda: list(cleanup(connection, key, rule, horizon=horizon)))
        timed("build and verification", lambda: enforce(connection, key, BuildRule()))
        timed("verify", lambda: verify(connection, key))
    return seconds


def main() -> None:
    """Print the medians of each step for both keys, and the ratios of the pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--bin", type=Path, help="directory of server programs; default: the embedded server")
    options = parser.parse_args()
    with Server.start(options.bin, {"fsync": "off", "max_wal_size": "8GB", "shared_buffers": "512MB"}) as server:
        admin = create_engine(server.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.exec_driver_sql("CREATE DATABASE original")
        engine = create_engine(server.url("original"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(ROWS.format(rows=options.rows, unique=options.rows - options.rows // 20))
        pairs = []
        for number in range(options.pairs):
            names = list(KEYS) if number % 2 == 0 else list(KEYS)[::-1]
            measured = {name: measure(server, name) for name in names}
            pairs.append(tuple(measured[name] for name in KEYS))
        print(f"PostgreSQL {server.version_num}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print(f"{options.rows:,} rows, {options.rows // 20:,} extras, {options.pairs} pairs\n")
        print(f"| step | {' s | '.join(f'`{name}`' for name in KEYS)} s | ratio | ratios of the pairs |")
        print("| --- | --- | --- | --- | --- |")
        for step in pairs[0][0]:
            plain, other = (statistics.median(pair[side][step] for pair in pairs) for side in (0, 1))
            ratios = sorted(pair[1][step] / pair[0][step] for pair in pairs)
            spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
            print(f"| {step} | {plain:.2f} | {other:.2f} | {statistics.median(ratios):.2f} | {spread} |")


if __name__ == "__main__":
    main()
