"""A backend that dies at any statement loses nothing and leaves no false claim, and the same call completes later."""

import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from alembic.util import CommandError

from thoroughness import EXHAUSTIVE
from torture.directions import ALL_TABLES, TREE, Directions
from torture.kills import Kill, Moment, armed

pytestmark = pytest.mark.torture

#: statements to die at, evenly spread, and different ones in each test; all if exhaustive
KILLS = None if EXHAUSTIVE else 2
#: the same on a tree, which takes several times as many statements
TREE_KILLS = KILLS and 1


@pytest.fixture(params=ALL_TABLES, ids=lambda name: name.replace(" ", "-"))
def world(request, database_url):
    """The table, with or without a primary key, and the two directions."""
    with Directions(database_url, request.param) as directions:
        yield directions


@pytest.fixture
def sweep(request, world, psycopg_connect) -> Callable[..., None]:
    """Kill *work* at one statement after the other; check the promises; then *resume*, and expect the same outcome."""
    killer = psycopg_connect(autocommit=True)
    salt = zlib.crc32(request.node.name.encode())

    def kill(point: Kill, work: Callable[[], None], resume: Callable[[], None], outcome: Callable[[], Any]) -> Any:
        with armed(world.engine, point), suppress(CommandError):
            work()
        assert world.broken() == [], point
        if point.happened or resume != work:
            resume()
            assert world.broken() == [], point
        return outcome()

    def run(
        moment: Moment,
        prepare: Callable[[], None],
        work: Callable[[], None],
        resume: Callable[[], None],
        outcome: Callable[[], Any],
    ) -> None:
        prepare()
        undisturbed = Kill(killer)
        expected = kill(undisturbed, work, resume, outcome)
        points = len(undisturbed.statements)
        step = points // ((TREE_KILLS if world.table == TREE else KILLS) or points)
        first = 1 + salt % step
        for n in range(first, points + 1, step):
            prepare()
            point = Kill(killer, moment, n)
            ended = kill(point, work, resume, outcome)
            # The undisturbed work may have executed more statements, if it had to wait for a lock.
            assert point.happened or len(point.statements) < points
            assert expected == ended, point
        print(f"{points} kill points, every {step}. from {first}")  # noqa: T201 - pytest -rP shows it

    return run


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_upgrade_is_continued(world, sweep, moment):
    """An upgrade that dies at any statement keeps the promises, and a second one ends as if nothing had happened."""
    sweep(moment, world.create, world.upgrade, world.upgrade, world.state)


@pytest.mark.thorough
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_downgrade_is_continued(world, sweep, moment):
    """A downgrade that dies at any statement keeps the promises, and a second one restores the table as it was."""

    def upgraded():
        world.create()
        world.upgrade()

    sweep(moment, upgraded, world.downgrade, world.downgrade, world.state)
    assert world.original == world.rows("t")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.representatives("children-after")
def test_killed_upgrade_is_undone(world, sweep, moment):
    """An upgrade that dies at any statement can be undone instead, and leaves no index and no list behind."""

    def remains() -> tuple[bool, Any]:
        leftovers = (
            "SELECT relname FROM pg_class WHERE relname ~ '^stage_' "
            "UNION ALL SELECT indexrelid::regclass::text FROM pg_index "
            "WHERE NOT indisprimary "
            "AND indrelid IN (SELECT 't'::regclass UNION SELECT relid FROM pg_partition_tree('t'))"
        )
        return world.original == world.rows("t"), world.away(), world.sql(leftovers)

    sweep(moment, world.create, world.upgrade, world.downgrade, remains)


@pytest.mark.representatives("no-primary-key")
def test_connection_lost_at_the_very_end_is_reported(world, psycopg_connect):
    """A directive that loses its connection after its work is done ends with a plain sentence, not with a traceback."""

    def archive() -> None:
        world.create()
        with world.operations() as op:
            world.clean(op)

    error, last = "", Kill(psycopg_connect(autocommit=True))
    while not last.happened:  # the first time counts; a wait for a lock adds statements, so a later one may have fewer
        last = Kill(last.killer, "before", len(last.statements))
        try:
            with armed(world.engine, last):
                archive()
        except CommandError as raised:
            error = str(raised)
    assert re.search("connection was lost|lost its connection", error)
