"""Fixtures that the tests of the harness share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from sqlalchemy import make_url

from thoroughness import EXHAUSTIVE
from torture.moving import dump_programs
from torture.nursery import Nursery
from torture.world import FEW_KEYS, World, fill, new_world

#: seconds for one test
PATIENCE = 3600 if EXHAUSTIVE else 1800


@pytest.fixture(autouse=True)
def _patience() -> Iterator[None]:
    """End a test that hangs."""

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the test took longer than {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def database_url(server_url: str, template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """One database for all tests of a file; each test begins by dropping what the previous one created."""
    name = f"dupe_audit_{request.module.__name__.rsplit('.', 1)[-1]}_{os.getpid()}"
    server = World(server_url)
    server.run(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The parent of programs that may be killed."""
    with Nursery() as opened:
        yield opened


@pytest.fixture(scope="session")
def programs(pg_bin: Path | None, server_version_num: int) -> Path:
    """The directory of the programs that dump and restore a database of the server."""
    major = server_version_num // 10000
    directory = dump_programs(major, pg_bin)
    if directory is None:
        # CREATE DATABASE … TEMPLATE keeps every oid, which is just what a dump does not do.
        pytest.skip(f"no pg_dump of version {major} on this machine")
    return directory


@pytest.fixture(scope="session")
def history_url(server_url: str) -> str:
    """A superuser's URL of a server that records when each transaction was committed."""
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
    """A new small world in which every key exists once, and the first one twice."""
    small_world.run("DROP SCHEMA IF EXISTS dupe_audit CASCADE", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with small_world.connect() as connection:
        fill(connection, FEW_KEYS + 1, FEW_KEYS)
    return small_world
