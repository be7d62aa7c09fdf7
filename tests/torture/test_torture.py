"""The pipeline keeps its promises while everything is killed; ``make torture`` is the long version."""

import time

import pytest

from dupe_audit.embedded import Server
from torture.campaign import Plan, torture
from torture.chaos import CRASH, KILL, TERMINATE
from torture.tally import Tally
from torture.world import SETTINGS

#: its plan has all three kinds of kill before the storm ends, so that none comes too late
SEED = 1
SHORT = Plan(cleanups=4, builds_in_storm=3, builds_in_calm=1, ends=0, downs=2, rounds=1, life=0)


@pytest.mark.torture
def test_no_kill_breaks_a_promise(pg_bin, nursery):
    """A pipeline that is killed in every way while the application writes loses nothing and makes no false claim."""
    tally = Tally(SEED)
    with Server.start(pg_bin, SETTINGS) as server:
        torture(server, nursery, tally, SHORT, time.monotonic() + 60)
    assert [] == [str(objection) for objection in tally.objections]
    assert {TERMINATE, KILL, CRASH} == {hit.kind for hit in tally.hits}
    assert 1 == tally.cycles
    assert tally.cleanup_kills >= 2
    assert tally.archived >= 9_000
    assert tally.archived == tally.restored
    assert tally.followed > 500
    assert tally.returned > 100
    assert tally.application["committed"] > 1_000
    assert tally.application["refused"] > 0
    assert tally.index_checks > 0
