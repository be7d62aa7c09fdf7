"""An invariant that cannot fail proves nothing: each of them objects to a violation planted by hand."""

from dataclasses import replace
from random import Random

import pytest

from torture.consumer.events import Content, plain
from torture.consumer.facts import Facts, Letter, Sent, Stored, digest
from torture.consumer.invariants import (
    ENDED,
    INVENTED,
    LETTERS,
    LOST,
    OFFSETS,
    ONCE,
    objections,
    objections_so_far,
    offsets,
)
from torture.consumer.poison import KINDS, poison

FIRST, SECOND, OTHER = Content(1, 0), Content(2, 0), Content(2, 1)


def event(offset, content):
    return Sent((0, offset), content, "", digest(b"key"), digest(plain(content)))


def bad(offset, kind="words"):
    return Sent((0, offset), None, kind, digest(b"bad"), digest(b"hello, world"))


def letter(sent, reason):
    return Letter(sent.place, reason, sent.key, sent.value)


SENT = {one.place: one for one in (event(0, FIRST), event(1, SECOND), bad(2), event(3, FIRST), event(4, OTHER))}
POISON, COLLISION = letter(SENT[0, 2], "not_json"), letter(SENT[0, 4], "collision")


@pytest.fixture
def facts():
    """Two events of which one was sent twice and the other once more with other data, and poison."""
    return Facts(
        SENT,
        table=[Stored(FIRST), Stored(SECOND)],
        letters=[POISON, COLLISION],
        ends={0: 5},
        committed={0: 5},
    )


def told(facts):
    """Return what the invariants say, as text."""
    return [str(objection) for objection in objections(facts)]


def test_exact_rows_are_not_objected_to(facts):
    """Every event once, poison and a collision among the dead letters, and everything committed: nothing is wrong."""
    assert [] == told(facts)


def test_dead_letter_may_be_there_twice(facts):
    """A letter that a killed consumer sent, and its successor again, is no violation."""
    assert [] == told(replace(facts, letters=[POISON, POISON, COLLISION]))


def test_first_to_arrive_may_be_either(facts):
    """Of two events with one key and other data either may be the row, as long as the other one is kept."""
    swapped = replace(facts, table=[Stored(FIRST), Stored(OTHER)], letters=[POISON, letter(SENT[0, 1], "collision")])
    assert [] == told(swapped)


def test_row_in_an_archive_is_kept(facts):
    """Other data that went in while there was no constraint, and was then put aside by the upgrade, is not lost."""
    assert [] == told(replace(facts, archive=[Stored(OTHER)], letters=[POISON]))


@pytest.mark.parametrize(
    ("planted", "objection"),
    [
        ({"table": [Stored(SECOND)]}, f"{LOST}: event 1 is not in the table"),
        ({"letters": [POISON]}, f"{LOST}: version 1 of event 2 is neither a row nor a dead letter"),
        ({"table": [Stored(FIRST), Stored(FIRST), Stored(SECOND)]}, f"{ONCE}: event 1 is in the table 2 times"),
        (
            {"table": [Stored(FIRST), Stored(SECOND), Stored(Content(7, 0))]},
            f"{INVENTED}: the table has Content(number=7, version=0), which was never sent",
        ),
        (
            {"table": [Stored(FIRST), Stored(SECOND), Stored(None, "a row that is no event's")]},
            f"{INVENTED}: the table has a row that is no event's",
        ),
        (
            {"archive": [Stored(FIRST, "a row of the first with other data")]},
            f"{INVENTED}: the archive has a row of the first with other data",
        ),
        ({"letters": [COLLISION]}, f"{LETTERS}: 'words' at partition 0, offset 2 is not among them"),
        (
            {"letters": [POISON, COLLISION, letter(SENT[0, 0], "database")]},
            f"{LETTERS}: a good event, of partition 0, offset 0, is among them: database",
        ),
        (
            {"letters": [POISON, COLLISION, letter(SENT[0, 0], "collision")]},
            f"{LETTERS}: a good event, of partition 0, offset 0, is among them: collision",
        ),
        (
            {"letters": [replace(POISON, value=digest(b"other")), COLLISION]},
            f"{LETTERS}: the one of partition 0, offset 2 is not as it was sent",
        ),
        (
            {"letters": [replace(POISON, key=None), COLLISION]},
            f"{LETTERS}: the one of partition 0, offset 2 is not as it was sent",
        ),
        (
            {"letters": [replace(POISON, reason="too_large"), COLLISION]},
            f"{LETTERS}: 'words' at partition 0, offset 2 is there for 'too_large'",
        ),
        (
            {"letters": [POISON, COLLISION, replace(POISON, place=(0, 9))]},
            f"{LETTERS}: one claims to come from partition 0, offset 9, where there is nothing",
        ),
        ({"committed": {0: 4}}, f"{ENDED}: partition 0 is committed to 4 of 5"),
        ({"committed": {}}, f"{ENDED}: partition 0 is committed to 0 of 5"),
    ],
)
def test_violation_is_objected_to(facts, planted, objection):
    """What is lost, doubled, invented, misdirected or left unread is objected to."""
    assert objection in told(replace(facts, **planted))


@pytest.mark.parametrize(
    ("planted", "what"),
    [
        ({"table": [Stored(FIRST)]}, "that of partition 0 is beyond 1, an event, which is nowhere"),
        ({"letters": []}, "that of partition 0 is beyond 2, words, which is nowhere"),
    ],
)
def test_offset_beyond_a_message_is_objected_to(facts, planted, what):
    """A committed offset that passed an event without a row, or poison without a letter, is objected to."""
    wrong = replace(facts, committed={0: 3}, **planted)
    assert [what] == offsets(wrong)
    assert f"{OFFSETS}: {what}" in told(wrong)
    assert [] == offsets(replace(wrong, committed={0: 1}))
    assert [] == offsets(wrong, verified={0: 3})


def test_unread_rest_is_not_asked_for(facts):
    """Where the broker gave up the group, only what was committed has to be somewhere."""
    stuck = replace(facts, committed={0: 1}, table=[Stored(FIRST)], letters=[])
    assert [] == objections_so_far(stuck)
    assert f"{LOST}: event 1 is not in the table" in map(str, objections_so_far(replace(stuck, table=[])))
    assert f"{ONCE}: event 1 is in the table 2 times" in map(
        str, objections_so_far(replace(stuck, table=[Stored(FIRST)] * 2))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_poison_is_poison(kind):
    """Each kind differs from the good event that it was made of, and is the same for the same seed."""
    made = poison(kind, 1, Random(1))
    assert made == poison(kind, 1, Random(1))
    assert made != plain(Content(10**9 - 1, 0))
