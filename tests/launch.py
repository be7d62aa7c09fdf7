"""Start alembic and dupe-audit as processes, without the half second that an interpreter needs for imports.

``python tests/launch.py SOCKET`` imports once and forks for each order, so a program is a process like any other: it
has its own arguments, directory, environment and streams, is killed and interrupted, and ends with its own exit code.
In thorough tests every program gets its own interpreter.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from thoroughness import THOROUGH

#: modules that most programs import; a module that fails to import here fails in the program that needs it
PRELOADED = (
    "alembic.autogenerate",
    "alembic.command",
    "alembic.runtime.environment",
    "dupe_audit.checks",
    "dupe_audit.cli",
    "dupe_audit.cli.preflight",
    "dupe_audit.cli.restore",
    "dupe_audit.cli.runs",
    "dupe_audit.cli.verify",
    "dupe_audit.directives.plain_keys",
    "dupe_audit.directives.project",
    "dupe_audit.directives.revisions",
    "dupe_audit.ops",
    "importlib.resources.readers",
    "logging.config",
    "psycopg",
    "psycopg.types.hstore",
    "rich.live",
    "rich.progress",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
)

#: variables that an interpreter reads when it starts, which is too late after a fork
AT_START = ("PYTHON", "LC_", "LANG")

#: the format in which a pid and an exit code are sent
NUMBER = struct.Struct("i")


def received(line: socket.socket) -> int:
    """Return the next number of a connection to the server of programs."""
    return int(NUMBER.unpack(line.recv(NUMBER.size, socket.MSG_WAITALL))[0])


class Program:
    """A started program, with the part of subprocess.Popen's interface that the tests need."""

    def __init__(self, pid: int, line: socket.socket) -> None:
        self.pid, self.returncode, self._line = pid, None, line

    def poll(self) -> int | None:
        """Return the exit code (below zero: the signal that ended it), or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: it is still running after *timeout* seconds.
        """
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = received(self._line)
            self._line.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal if it is still running."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it if it is still running."""
        self.send_signal(signal.SIGKILL)


def ended(process: Program | subprocess.Popen[bytes], timeout: float) -> int:
    """Return the exit code of a program; kill it if that takes too long, or if the test ends before it does.

    Raises:
        subprocess.TimeoutExpired: it was still running after *timeout* seconds.
    """
    try:
        return process.wait(timeout)
    except BaseException:
        process.kill()
        process.wait()  # otherwise its connection stays open, and the warning about it fails a later test
        raise


class Launcher:
    """A context manager that starts programs until it is closed."""

    def __enter__(self) -> Self:
        self._server: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="dupe-audit-launch-")
        self._address = str(Path(self._directory.name) / "socket")
        return self

    def __exit__(self, *_: object) -> None:
        if self._server and self._server.stdin:
            self._server.stdin.close()
            self._server.wait()
        self._directory.cleanup()

    def start(
        self,
        module: str,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str],
        stdout: IO[Any],
        stderr: IO[Any],
    ) -> Program | subprocess.Popen[bytes]:
        """Start ``python -m MODULE ARGUMENTS`` with nothing on its standard input."""
        changed = {name for name in {*env, *os.environ} if env.get(name) != os.environ.get(name)}
        changed.discard("PYTHONUNBUFFERED")
        if THOROUGH or any(name.startswith(AT_START) for name in changed):
            command = [sys.executable, "-m", module, *arguments]
            return subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        if self._server is None:
            self._server = subprocess.Popen([sys.executable, __file__, self._address], stdin=subprocess.PIPE)
        line = self._connected()
        order = {"module": module, "arguments": arguments, "cwd": str(cwd), "env": dict(env)}
        with Path(os.devnull).open() as nothing:
            socket.send_fds(line, [b"\n"], [nothing.fileno(), stdout.fileno(), stderr.fileno()])
        line.sendall(json.dumps(order).encode() + b"\n")
        return Program(received(line), line)

    def run(
        self,
        module: str,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str],
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Start it, wait for its end, and return what it printed."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            code = ended(self.start(module, *arguments, cwd=cwd, env=env, stdout=out, stderr=err), timeout)
            for stream in (out, err):
                stream.seek(0)
            return subprocess.CompletedProcess([module, *arguments], code, out.read(), err.read())

    def _connected(self) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        until = time.monotonic() + 120
        while True:
            try:
                line.connect(self._address)
            except OSError:  # the server has just started and is still importing
                assert self._server
                assert self._server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            else:
                return line


def serve(address: str) -> dict[str, Any]:
    """Accept orders until standard input ends; return each order, in the process that is to execute it."""
    for module in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(module)
    gc.freeze()  # a collection in a child would copy the shared memory
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if listener not in ready:
            os._exit(0)
        line, _ = listener.accept()
        if os.fork():
            line.close()
            continue
        # This process waits for the program, so that its pid is not reused before its exit code has been sent.
        listener.close()
        _, streams, _, _ = socket.recv_fds(line, 1, 3)
        order = json.loads(line.makefile().readline())
        pid = os.fork()
        if pid:
            line.sendall(NUMBER.pack(pid))
            _, status = os.waitpid(pid, 0)
            with suppress(OSError):
                line.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
            os._exit(0)
        line.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return order


def carry_out(order: dict[str, Any]) -> int:
    """Run a program in this process as ``python -m`` does; return its exit code."""
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv[1:] = order["arguments"]
    sys.path[0] = order["cwd"]
    if "PYTHONUNBUFFERED" in os.environ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(write_through=True)
    try:
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ending:
        if isinstance(ending.code, str):
            sys.stderr.write(f"{ending.code}\n")
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:  # noqa: BLE001 - the interpreter's own last resort
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    code = carry_out(serve(sys.argv[1]))
    # As an interpreter does at exit, except that no module is torn down, which would copy the shared memory.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
