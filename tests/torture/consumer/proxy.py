"""A wire to the broker that can be cut, and that can hold back the requests of one kind of client.

It knows only as much of Kafka's protocol as it needs: a request is a length, a head of fixed size, the client's name.
"""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

#: api_key, api_version, correlation_id, length of the client's name
HEAD = struct.Struct(">hhih")


class Proxy:
    """Listens on a local port and forwards to another; a context manager that stops."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._target: tuple[str, int] = ("127.0.0.1", 0)
        self._open = True
        self._client: str | None = None  # whose requests are held back
        self._arrived = threading.Event()
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="proxy", daemon=True)

    def start(self, host: str, port: int) -> Self:
        """Start forwarding to an address."""
        self._target = (host, port)
        self._thread.start()
        return self

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Inside the block every connection is broken, and no new one lasts."""
        self._open = False
        self._break()
        try:
            yield
        finally:
            self._open = True

    @contextmanager
    def holding(self, client: str) -> Iterator[threading.Event]:
        """Hold back requests of clients of that name inside the block; gives an event: a request is held back."""
        self._arrived.clear()
        self._client = client
        try:
            yield self._arrived
        finally:
            self._client = None

    def holds(self, client: str) -> bool:
        """Return whether requests of that client are held back now."""
        held_back = not self._closed.is_set() and self._client is not None and client == self._client
        if held_back:
            self._arrived.set()
        return held_back

    def close(self) -> None:
        """Stop listening and break what is open."""
        self._closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join(5)
        self._break()

    def _break(self) -> None:
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            link.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self._open:
                client.close()
                continue
            try:
                link = _Link(self, client, socket.create_connection(self._target, 5))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._links.add(link)
            link.start()


class _Link:
    """A connection: a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        for direction in (self._requests, self._answers):
            threading.Thread(target=self._forward, args=(direction,), name="proxy link", daemon=True).start()

    def close(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _forward(self, direction) -> None:
        with suppress(OSError, ValueError):
            direction()
        self.close()

    def _answers(self) -> None:
        while data := self._server.recv(1 << 18):
            self._client.sendall(data)

    def _requests(self) -> None:
        """Forward request by request, so that a request is held back as a whole."""
        with self._client.makefile("rb") as requests:
            while len(size := requests.read(4)) == 4:
                body = requests.read(int.from_bytes(size))
                while self._proxy.holds(_client_of(body)):
                    time.sleep(0.02)
                self._server.sendall(size + body)


def _client_of(body: bytes) -> str:
    length = HEAD.unpack_from(body)[3] if len(body) >= HEAD.size else -1
    return body[HEAD.size : HEAD.size + length].decode(errors="replace") if length > 0 else ""
