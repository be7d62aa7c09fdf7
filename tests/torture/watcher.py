"""Look at the index all the time: whenever it is valid, it must be true."""

import threading
from typing import Self

import psycopg

from torture.invariants import Objection, index_objections
from torture.world import NO_INDEX, World


class Watcher:
    """A context manager; inside it the index is checked about ten times a second."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.objections: list[Objection] = []
        self.checks = 0  # in which the index was valid all the time
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _run(self) -> None:
        connection: psycopg.Connection | None = None
        while not self._stop.wait(0.1):
            try:
                connection = connection or self.world.connect("torture watcher", NO_INDEX)
                found = index_objections(connection)
            except psycopg.Error:  # the server goes, or is not there
                if connection:
                    connection.close()
                connection = None
            else:
                if found is not None:
                    self.checks += 1
                    self.objections += found
        if connection:
            connection.close()
