"""Preflight beside the query that a person would type, and restore beside cleanup; both without writers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import Connection, NullPool, create_engine

from dupe_audit.cleanup import cleanup
from dupe_audit.embedded import Server
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore
from migration.measurement import copy_of
from migration.results import BenchmarkError, Seconds
from migration.table import CHEAPEST_FIRST, KEY, NAME

UNIQUE_KEY = UniqueKey(table="agent_actions", columns=tuple(KEY.split(", ")), name=NAME)
BARE = "SELECT count(*) FROM (SELECT FROM agent_actions GROUP BY {key} HAVING count(*) > 1) AS extra"
INDEX_SCANS = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")
PREFLIGHT, WITH_INDEXES = "preflight", "with indexes"
#: a corrupt index hides duplicates, so preflight uses none, and only queries without one can be compared with it
BARE_QUERIES = {
    "given order": (KEY, INDEX_SCANS),
    "given order, sorted": (KEY, (*INDEX_SCANS, "enable_hashagg")),
    "cheapest first": (CHEAPEST_FIRST, INDEX_SCANS),
    "cheapest first, sorted": (CHEAPEST_FIRST, (*INDEX_SCANS, "enable_hashagg")),
    WITH_INDEXES: (KEY, ()),
}


def time_queries(server: Server, template: str, repetition: int) -> Seconds:
    """Return the seconds of preflight and of each bare query, in an order that changes with the repetition."""
    engine = create_engine(server.url(template), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        return {name: _time_query(connection, name) for name in rotated([PREFLIGHT, *BARE_QUERIES], repetition)}


def rotated(names: Sequence[str], repetition: int) -> list[str]:
    """Return the names in the order of one repetition: each is first, second and so on equally often."""
    start = repetition % len(names)
    return [*names[start:], *names[:start]]


def _time_query(connection: Connection, name: str) -> float:
    if name == PREFLIGHT:
        return _seconds(lambda: preflight(connection, UNIQUE_KEY))
    key, switched_off = BARE_QUERIES[name]
    for setting in switched_off:
        connection.exec_driver_sql(f"SET {setting} = off")
    try:
        return _seconds(lambda: connection.exec_driver_sql(BARE.format(key=key)).scalar())
    finally:
        connection.exec_driver_sql("RESET ALL")


def time_restore(server: Server, template: str) -> Seconds:
    """Return the seconds of a cleanup on a copy of the template, and of its restore, each after a checkpoint.

    Raises:
        BenchmarkError: the restore did not put all rows back.
    """
    with copy_of(server, template) as database:
        engine = create_engine(server.url(database), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            count = "SELECT count(*) FROM agent_actions"
            before = connection.exec_driver_sql(count).scalar()
            rule = CleanupRule(divergent="archive")
            seconds = {"cleanup": _seconds(lambda: list(cleanup(connection, UNIQUE_KEY, rule)))}
            connection.exec_driver_sql("CHECKPOINT")
            seconds["restore"] = _seconds(lambda: list(restore(connection, 1)))
            if connection.exec_driver_sql(count).scalar() != before:
                raise BenchmarkError("restore did not put all rows back, so its time means nothing")
    return seconds


def _seconds(action: Callable[[], object]) -> float:
    started = time.monotonic()
    action()
    return time.monotonic() - started
