"""The ways to make the key unique. Each is executed in a fresh process, so that its memory can be measured."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine

import dupe_audit.ops  # noqa: F401 - env.py imports it; here, so that the import is not part of the measured time
from migration.steps import Stopwatch, by_name, by_step
from migration.table import CHEAPEST_FIRST, KEY, NAME, ROOT, conninfo
from migration.writers import START_LIMIT

DELETE = """
DELETE FROM agent_actions WHERE id IN (
    SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY {key} ORDER BY id) AS place FROM agent_actions) AS ranked
    WHERE place > 1)
"""
ADD = f"ALTER TABLE agent_actions ADD CONSTRAINT {NAME} UNIQUE ({KEY})"
BUILD = f"CREATE UNIQUE INDEX CONCURRENTLY {NAME} ON agent_actions ({KEY})"
ATTACH = f"ALTER TABLE agent_actions ADD CONSTRAINT {NAME} UNIQUE USING INDEX {NAME}"
MORE_MEMORY = ("SET work_mem = '256MB'", "SET maintenance_work_mem = '1GB'")


@dataclass(frozen=True, slots=True)
class Outcome:
    """When a way began and ended, on the monotonic clock; seconds by statement and step; bytes of memory."""

    started: float = 0.0
    ended: float = 0.0
    statements: dict[str, float] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    memory: int = 0
    error: str | None = None


def alembic(url: str, revision: str) -> list[tuple[str, float]]:
    """Upgrade the database to a revision of the reference project; return its statements and the seconds of each."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.set_main_option("path_separator", "os")
    engine = create_engine(url, poolclass=NullPool)
    stopwatch = Stopwatch(engine)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    return stopwatch.executed


def original(url: str) -> dict[str, float]:
    """Delete the extras, commit, and add the constraint.

    In one transaction, this deadlocks with writers that change extras. Such a writer holds its lock on the table and
    waits for the deleted row, and ALTER TABLE waits for that lock. PostgreSQL ends one of the two with 40P01.
    """
    return _by_hand(url, (), (("delete", DELETE.format(key=KEY)), ("build", ADD)))


def by_hand(url: str) -> dict[str, float]:
    """Follow the recipe of common guides, with the key's columns in their given order."""
    return _by_hand(url, (), (("delete", DELETE.format(key=KEY)), ("build", BUILD), ("attach", ATTACH)))


def best_by_hand(url: str) -> dict[str, float]:
    """Follow the same recipe with more memory, and partition by the cheapest column first."""
    statements = (("delete", DELETE.format(key=CHEAPEST_FIRST)), ("build", BUILD), ("attach", ATTACH))
    return _by_hand(url, MORE_MEMORY, statements)


def upgrade(url: str) -> dict[str, float]:
    """Upgrade to revision 015."""
    return by_name(alembic(url, "015"))


WAYS: dict[str, Callable[[str], dict[str, float]]] = {"a": original, "b": by_hand, "b*": best_by_hand, "c": upgrade}


def execute(way: str, url: str, begin: Barrier, outcome: Connection) -> None:
    """Wait twice, once when ready and once for the signal to begin; then execute the way, and send the outcome."""
    begin.wait(timeout=START_LIMIT)
    begin.wait(timeout=2 * START_LIMIT)  # until the writers are on time
    started = time.monotonic()
    try:
        seconds = WAYS[way](url)
    except Exception as error:  # noqa: BLE001 - sent, and raised by the receiver
        outcome.send(Outcome(error=f"{type(error).__name__}: {error}"))
        return
    ended = time.monotonic()
    outcome.send(Outcome(started, ended, seconds, by_step(seconds, ended - started), peak_memory()))


def peak_memory() -> int:
    """Return the most memory, in bytes, that this process has occupied.

    It is read from /proc, if that exists: after fork and exec, getrusage() starts with the parent's peak.
    """
    status = Path("/proc/self/status")
    match = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    return int(match[1]) * 1024 if match else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _by_hand(url: str, before: tuple[str, ...], statements: tuple[tuple[str, str], ...]) -> dict[str, float]:
    seconds = {}
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        for setting in before:
            connection.execute(setting)
        for step, statement in statements:
            started = time.monotonic()
            connection.execute(statement)
            seconds[step] = time.monotonic() - started
    return seconds
