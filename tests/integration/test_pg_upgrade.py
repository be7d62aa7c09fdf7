"""Rows archived by one version of PostgreSQL are restored by the next, after pg_upgrade."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.embedded import Server
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore
from dupe_audit.verify import verify

#: options of columns that nobody has set
OWN_OPTIONS = (
    "SELECT DISTINCT split_part(o, '=', 1) FROM pg_attribute, unnest(attoptions) AS o WHERE attrelid = 'u'::regclass"
)
KEY = UniqueKey(table="t", columns=("k",), name="uq")


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server]]:
    """A server of an older version with its data, and an empty one of the wheel's version."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_upgrade"))
    if not installed:
        pytest.skip("no older PostgreSQL in /usr/lib/postgresql")
    with ExitStack() as started:
        old = started.enter_context(Server.start(installed[0].parent))
        new = started.enter_context(Server.start())
        if old.version_num // 10000 >= new.version_num // 10000:
            pytest.skip("the installed PostgreSQL is not older than the wheel's")
        yield old, new


def _require_known(new: Server, options: Sequence[str]) -> None:
    """Skip the test if the older server sets options by itself that the newer one refuses: then pg_upgrade fails."""
    engine = create_engine(new.url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for option in options:
            try:
                connection.execute(
                    text(f"CREATE TEMP TABLE trial (c int); ALTER TABLE trial ALTER c SET ({option} = 1)")
                )
            except DBAPIError:
                pytest.skip(f"the older PostgreSQL sets {option} on columns, which the wheel's does not know")


@pytest.mark.thorough
def test_rows_archived_before_pg_upgrade_are_restored_after_it(servers):
    """A renamed table with a dropped column is found after pg_upgrade, and gets every row back."""
    old, new = servers
    read = "SELECT row::text FROM {} AS row ORDER BY 1"
    before_upgrade = create_engine(old.url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with before_upgrade.connect() as connection:
        for statement in (
            "CREATE TABLE t (gone int, id int PRIMARY KEY, k int, v text)",
            "ALTER TABLE t DROP COLUMN gone",
            "INSERT INTO t SELECT i, i % 7, 'row ' || i FROM generate_series(1, 30) AS i",
        ):
            connection.execute(text(statement))
        rows = connection.execute(text(read.format("t"))).scalars().all()
        list(cleanup(connection, KEY, CleanupRule(divergent="archive")))
        enforce(connection, KEY, BuildRule())
        connection.execute(text("ALTER TABLE t RENAME TO u"))
        of_server = connection.execute(text(OWN_OPTIONS)).scalars().all()
    _require_known(new, of_server)

    for server in servers:
        server._pg_ctl("stop", "-m", "fast")
    old._run([str(old.bin_dir / "pg_checksums"), "--enable", "--no-sync", "-D", str(old._home / "data")])
    command = f"cd {new._home} && {new.bin_dir}/pg_upgrade -U postgres -b {old.bin_dir} -B {new.bin_dir}"
    new._run(["/bin/sh", "-c", f"{command} -d {old._home}/data -D {new._home}/data -s {new._home} --no-sync"])
    new.resume()

    key = UniqueKey(table="u", columns=("k",), name="uq")
    after_upgrade = create_engine(new.url(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with after_upgrade.connect() as connection:
        assert verify(connection, key).ok
        drop(connection, key, BuildRule())
        list(restore(connection, 1))
        assert rows == connection.execute(text(read.format("u"))).scalars().all()
