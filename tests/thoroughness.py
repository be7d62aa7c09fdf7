"""How much the tests try, which the variable DUPE_AUDIT_TEST_THOROUGH says: nothing, 1 or 2.

Without it, as in ``make test``, a test with many cases of one behaviour runs those that its marker ``representatives``
names by their ids, and a test with the marker ``thorough`` does not run. 1, as in ``make test-all``, runs every case of
every test, and starts every program in its own interpreter. With 2 the torture kills at every statement and tries a
thousand random sequences of steps, which takes hours.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the launcher of programs does without pytest
    import pytest

LEVEL = int(os.environ.get("DUPE_AUDIT_TEST_THOROUGH") or 0)
THOROUGH = LEVEL >= 1
EXHAUSTIVE = LEVEL >= 2


def selection(items: Sequence[pytest.Item], arguments: Sequence[str]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return what `make test` runs and what it leaves out; it leaves out nothing of a test that an argument names.

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
        if marker:
            missing.setdefault(function, set(marker.args)).discard(case[:-1])
        dispensable = item.get_closest_marker("thorough") or (marker and case[:-1] not in marker.args)
        (left_out if dispensable else kept).append(item)
    if wrong := {function: names for function, names in missing.items() if names}:
        raise ValueError(f"representatives that are no cases: {wrong}")
    return kept, left_out
