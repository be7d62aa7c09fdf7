"""Check continuously that a valid index is true, and that every claim is."""

import threading
from typing import Self

import psycopg

from torture.invariants import TRUTH_OF_THE_CLAIM, Objection, index_objections, objections
from torture.world import NO_INDEX, World


class Watcher:
    """A context manager; inside it both are checked several times per second."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.objections: list[Objection] = []
        self.checks = 0  #: those in which the index was valid from the beginning to the end
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=120)

    def _run(self) -> None:
        connection: psycopg.Connection | None = None
        while not self._stop.wait(0.2):
            try:
                connection = connection or self.world.connect("torture watcher", NO_INDEX)
                index = index_objections(connection)
                self.objections += objections(self.world, (TRUTH_OF_THE_CLAIM,))
            except psycopg.Error:  # the server stops, or is away
                if connection:
                    connection.close()
                connection = None
            else:
                if index is not None:
                    self.checks += 1
                    self.objections += index
        if connection:
            connection.close()
