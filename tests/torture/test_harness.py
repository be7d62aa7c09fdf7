"""The harness notices a program that fails and an application that is disturbed, and a seed is a plan."""

import time
from random import Random

from torture.campaign import Campaign
from torture.chaos import CLEANUP_AIMS, strikes
from torture.invariants import UNCAUSED
from torture.tally import Tally
from torture.writers import Writers


def test_seed_gives_the_same_plan():
    """A seed decides which kills are tried, so that those before a failure can be tried again."""
    first, again = (strikes(Random("7/0"), CLEANUP_AIMS, 20, crashes=True) for _ in range(2))
    assert first == again
    assert first != strikes(Random("8/0"), CLEANUP_AIMS, 20, crashes=True)


def test_failure_without_a_cause_is_objected_to(world, nursery):
    """The harness objects to a program that ends with an error although nobody touched it."""
    tally = Tally(seed=1)
    campaign = Campaign(world, nursery, Writers(world, "1"), None, tally)
    assert not campaign.attempt("no such program", "up")
    assert [UNCAUSED] == [objection.invariant for objection in tally.objections]


def test_error_that_the_application_should_not_see_is_counted(world):
    """An application that gets an error other than a refused duplicate was disturbed."""
    world.run("ALTER FUNCTION app_op RENAME TO gone")
    with Writers(world, "1", count=1) as writers:
        deadline = time.monotonic() + 60
        while not writers.unforeseen() and time.monotonic() < deadline:
            time.sleep(0.02)
    assert ["42883"] == list(writers.unforeseen())


def test_writers_pause(world):
    """The world stands still while the writers rest, and moves again afterwards."""
    with Writers(world, "1") as writers:
        counts = "SELECT count(*) FROM oplog"
        with writers.resting():
            before = world.ask(counts)
            time.sleep(0.2)
            assert before == world.ask(counts)
        deadline = time.monotonic() + 60
        while world.ask(counts) == before and time.monotonic() < deadline:
            time.sleep(0.02)
        assert world.ask(counts) > before
