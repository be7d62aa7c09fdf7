"""Programs that end with the process that started them, however that ends: a broker, a pooler; and their ports."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: ends the program when our end of the pipe closes; the kernel closes it even after SIGKILL
WATCHDOG = '"$@" </dev/null & program=$!; read _; kill -9 $program; wait $program'


@contextmanager
def owned(command: Sequence[str | Path], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, which is killed at the end of the block, or when this process ends.

    Args:
        command: the program and its arguments.
        options: those of subprocess.Popen, except for its standard input.
    """
    # Its own session, so that Ctrl-C reaches it only through us.
    watchdog = ["/bin/sh", "-c", WATCHDOG, "sh", *map(str, command)]
    with subprocess.Popen(watchdog, stdin=subprocess.PIPE, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            assert process.stdin
            process.stdin.close()
            process.wait()


@contextmanager
def free_port() -> Iterator[int]:
    """Keep a free port for a program: until the end of the block, nobody else is given it."""
    with socket.socket() as keeper:
        # Bound, but not listening. Only a program that asks for this port, and sets the same option, can listen on it.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield keeper.getsockname()[1]
