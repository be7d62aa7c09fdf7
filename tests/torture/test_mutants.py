"""The harness objects to programs that lose something, and for the right reason."""

import pytest

from torture.campaign import provoke
from torture.careless import INTERRUPTED, INTRUDED
from torture.invariants import objections
from torture.mutants import MUTANTS
from torture.world import FEW_ROWS, new_world

pytestmark = pytest.mark.torture

#: whether the run has written the row that the application changed last, as it was then
WRITTEN = "SELECT EXISTS (SELECT FROM images() WHERE before = (SELECT after FROM imagelog ORDER BY seq DESC LIMIT 1))"


def test_mutants_replace_what_the_statements_contain():
    """A statement that is rewritten cannot leave its mutants without effect: what they replace is still in it."""
    mutants = [mutant for mutant in MUTANTS.values() if mutant.statements]
    assert mutants
    for mutant in mutants:
        mutant.texts()


@pytest.mark.thorough
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(history_url, nursery, request, name):
    """A usual but wrong way to clean or to finish violates the very invariant that is about its fault."""
    programs = request.getfixturevalue("programs") if MUTANTS[name].moves else None
    violations = provoke(history_url, nursery, name, seed=1, programs=programs)
    assert violations[MUTANTS[name].invariant] > 0


@pytest.mark.parametrize("policy", INTERRUPTED)
@pytest.mark.representatives("merge")
def test_interrupted_cleanup_is_not_objected_to(history_url, policy):
    """Ours, interrupted as some mutants are, writes the row that was just changed, and loses nothing."""
    with new_world(history_url, "interrupted", FEW_ROWS, policy=policy) as world:
        INTERRUPTED[policy](world.url, "torture")
        assert objections(world) == []
        assert world.ask(WRITTEN) == [True]


@pytest.mark.parametrize("kind", INTRUDED)
@pytest.mark.representatives("delete")
def test_intruded_cleanup_is_not_objected_to(history_url, kind):
    """In ours, nobody deletes or changes a survivor of a batch before the batch ends."""
    with new_world(history_url, "intruded", FEW_ROWS) as world:
        INTRUDED[kind](world.url, "torture")
        assert objections(world) == []
        assert world.ask("SELECT EXISTS (SELECT FROM oplog WHERE k = 'intruded' OR op = 'delete')") == [False]
