"""What the tests of the harness share."""

import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from torture.nursery import Nursery
from torture.world import KEYS, World, fill, new_world


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """End a test that hangs."""

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError("the test took longer than two minutes")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where programs are born that may be killed."""
    with Nursery() as opened:
        yield opened


@pytest.fixture(scope="session")
def history_url(server_url: str) -> str:
    """A superuser's URL of a server that remembers when each transaction was committed."""
    if World(server_url).ask("SHOW track_commit_timestamp") != ["on"]:
        pytest.skip("the invariants need track_commit_timestamp = on")
    return server_url


@pytest.fixture(scope="session")
def small_world(history_url: str) -> Iterator[World]:
    """A database for many small worlds, one after the other."""
    with new_world(history_url, "small", rows=0) as small:
        yield small


@pytest.fixture
def world(small_world: World) -> World:
    """A small world, made anew, in which every key is there once and the first one twice."""
    small_world.run("DROP SCHEMA IF EXISTS dupe_audit CASCADE", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with small_world.connect() as connection:
        fill(connection, KEYS + 1)
    return small_world
