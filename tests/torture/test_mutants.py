"""The harness objects to programs that lose something, and for the right reason."""

import pytest

from torture.campaign import provoke
from torture.mutants import MUTANTS


@pytest.mark.torture
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(history_url, nursery, request, name):
    """A usual but wrong way to clean or to finish violates the very invariant that is about its fault."""
    programs = request.getfixturevalue("programs") if MUTANTS[name].moves else None
    violations = provoke(history_url, nursery, name, seed=1, programs=programs)
    assert violations[MUTANTS[name].invariant] > 0
