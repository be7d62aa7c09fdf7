"""A batch costs one round trip, counted on the wire."""

import socket
import threading
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from dupe_audit.model import UniqueKey
from dupe_audit.writer import Writer, delivery


class Wire:
    """Forwards TCP to the server's socket and counts how often the server sends after the client did.

    Counting client messages would not work: a pipeline ends with a Flush without a reply, which may arrive late.
    """

    def __init__(self, path: str) -> None:
        self.trips, self._last, self._path = 0, b"s", path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self._listener.close()
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._path)
        for ends in ((client, server, b"c"), (server, client, b"s")):
            threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, side: bytes) -> None:
        with source, suppress(OSError):  # the other direction may have closed it
            while data := source.recv(1 << 16):
                if side == b"s":
                    self.trips += self._last == b"c"
                self._last = side
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def wire(server, database_url):
    """A wire to the test's database, and a connection over it."""
    url = urlsplit(database_url)
    query = parse_qs(url.query)
    wire = Wire(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")
    with psycopg.connect(
        host="127.0.0.1", port=wire.port, user="postgres", dbname=url.path[1:], autocommit=True, sslmode="disable"
    ) as connection:
        yield wire, connection


@pytest.mark.parametrize("enforced", [True, False])
def test_a_batch_is_one_round_trip(wire, sql, monkeypatch, enforced):
    """BEGIN, twenty rows with their answers, and COMMIT need one round trip."""
    sql(f"CREATE TABLE t (k int{', CONSTRAINT once UNIQUE (k)' if enforced else ''})")
    monkeypatch.setattr(delivery, "PROBE_EVERY", 3600)  # without an arbiter, it reads the catalog again after a second
    counter, connection = wire
    rows = Writer(connection, UniqueKey(table="t", columns=("k",), name="once"), ["k"])
    for start in (0, 20):
        rows.write([(start + n,) for n in range(10)])  # reads the catalog and prepares the statement
    counter.trips = 0
    outcomes = rows.write([(start + n,) for n in range(20)])
    assert 1 == counter.trips
    assert {"inserted", "duplicate"} >= {outcome.kind for outcome in outcomes}
    assert 20 == len(outcomes)
