"""Is the loop alive, and is it ready? Written by the loop, read by the thread that serves HTTP."""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from dupe_audit.consumer.config import HttpRule
from dupe_audit.consumer.logs import log
from dupe_audit.consumer.metrics import Metrics
from dupe_audit.errors import WrongUsage


class Health:
    """Plain facts; each is written by one thread, so they need no lock."""

    def __init__(self, rule: HttpRule, *, rollout: bool) -> None:
        self._stuck_after = rule.stuck_after / 1000
        self._rollout = rollout
        self._beat = time.monotonic()
        self.joined = False
        self.database = False
        self.enforced = False

    def beat(self) -> None:
        """Say that the loop goes round."""
        self._beat = time.monotonic()

    def stuck(self) -> str | None:
        """Return what is wrong with the loop, or None."""
        silent = time.monotonic() - self._beat
        return f"the loop has not gone round for {silent:.0f} s" if silent > self._stuck_after else None

    def lacks(self) -> str | None:
        """Return what is missing before events are written as promised, or None."""
        if not self.joined:
            return "the consumer has not joined its group"
        if not self.database:
            return "the database is away"
        if not self.enforced and not self._rollout:
            return "no valid constraint keeps the key unique, and rollout is false"
        return self.stuck()


class _Server(HTTPServer):
    """Says nothing on standard error, which is for lines of JSON."""

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Leave clients that go away alone; log the kind of any other error."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.getChild("http").error("a request was not answered: %s", type(error).__name__)


class _ServerOf6(_Server):
    address_family = socket.AF_INET6


def _joined(host: str, port: int) -> str:
    """Return an address as it is written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Endpoint:
    """Serves /metrics, /healthz and /readyz from one thread, until it is closed."""

    def __init__(self, rule: HttpRule, health: Health, metrics: Metrics) -> None:
        """Bind and start.

        Raises:
            WrongUsage: the address cannot be had.
        """
        try:
            self._server = (_ServerOf6 if ":" in rule.host else _Server)(
                (rule.host, rule.port), _handler(health, metrics)
            )
        except (OSError, UnicodeError) as error:  # UnicodeError: the name of a host is too long
            of_port = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
            hint = "Give another [http] port; 0 takes a free one." if of_port else "Give another [http] host."
            why = getattr(error, "strerror", None) or error
            raise WrongUsage(f"Metrics cannot be served on {_joined(rule.host, rule.port)}: {why}. {hint}") from None
        self.address = _joined(str(self._server.server_address[0]), int(self._server.server_address[1]))
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(health: Health, metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # a client that says nothing does not keep the others waiting

        def do_GET(self) -> None:  # the name is http.server's
            match self.path.split("?")[0]:
                case "/metrics":
                    metrics.ready.set(health.lacks() is None)
                    self._answer(200, metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
                case "/healthz":
                    self._say(health.stuck())
                case "/readyz":
                    self._say(health.lacks())
                case _:
                    self._answer(404, b"/metrics, /healthz, /readyz\n")

        def _say(self, wrong: str | None) -> None:
            self._answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode())

        def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Leave the log to events."""

    return Handler
