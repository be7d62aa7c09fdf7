"""How much the tests try, which the variable DUPE_AUDIT_TEST_THOROUGH says: nothing, only, 1 or 2.

Without it, as in ``make test``, a test with many cases of one behaviour runs those that its marker ``representatives``
names by their ids, and a test with the marker ``thorough`` does not run. ``only``, as in ``.ci/run`` after
``make test``, runs what that left out and nothing else. 1, as in ``make test-all``, runs every case of every test, and
starts every program in its own interpreter. With 2 the torture kills at every statement and tries a thousand random
sequences of steps, which takes hours.

A representative is an id, or the beginning of several ids, with a star: ``"children-*"``. What is left out are further
cases of a behaviour that a quick test guards: more types, forms of a key, obstacles and policies of a table of cases,
more statements to be killed at, more mutants, and long ways through the whole program whose parts are tested.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the launcher of programs does without pytest
    import pytest

_VALUE = os.environ.get("DUPE_AUDIT_TEST_THOROUGH") or "0"
REST_ONLY = _VALUE == "only"
LEVEL = 0 if REST_ONLY else int(_VALUE)
THOROUGH = LEVEL >= 1
EXHAUSTIVE = LEVEL >= 2


def selection(
    items: Sequence[pytest.Item], arguments: Sequence[str], *, rest: bool = REST_ONLY
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return what runs and what does not: nothing is left out of a test that an argument of `make test` names.

    Args:
        items: all tests.
        arguments: those of the command line.
        rest: whether to run what `make test` leaves out, and nothing else.

    Raises:
        ValueError: a marker names a case that does not exist.
    """
    named = tuple(argument.split("[")[0] for argument in arguments if "::" in argument)
    kept, left_out, missing = [], [], {}
    for item in items:
        function, _, case = item.nodeid.partition("[")
        marker = item.get_closest_marker("representatives")
        if function.startswith(named or "::"):
            kept.append(item)
            continue
        matching = {name for name in marker.args if _matches(name, case[:-1])} if marker else set()
        if marker:
            missing.setdefault(function, set(marker.args)).difference_update(matching)
        dispensable = item.get_closest_marker("thorough") or (marker and not matching)
        (left_out if dispensable else kept).append(item)
    if wrong := {function: names for function, names in missing.items() if names}:
        raise ValueError(f"representatives that are no cases: {wrong}")
    return (left_out, kept) if rest else (kept, left_out)


def _matches(representative: str, case: str) -> bool:
    return case == representative or (representative.endswith("*") and case.startswith(representative[:-1]))
