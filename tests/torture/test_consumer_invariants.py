"""An invariant that cannot fail proves nothing: each objects to a violation that is planted by hand."""

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


SENT = {sent.place: sent for sent in (event(0, FIRST), event(1, SECOND), bad(2), event(3, FIRST), event(4, OTHER))}
POISON, COLLISION = letter(SENT[0, 2], "not_json"), letter(SENT[0, 4], "collision")


@pytest.fixture
def facts():
    """Two events, of which the first was sent twice and the second also with other data, and poison."""
    return Facts(
        SENT,
        table=[Stored(FIRST), Stored(SECOND)],
        letters=[POISON, COLLISION],
        ends={0: 5},
        committed={0: 5},
    )


def violations(facts):
    """Return the violations of the invariants as text."""
    return [str(objection) for objection in objections(facts)]


def test_exact_rows_are_not_objected_to(facts):
    """Each event once, poison and a collision among the dead letters, and everything committed: no violation."""
    assert [] == violations(facts)


def test_dead_letter_may_be_sent_twice(facts):
    """A letter that a killed consumer has sent, and its successor again, is not a violation."""
    assert [] == violations(replace(facts, letters=[POISON, POISON, COLLISION]))


def test_first_to_arrive_may_be_either(facts):
    """Either of two events with the same key and different data may be the row if the other one is a dead letter."""
    swapped = replace(facts, table=[Stored(FIRST), Stored(OTHER)], letters=[POISON, letter(SENT[0, 1], "collision")])
    assert [] == violations(swapped)


def test_row_in_an_archive_is_not_lost(facts):
    """Data that was inserted while the constraint was absent, and then archived by the upgrade, is not lost."""
    assert [] == violations(replace(facts, archive=[Stored(OTHER)], letters=[POISON]))


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
            f"{LETTERS}: the letter of partition 0, offset 2 is not as it was sent",
        ),
        (
            {"letters": [replace(POISON, key=None), COLLISION]},
            f"{LETTERS}: the letter of partition 0, offset 2 is not as it was sent",
        ),
        (
            {"letters": [replace(POISON, reason="too_large"), COLLISION]},
            f"{LETTERS}: 'words' at partition 0, offset 2 has the reason 'too_large'",
        ),
        (
            {"letters": [POISON, COLLISION, replace(POISON, place=(0, 9))]},
            f"{LETTERS}: a letter claims to come from partition 0, offset 9, where there is no message",
        ),
        ({"committed": {0: 4}}, f"{ENDED}: partition 0 is committed to 4 of 5"),
        ({"committed": {}}, f"{ENDED}: partition 0 is committed to 0 of 5"),
    ],
)
def test_violation_is_objected_to(facts, planted, objection):
    """A message that is lost, doubled, invented, misdirected or unread is a violation."""
    assert objection in violations(replace(facts, **planted))


@pytest.mark.parametrize(
    ("planted", "violation"),
    [
        ({"table": [Stored(FIRST)]}, "partition 0 is committed beyond 1, an event, which is nowhere"),
        ({"letters": []}, "partition 0 is committed beyond 2, words, which is nowhere"),
    ],
)
def test_offset_beyond_a_message_is_objected_to(facts, planted, violation):
    """A committed offset beyond an event without a row, or beyond poison without a letter, is a violation."""
    wrong = replace(facts, committed={0: 3}, **planted)
    assert [violation] == offsets(wrong)
    assert f"{OFFSETS}: {violation}" in violations(wrong)
    assert [] == offsets(replace(wrong, committed={0: 1}))
    assert [] == offsets(wrong, verified={0: 3})


def test_unread_messages_may_be_nowhere(facts):
    """If the broker has given up the group, only committed messages have to be rows or dead letters."""
    stuck = replace(facts, committed={0: 1}, table=[Stored(FIRST)], letters=[])
    assert [] == objections_so_far(stuck)
    assert f"{LOST}: event 1 is not in the table" in map(str, objections_so_far(replace(stuck, table=[])))
    assert f"{ONCE}: event 1 is in the table 2 times" in map(
        str, objections_so_far(replace(stuck, table=[Stored(FIRST)] * 2))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_poison_is_poison(kind):
    """Each kind of poison differs from the good event that it was made of, and is the same for the same seed."""
    value = poison(kind, 1, Random(1))
    assert value == poison(kind, 1, Random(1))
    assert value != plain(Content(10**9 - 4, 0))
