"""Programs that end with the process that started them, however that ends: a broker, a pooler."""

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
