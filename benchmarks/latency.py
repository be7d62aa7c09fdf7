"""A wire of a given length: forwards TCP to a Unix socket with a fixed delay each way, without limiting the rate."""

import multiprocessing
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def _forward(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    line: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def deliver() -> None:
        data = b"-"
        while data:
            due, data = line.get()
            time.sleep(max(0.0, due - time.monotonic()))
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    threading.Thread(target=deliver, daemon=True).start()
    data = b"-"
    while data:
        data = source.recv(1 << 18)
        line.put((time.monotonic() + seconds, data))


def _serve(listener: socket.socket, path: str, seconds: float) -> None:
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server = socket.socket(socket.AF_UNIX)
        server.connect(path)
        for ends in ((client, server), (server, client)):
            threading.Thread(target=_forward, args=(*ends, seconds), daemon=True).start()


@contextmanager
def wire(path: str, round_trip: float) -> Iterator[int]:
    """Yield the local port of a wire whose round trip takes *round_trip* seconds, and which has its own process."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(listener, path, round_trip / 2), daemon=True
        )
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.terminate()
            process.join()
