"""Work on a database that is dumped and restored at any moment continues in the copy as if nothing had happened."""

import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import cycle
from typing import Any

import pytest
from alembic.util import CommandError

from thoroughness import EXHAUSTIVE
from torture.directions import ALL_TABLES, Directions
from torture.kills import Kill, armed
from torture.moving import CUSTOM, FORMATS, PLAIN

pytestmark = pytest.mark.torture

#: statements at which the work is killed before the dump, different ones in each test; all if exhaustive
KILLS = None if EXHAUSTIVE else 1


@pytest.fixture(params=ALL_TABLES, ids=lambda name: name.replace(" ", "-"))
def world(request, database_url):
    """The table, with or without a primary key, or a tree, and the two directions."""
    with Directions(database_url, request.param) as directions:
        yield directions


@pytest.fixture
def sweep(request, world, programs, template, psycopg_connect) -> Callable[..., None]:
    """Kill *work*, dump and restore, check the promises, *resume* in the copy, and expect the same outcome."""
    killer = psycopg_connect(autocommit=True)
    salt = zlib.crc32(request.node.name.encode())
    forms = cycle(FORMATS if salt % 2 else FORMATS[::-1])

    def run(
        prepare: Callable[[], None], work: Callable[[], None], resume: Callable[[], None], outcome: Callable[[], Any]
    ) -> None:
        prepare()
        with armed(world.engine, Kill(killer)) as undisturbed:
            work()
        if resume != work:
            resume()
        expected, points = outcome(), len(undisturbed.statements)
        step = points // (KILLS or points)
        for n in range(1 + salt % step, points + 1, step):
            prepare()
            point = Kill(killer, "before", n)
            with armed(world.engine, point), suppress(CommandError):
                work()
            # The undisturbed work may have executed more statements: a slow batch is followed by smaller ones.
            assert point.happened or len(point.statements) < points
            world.move(programs, next(forms), template)
            assert world.broken() == [], point
            if point.happened or resume != work:
                resume()
                assert world.broken() == [], point
            assert expected == outcome(), point

    return run


@pytest.mark.parametrize("form", [PLAIN, CUSTOM], ids=["plain", "custom"])
@pytest.mark.representatives("no-primary-key-plain")
def test_restored_database_goes_down(world, programs, template, form):
    """The downgrade in a restored database restores every row and points back every child."""
    world.create()
    world.upgrade()
    world.move(programs, form, template)
    assert world.broken() == []
    world.downgrade()
    assert world.broken() == []
    assert (world.original, []) == (world.rows("t"), world.away())
    assert world.sql("SELECT state, archived - restored FROM dupe_audit.run") == [("restored", 0)]


@pytest.mark.representatives("no-primary-key")
def test_killed_upgrade_is_continued_in_a_restored_database(world, sweep):
    """An upgrade that dies at any statement is continued in a restored database."""
    sweep(world.create, world.upgrade, world.upgrade, lambda: world.state(places=False))


@pytest.mark.representatives("children")
def test_killed_upgrade_is_undone_in_a_restored_database(world, sweep):
    """An upgrade that dies at any statement can be undone in a restored database instead."""
    sweep(world.create, world.upgrade, world.downgrade, lambda: (world.original == world.rows("t"), world.away()))


@pytest.mark.thorough
def test_killed_downgrade_is_continued_in_a_restored_database(world, sweep):
    """A downgrade that dies at any statement is continued in a restored database."""

    def upgraded():
        world.create()
        world.upgrade()

    sweep(upgraded, world.downgrade, world.downgrade, lambda: world.state(places=False))
    assert (world.original, []) == (world.rows("t"), world.away())
