"""The harness notices a program that fails and an application that is disturbed, and a seed is a plan."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import pytest
from psycopg.pq import TransactionStatus

from torture.campaign import Campaign
from torture.chaos import CLEANUP_AIMS, strikes
from torture.invariants import UNCAUSED
from torture.tally import Tally
from torture.waits import ROW, TABLE, Waits
from torture.world import FEW_KEYS, fill
from torture.writers import ARRIVALS, Writers
from waiting import PATIENCE, wait_for


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
        wait_for(writers.unforeseen)
    assert ["42883"] == list(writers.unforeseen())


@pytest.mark.parametrize("statements", ARRIVALS.values(), ids=["out of the DEFAULT", "below a level"])
def test_partition_whose_reply_was_lost_has_arrived(world, statements):
    """A partition that was created just before the application lost its connection causes no error at the next try."""
    world.run("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with world.connect("torture application") as connection:
        fill(connection, FEW_KEYS + 1, FEW_KEYS, tree=True)
        for _ in range(2):
            writers = Writers(replace(world, tree=True), "1")
            writers._arriving = {"SELECT 1": statements}
            assert "committed" == writers._arrival(connection, Random(1))
            assert {} == writers._arriving
        assert connection.info.transaction_status == TransactionStatus.IDLE


def test_writers_pause(world):
    """The world stands still while the writers rest, and moves again afterwards."""
    with Writers(world, "1") as writers:
        counts = "SELECT count(*) FROM oplog"
        with writers.resting():
            before = world.ask(counts)
            time.sleep(0.2)
            assert before == world.ask(counts)
        wait_for(lambda: world.ask(counts) > before)


def test_client_that_freezes_continues(world, nursery):
    """A program stops itself after the requested statement, and succeeds once it continues."""
    child = nursery.start("upgrade", world.url, "torture 1", freeze=("ranking", 1))
    wait_for(lambda: child.wait(0) is not None or child.frozen)
    assert child.code is None
    assert not world.ask("SELECT valid FROM unique_index")
    child.thaw()
    assert child.wait(PATIENCE) == 0, nursery.last_words()
    assert world.ask("SELECT valid FROM unique_index") == [True]


def test_frozen_client_can_be_killed(world, nursery):
    """A frozen program that is killed is gone."""
    child = nursery.start("upgrade", world.url, "torture 1", freeze=("ranking", 1))
    wait_for(lambda: child.wait(0) is not None or child.frozen)
    child.kill()
    assert child.wait(PATIENCE) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("held", "waiting", "lock"),
    [
        ("UPDATE tt SET v = v WHERE id = 1", "UPDATE tt SET v = v WHERE id = 1", ROW),
        ("LOCK TABLE tt IN SHARE MODE", "UPDATE tt SET v = v WHERE id = 1", TABLE),
        ("LOCK TABLE tt IN ACCESS EXCLUSIVE MODE", "SELECT FROM tt", TABLE),
    ],
)
def test_waits_behind_a_frozen_client_are_measured(world, held, waiting, lock):
    """A statement of the application that waits for a frozen client is measured, by the kind of the lock."""
    waits = Waits()
    with (
        world.connect("torture 1") as client,
        world.connect("torture application") as application,
        world.connect("torture application") as behind,
        world.connect() as monitor,
        ThreadPoolExecutor(2) as pool,
    ):

        def longer_than(seconds):
            waits.look(monitor, "torture 1")
            return waits.longest.get(lock, 0) > seconds

        with client.transaction():
            client.execute(held)
            futures = [pool.submit(connection.execute, waiting) for connection in (application, behind)]
            wait_for(lambda: longer_than(0.1))
            waits.look(monitor, "torture 2")
        for future in futures:
            future.result()
    assert [lock] == list(waits.longest)
