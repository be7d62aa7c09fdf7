"""What it costs if children follow the survivor: the same table with and without them, on an embedded server.

``python benchmarks/children.py [ROWS]``: one row in twenty is an extra, and every row has two children.
"""

import sys
import time
from collections.abc import Callable

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.embedded import Server
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k",))
RULES = {"without children": CleanupRule(), "children follow": CleanupRule(references="repoint")}


def create_tables(connection: Connection, rows: int, *, children: bool) -> None:
    """Create the table, its child table, and the child table's two indexes."""
    count = 2 * rows if children else 0
    for statement in (
        "DROP SCHEMA IF EXISTS dupe_audit CASCADE",
        "DROP TABLE IF EXISTS c, t",
        "CREATE TABLE t (id int PRIMARY KEY, k int)",
        f"INSERT INTO t SELECT i, CASE WHEN i % 20 = 0 THEN i - 1 ELSE i END FROM generate_series(1, {rows}) AS i",
        "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE, tag text, UNIQUE (t_id, tag))",
        f"INSERT INTO c SELECT i, 1 + i % {rows}, 'tag ' || i FROM generate_series(1, {count}) AS i",
        "CREATE INDEX ON c (t_id)",
        "VACUUM ANALYZE t",
        "VACUUM ANALYZE c",
    ):
        execute(connection, statement)


def timed(action: Callable[[], object]) -> float:
    """Return the seconds that an action takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def main() -> None:
    """Print the seconds of each step without and with children, and their ratio."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seconds: dict[str, list[float]] = {"preflight": [], "cleanup": [], "restore": []}
    with Server.start(None, {"fsync": "off", "max_wal_size": "8GB"}) as server:
        engine = create_engine(server.url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name, rule in RULES.items():
                create_tables(connection, rows, children=name == "children follow")
                seconds["preflight"].append(timed(lambda rule=rule: preflight(connection, KEY, rule)))
                seconds["cleanup"].append(timed(lambda rule=rule: list(cleanup(connection, KEY, rule))))
                seconds["restore"].append(timed(lambda: list(restore(connection, 1))))
    print(f"{rows:,} rows, {rows // 20:,} extras, {rows // 10:,} children that follow")
    for step, (without, following) in seconds.items():
        print(f"{step:10} {without:6.2f} s {following:6.2f} s   {following / without:.1f} times")


if __name__ == "__main__":
    main()
