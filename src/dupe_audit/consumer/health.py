"""Whether the loop is alive, and whether it is ready. Written by the loop, read by the threads that serve HTTP."""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dupe_audit.consumer.config import HttpSettings
from dupe_audit.consumer.logs import log
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.errors import WrongUsage

#: seconds to wait for a client to send, or to receive, before its connection is closed
CLIENT_TIMEOUT = 5

#: seconds after which a connection is closed, however many bytes still trickle in; a request takes milliseconds
CONNECTION_LIMIT = 15

#: connections that are open at once; with one more, the oldest is closed, which is never a probe's
MOST_CONNECTIONS = 64


class Health:
    """Plain facts; only the loop's thread writes them, so they need no lock."""

    def __init__(self, settings: HttpSettings, *, rollout: bool) -> None:
        self._stuck_after = settings.stuck_after / 1000
        self._rollout = rollout
        self._last_beat = time.monotonic()
        self.joined = False
        self.database_up = False
        self.enforced = False

    def beat(self) -> None:
        """Record that the loop makes progress."""
        self._last_beat = time.monotonic()

    def liveness_problem(self) -> str | None:
        """Return what is wrong with the loop, or None."""
        seconds = time.monotonic() - self._last_beat
        return f"the loop has not completed an iteration for {seconds:,.0f} s" if seconds > self._stuck_after else None

    def readiness_problem(self) -> str | None:
        """Return what is missing before events are written as promised, or None."""
        if not self.joined:
            return "the consumer has not joined its group"
        if not self.database_up:
            return "the database is unreachable"
        if not self.enforced and not self._rollout:
            return "no valid constraint keeps the key unique, and rollout is false"
        return self.liveness_problem()


class _Server(ThreadingHTTPServer):
    """One daemon thread per connection, so a silent client delays no other. Prints nothing on standard error.

    Silent connections are bounded in time and number: neither memory nor file descriptors run out.
    """

    request_queue_size = 128  # socketserver's 5 overflow in a burst, and a client then waits a second to try again

    def __init__(self, *arguments: Any) -> None:
        self._opened: dict[socket.socket, float] = {}  #: open connections, the oldest first
        self._lock = threading.Lock()  # each connection's thread removes its entry
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in its own thread; if there are too many, end the oldest."""
        with self._lock:
            self._opened[request] = time.monotonic()
            self._end(list(self._opened)[:-MOST_CONNECTIONS])
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """End connections that have been open for too long; called between two polls of the socket."""
        before = time.monotonic() - CONNECTION_LIMIT
        with self._lock:
            self._end([request for request, opened in self._opened.items() if opened < before])

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that was answered, or whose client is gone."""
        with self._lock:
            self._opened.pop(request, None)
        super().shutdown_request(request)

    @staticmethod
    def _end(requests: Iterable[socket.socket]) -> None:
        for request in requests:
            with suppress(OSError):  # the client has closed it
                request.shutdown(socket.SHUT_RDWR)  # its thread reads the end, and closes it

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Ignore clients that disconnect; log the type of any other error, as standard error is for lines of JSON."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.getChild("http").error("a request was not answered: %s", type(error).__name__)


class _IPv6Server(_Server):
    address_family = socket.AF_INET6


def _host_and_port(host: str, port: int) -> str:
    """Return an address as it is written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Endpoint:
    """Serves /metrics, /healthz and /readyz until it is closed."""

    def __init__(self, settings: HttpSettings, health: Health, metrics: Metrics) -> None:
        """Bind and start.

        Raises:
            WrongUsage: the address is not available.
        """
        host, port = settings.host, settings.port
        try:
            self._server = (_IPv6Server if ":" in host else _Server)((host, port), _handler(health, metrics))
        except (OSError, UnicodeError) as error:  # UnicodeError: the host name is too long
            port_problem = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
            hint = "Set another [http] port; 0 picks a free one." if port_problem else "Set another [http] host."
            reason = getattr(error, "strerror", None) or error
            raise WrongUsage(f"Metrics cannot be served on {_host_and_port(host, port)}: {reason}. {hint}") from None
        self.address = _host_and_port(str(self._server.server_address[0]), int(self._server.server_address[1]))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; requests that are still being answered do not delay it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(health: Health, metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_TIMEOUT

        def do_GET(self) -> None:  # the name is http.server's
            match self.path.split("?")[0]:
                case "/metrics":
                    metrics.ready.set(health.readiness_problem() is None)
                    self._answer(200, metrics.render(), "text/plain; version=0.0.4; charset=utf-8")
                case "/healthz":
                    self._report(health.liveness_problem())
                case "/readyz":
                    self._report(health.readiness_problem())
                case _:
                    self._answer(404, b"/metrics, /healthz, /readyz\n")

        def _report(self, problem: str | None) -> None:
            self._answer(503 if problem else 200, f"{problem or 'ok'}\n".encode())

        def _answer(self, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Do not log requests."""

    return Handler
