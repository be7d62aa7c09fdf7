"""The pipeline keeps its promises while everything is killed; ``make torture`` is the long version."""

import time
from dataclasses import replace

import pytest

from dupe_audit.embedded import Server
from thoroughness import THOROUGH
from torture.campaign import torture
from torture.chaos import CRASH, FREEZE, KILL, TERMINATE
from torture.moving import dump_programs
from torture.plan import Plan, tree_plan
from torture.policies import AMEND, ARCHIVE, POLICIES
from torture.tally import Tally
from torture.world import SETTINGS

#: its plan has all three kinds of kill before the storm ends, so that none comes too late, a client that freezes in a
#: batch, and another at the drop of the constraint
SEED = 5542

#: seconds; the server ends a silent client earlier than by our own limit, so a freeze need not be long
IDLE_LIMIT = 4.0
#: seconds that a busy machine may add to a wait; a client is frozen for longer than the limit and this
SLACK = 3.0
SHORT = Plan(
    cleanups=4,
    builds_in_storm=3,
    builds_in_calm=1,
    ends=0,
    downs=2,
    rounds=1,
    life=0,
    frozen=IDLE_LIMIT + SLACK + 0.5,
    idle_limit=IDLE_LIMIT,
    slack=SLACK,
    moves=2,
    strays=True,
)


#: fewer kills, for the key over an expression and a part of the table
PARTIAL = replace(SHORT, cleanups=2, builds_in_storm=2, downs=1, freezes=0, moves=0, strays=False, partial=True)

#: the same for a tree
TREE = {"cleanups": 1, "builds_in_storm": 1, "builds_in_calm": 1, "ends": 0, "downs": 1, "rounds": 1, "life": 0.0}


@pytest.mark.torture
@pytest.mark.thorough
def test_no_kill_breaks_a_promise(pg_bin, nursery):
    """A pipeline that is killed, frozen and moved while the application writes loses nothing, and no claim is false."""
    tally = Tally(SEED)
    settings = {**SETTINGS, "idle_in_transaction_session_timeout": f"{IDLE_LIMIT:g}s"}
    with Server.start(pg_bin, settings) as server:
        programs = dump_programs(server.version_num // 10000, server.bin_dir)
        torture(server, nursery, tally, SHORT, time.monotonic() + 120)
    assert [] == [str(objection) for objection in tally.objections]
    assert {TERMINATE, KILL, CRASH, FREEZE} == {hit.kind for hit in tally.hits}
    assert (tally.moves.total() > 0) == (programs is not None)
    assert 1 == tally.cycles
    assert tally.cleanup_kills >= 2
    assert tally.archived >= 9_000
    assert tally.archived == tally.restored
    assert tally.followed > 500
    assert tally.returned > 100
    assert tally.strays > 100
    assert tally.application["committed"] > 1_000
    assert tally.application["refused"] > 0
    assert tally.index_checks > 0


@pytest.mark.torture
@pytest.mark.thorough
def test_no_kill_breaks_a_promise_of_a_partial_key(history_url, pg_bin, nursery):
    """Kills lose no live row of a key, while rows enter and leave the predicate and letters change their case."""
    tally = Tally(SEED)
    with Server.start(pg_bin, SETTINGS) as server:
        torture(server, nursery, tally, PARTIAL, time.monotonic() + 120)
    assert [] == [str(objection) for objection in tally.objections]
    assert 1 == tally.cycles
    assert tally.cleanup_kills >= 1
    assert tally.builds_interrupted >= 1
    assert tally.archived >= 5_000
    assert tally.archived == tally.restored
    assert tally.application["refused"] > 0
    assert tally.index_checks > 0


@pytest.mark.torture
@pytest.mark.thorough
@pytest.mark.parametrize("policy", POLICIES if THOROUGH else [ARCHIVE])  # each takes a minute
def test_no_kill_breaks_a_promise_of_a_tree(history_url, pg_bin, nursery, policy):
    """Kills lose no row of a tree while rows move between leaves and partitions arrive, and nobody gets a deadlock."""
    tally = Tally(SEED)
    with Server.start(pg_bin, SETTINGS) as server:
        plan = replace(tree_plan(policy), freezes=0, moves=0, **TREE)
        torture(server, nursery, tally, plan, time.monotonic() + 120)
    assert [] == [str(objection) for objection in tally.objections]
    assert 1 == tally.cycles
    assert 2 == tally.arrived
    assert tally.cleanup_kills >= 1
    assert tally.archived == tally.restored
    assert tally.archived + tally.changed["amended"] >= 5_000
    assert (policy == AMEND) == (tally.followed == 0)
    assert tally.application["refused"] > 0
    assert tally.index_checks > 0
