"""A transaction pooler between the client and the server is detected, and refused before anything is done."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import NullPool, create_engine, make_url

from dupe_audit import UniqueKey
from dupe_audit.model import CleanupRule
from dupe_audit.postgres.poolers import pooler
from dupe_audit.preflight import blockers
from dupe_audit.watch.look import look, prepare
from waiting import wait_for

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture
def pooled_url(database_url, server, tmp_path) -> Iterator[str]:
    """The test's database through PgBouncer in transaction mode."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed")
    url = make_url(database_url)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={url.query['host']} port={url.query['port']} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\n"
    )
    for path in (tmp_path, *tmp_path.parents):
        if path == Path(tempfile.gettempdir()):
            break
        path.chmod(0o755)
    # PgBouncer refuses to run as root; the server's own user can also reach its socket.
    user = {"user": Path(str(url.query["host"])).stat().st_uid} if os.geteuid() == 0 else {}
    with subprocess.Popen([PGBOUNCER, "-q", str(config)], stderr=subprocess.DEVNULL, **user) as process:
        through = f"postgresql+psycopg://postgres@127.0.0.1:{port}/{url.database}"

        def is_open() -> bool:
            with suppress(psycopg.OperationalError):
                psycopg.connect(through.replace("+psycopg", "")).close()
                return True
            return False

        wait_for(is_open)
        yield through
        process.kill()  # it serves nobody else, and a polite end waits for clients


def test_pooler_is_detected_h171(pooled_url, conn):
    """A connection through a pooler is distinguished from a direct one."""
    with create_engine(pooled_url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as pooled:
        assert pooler(pooled) is not None
    assert pooler(conn) is None


def test_pooler_stops_the_cleanup_unless_accepted(pooled_url, sql):
    """A cleanup through a pooler is refused unless the finding is accepted, as for a pooler in session mode."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    key = UniqueKey(table="t", columns=("k",))
    with create_engine(pooled_url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as pooled:
        refused = blockers(pooled, key, CleanupRule())
        accepted = blockers(pooled, key, CleanupRule(), accept=("transaction-pooler",))

    assert ["transaction-pooler"] == [f.id for f in refused]
    assert [] == accepted


def test_watch_sets_nothing_in_a_pooled_session(pooled_url):
    """The viewer's own limits are not set in a session that the pooler gives to other clients next."""
    with create_engine(pooled_url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as pooled:
        prepare(pooled)
        assert not look(pooled).ledger
        assert "off" == pooled.exec_driver_sql("SHOW default_transaction_read_only").scalar_one()
