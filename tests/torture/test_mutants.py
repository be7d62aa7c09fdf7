"""The harness objects to programs that lose something, and to the right thing."""

import pytest

from torture.campaign import provoke
from torture.mutants import MUTANTS


@pytest.mark.torture
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(history_url, nursery, name):
    """A way of cleaning or of finishing that is often written breaks the very invariant that is about it."""
    found = provoke(history_url, nursery, name, seed=1)
    assert found[MUTANTS[name].invariant] > 0
