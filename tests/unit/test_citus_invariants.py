"""An invariant that cannot fail proves nothing: those of the tests on Citus object to violations planted by hand."""

import pytest

from citus.traffic import State, objections

#: row 1 survives; row 2 was archived under it at second 5; row 3 was deleted; row 4 got another key
HISTORY = {
    1: [State("a", 0.0)],
    2: [State("a", 0.0)],
    3: [State("b", 0.0, ends=3.0), State(None, 2.0)],
    4: [State("c", 0.0, ends=4.0), State("d", 3.5)],
}
TABLE = [(1, "a"), (4, "d")]
ARCHIVE = [(2, "a", 1, 5.0)]


def test_sound_history_is_not_objected_to():
    """A row in the archive whose survivor held its key at that time violates nothing."""
    assert [] == objections(HISTORY, TABLE, ARCHIVE)


@pytest.mark.parametrize(
    ("table", "archive", "words"),
    [
        ([(4, "d")], ARCHIVE, "row 1 is lost"),
        ([*TABLE, (2, "a")], ARCHIVE, "row 2 is in the table and in the archive"),
        ([*TABLE, (3, "b")], ARCHIVE, "row 3 was deleted and exists"),
        ([(1, "a"), (4, "c")], ARCHIVE, "row 4 has lost its last change"),
        ([*TABLE, (9, "z")], ARCHIVE, "row 9 appeared from nowhere"),
        ([*TABLE, (4, "d")], ARCHIVE, "a row exists twice"),
        (TABLE, [(2, "a", 4, 5.0)], "row 2 was archived, but its survivor 4 did not hold its key"),
        (TABLE, [(2, "a", 3, 5.0)], "row 2 was archived, but its survivor 3 did not hold its key"),
    ],
)
def test_violation_is_objected_to(table, archive, words):
    """A row that is lost, doubled, changed or made up, or archived without a survivor, is objected to."""
    assert [words] == objections(HISTORY, table, archive)
