"""Measure one revision for the same table in many schemas: up, again with everything done, and down.

    python benchmarks/tenants.py [--schemas 200] [--bin DIRECTORY]

Each schema has 1,000 rows, 50 of them exact extras. The first line is a revision for one table, for comparison.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, NullPool, create_engine, event

from dupe_audit.embedded import Server

ENVIRONMENT = """
import os
import dupe_audit.ops
from alembic import context
from sqlalchemy import create_engine, pool

with create_engine(os.environ["BENCH_URL"], poolclass=pool.NullPool).connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""
REVISION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None
WHERE = {where}


def upgrade():
    op.archive_duplicates("events", ["k"], order_by=["id"], **WHERE)
    op.create_unique_constraint_online("unique_k", "events", ["k"], **WHERE)


def downgrade():
    op.drop_unique_constraint_online("unique_k", "events", **WHERE)
    op.restore_duplicates("events", ["k"], **WHERE)
"""
ONE_SCHEMA = '{"schema": "tenant_0"}'
MANY = """{"schemas": sa.text("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%' ORDER BY nspname")}"""
ROWS = """
CREATE SCHEMA {0}; CREATE TABLE {0}.events (id int PRIMARY KEY, k int, v text);
INSERT INTO {0}.events SELECT n, n %% 950, 'v' || n %% 950 FROM generate_series(0, 999) AS n; ANALYZE {0}.events
"""


def measure(server: Server, name: str, schemas: int, where: str) -> None:
    """Print the seconds and the statements of each step, in a database with so many schemas."""
    admin = create_engine(server.url("postgres"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    engine = create_engine(server.url(name), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for number in range(schemas):
            connection.exec_driver_sql(ROWS.format(f"tenant_{number}"))
    os.environ["BENCH_URL"] = server.url(name)
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        (project / "versions").mkdir()
        (project / "env.py").write_text(ENVIRONMENT)
        (project / "versions" / "0001.py").write_text(REVISION.format(where=where))
        config = Config()
        config.set_main_option("script_location", folder)
        for step, (migrate, revision) in {
            "up": (command.upgrade, "head"),
            "again": (command.upgrade, "head"),
            "down": (command.downgrade, "base"),
        }.items():
            if step == "again":
                with engine.connect() as connection:
                    connection.exec_driver_sql("DELETE FROM alembic_version")
            statements, started = 0, time.monotonic()
            event.listen(Engine, "before_cursor_execute", count)
            migrate(config, revision)
            event.remove(Engine, "before_cursor_execute", count)
            print(f"| {schemas:,} | {step} | {time.monotonic() - started:.2f} | {statements:,} |")


def main() -> None:
    """Print the figures of one table, and of many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schemas", type=int, default=200)
    parser.add_argument("--bin", type=Path, help="directory of server programs; default: the embedded server")
    options = parser.parse_args()
    with Server.start(options.bin, {"fsync": "off"}) as server:
        print(f"PostgreSQL {server.version_num}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
        print("| schemas | step | seconds | statements |")
        print("| --- | --- | --- | --- |")
        measure(server, "one", 1, ONE_SCHEMA)
        measure(server, "many", options.schemas, MANY)


if __name__ == "__main__":
    main()
