"""Fixtures of the hard cases: the ids in a table and its archive, and actions at the worst moment."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, event


@pytest.fixture
def live(sql) -> Callable[[], list[Any]]:
    """Return the ids in table t."""
    return lambda: [row[0] for row in sql("SELECT id FROM t ORDER BY id")]


@pytest.fixture
def archived(sql) -> Callable[..., list[Any]]:
    """Return the ids that a run has archived."""
    return lambda run=1: [row[0] for row in sql(f"SELECT id FROM dupe_audit.archive_{run} ORDER BY id")]


@pytest.fixture
def just_before(conn: Connection) -> Iterator[Callable[..., list[str]]]:
    """Do something once, before the first statement on ``conn`` that contains *words*; return a list of it."""
    hooks = []

    def arrange(words: str, action: Callable[[], Any], *, on: Connection = conn) -> list[str]:
        intercepted: list[str] = []

        def hook(_connection, _cursor, statement, *_rest):
            if words in statement and not intercepted:
                intercepted.append(statement)
                action()

        event.listen(on, "before_cursor_execute", hook)
        hooks.append((on, hook))
        return intercepted

    yield arrange
    for connection, hook in hooks:
        event.remove(connection, "before_cursor_execute", hook)


@pytest.fixture
def beside() -> Iterator[Callable[[Callable[[], Any]], threading.Thread]]:
    """Run something in a thread; its error, if any, fails the test at its end."""
    started: list[tuple[threading.Thread, list[BaseException]]] = []

    def start(work):
        raised: list[BaseException] = []

        def guarded():
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised by the test's own thread
                raised.append(error)

        thread = threading.Thread(target=guarded)
        thread.start()
        started.append((thread, raised))
        return thread

    yield start
    for thread, raised in started:
        thread.join()
        assert [] == raised
