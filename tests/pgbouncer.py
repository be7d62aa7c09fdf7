"""PgBouncer in front of the test's database, under any host name."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from owned import free_port, owned
from waiting import wait_for

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")

#: returns the URL of the database through PgBouncer, as of a host of that name
Through = Callable[..., str]


@contextmanager
def pgbouncer(database_url: str, directory: Path, *, mode: str = "transaction") -> Iterator[Through]:
    """Start PgBouncer; yield a function that returns the URL through it, given the name of a host."""
    if PROGRAM is None:
        pytest.skip("pgbouncer is not installed")
    url = make_url(database_url)
    config = directory / "pgbouncer.ini"
    for path in (directory, *directory.parents):
        if path == Path(tempfile.gettempdir()):
            break
        path.chmod(0o755)
    # PgBouncer refuses to run as root; the server's own user can also reach its socket.
    user = {"user": Path(str(url.query["host"])).stat().st_uid} if os.geteuid() == 0 else {}
    with free_port() as port:
        config.write_text(
            f"[databases]\n* = host={url.query['host']} port={url.query['port']} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n"
        )

        def through(host: str = "127.0.0.1") -> str:
            # With hostaddr, libpq does not look the name up.
            return f"postgresql+psycopg://postgres@{host}:{port}/{url.database}?hostaddr=127.0.0.1"

        def is_open() -> bool:
            with suppress(psycopg.OperationalError):
                psycopg.connect(through().replace("+psycopg", "")).close()
                return True
            return False

        # It is killed, because a polite end waits for clients.
        with owned([PROGRAM, "-q", config], stderr=subprocess.DEVNULL, **user):
            wait_for(is_open)
            yield through
