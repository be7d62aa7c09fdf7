"""The harness objects to programs that lose something, and for the right reason."""

import os

import pytest

from torture.campaign import provoke
from torture.mutants import MUTANTS

#: they need the application to change a row at the right moment, which can take minutes
LENGTHY = {
    "merge from the first snapshot",
    "amend from the first snapshot",
    "archive the first snapshot of an amended row",
}
NAMES = [name for name in MUTANTS if name not in LENGTHY or os.environ.get("DUPE_AUDIT_TEST_THOROUGH")]


@pytest.mark.torture
@pytest.mark.parametrize("name", NAMES)
def test_mutant_is_caught(history_url, nursery, request, name):
    """A usual but wrong way to clean or to finish violates the very invariant that is about its fault."""
    programs = request.getfixturevalue("programs") if MUTANTS[name].moves else None
    violations = provoke(history_url, nursery, name, seed=1, programs=programs)
    assert violations[MUTANTS[name].invariant] > 0
