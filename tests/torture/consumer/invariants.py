"""What must hold. Each invariant is a function of the facts that returns a line for every violation.

While the constraint is absent, two consumers that hold the same event at the same moment may both insert it. So
``once`` is asked only in phases in which the constraint is valid, and ``nothing lost`` counts rows in the archive:
there the cleanup of an upgrade puts the extras, and a downgrade takes them out again. All others hold at any time.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

from torture.consumer.events import Content
from torture.consumer.facts import Facts, Letter, Place, Sent
from torture.consumer.poison import KINDS
from torture.invariants import Objection

LOST, ONCE, INVENTED, LETTERS, OFFSETS, ENDED, UNCAUSED, DISCREET = (
    "nothing lost",
    "once",
    "nothing invented",
    "dead letters",
    "offsets",
    "read to the end",
    "no failure without a cause",
    "discreet logs",
)

#: the reason of a dead letter whose key was there with other data
COLLISION = "collision"


def nothing_lost(facts: Facts) -> list[str]:
    """Every content that was sent is a row, in the archive, or a dead letter for its collision with another's."""
    kept = {row.content for where in (facts.table, facts.archive) for row in where}
    keys = {row.content.number for row in facts.table if row.content}
    collided = {facts.sent[one.place].content for one in facts.letters if one.place in facts.sent}
    wanted = {one.content for one in facts.sent.values() if one.content}
    lost = [f"event {one.number} is not in the table" for one in wanted if one.number not in keys]
    return lost + [
        f"version {one.version} of event {one.number} is neither a row nor a dead letter"
        for one in wanted
        if one.number in keys and one not in kept and one not in collided
    ]


def once(facts: Facts) -> list[str]:
    """No key is in the table twice."""
    times = Counter(row.content.number for row in facts.table if row.content)
    return [f"event {number} is in the table {count} times" for number, count in times.items() if count > 1]


def nothing_invented(facts: Facts) -> list[str]:
    """Every row, also in the archive, is an event that was sent, in every column."""
    sent = {one.content for one in facts.sent.values() if one.content}
    rows = [(where, row) for where, rows in (("table", facts.table), ("archive", facts.archive)) for row in rows]
    return [
        f"the {where} has {row.wrong or f'{row.content}, which was never sent'}"
        for where, row in rows
        if row.wrong or row.content not in sent
    ]


def dead_letters(facts: Facts) -> list[str]:
    """The dead letters are the poison, each at least once and as it was, collisions, and nothing else."""
    versions: defaultdict[int, set[Content]] = defaultdict(set)
    for one in facts.sent.values():
        if one.content:
            versions[one.content.number].add(one.content)
    found, wrong = set(), []
    for letter in facts.letters:
        found.add(letter.place)
        wrong += _faults(letter, facts.sent.get(letter.place), versions)
    missing = [one for one in facts.sent.values() if one.kind and one.place not in found]
    return wrong + [f"{one.kind!r} at {_at(one.place)} is not among them" for one in missing]


def _faults(letter: Letter, sent: Sent | None, versions: Mapping[int, set[Content]]) -> list[str]:
    at = _at(letter.place)
    if sent is None:
        return [f"one claims to come from {at}, where there is nothing"]
    wrong = []
    if (letter.key, letter.value) != (sent.key, sent.value):
        wrong.append(f"the one of {at} is not as it was sent")
    if sent.content and (letter.reason != COLLISION or len(versions[sent.content.number]) < 2):
        wrong.append(f"a good event, of {at}, is among them: {letter.reason}")
    if sent.kind and letter.reason not in KINDS[sent.kind].reasons:
        wrong.append(f"{sent.kind!r} at {at} is there for {letter.reason!r}")
    return wrong


def offsets(facts: Facts, verified: Mapping[int, int] | None = None) -> list[str]:
    """No committed offset is beyond a message whose key is not in the table or that is not a dead letter.

    Messages below *verified*, by partition, were found before.
    """
    keys = {row.content.number for row in facts.table if row.content}
    letters = {letter.place for letter in facts.letters}
    below = [
        facts.sent[partition, offset]
        for partition, committed in facts.committed.items()
        for offset in range((verified or {}).get(partition, 0), committed)
        if (partition, offset) in facts.sent
    ]
    return [
        f"that of partition {one.place[0]} is beyond {one.place[1]}, {one.kind or 'an event'}, which is nowhere"
        for one in below
        if one.place not in letters and (one.content is None or one.content.number not in keys)
    ]


def read_to_the_end(facts: Facts) -> list[str]:
    """Every partition is committed to its end."""
    return [
        f"partition {partition} is committed to {facts.committed.get(partition, 0)} of {end}"
        for partition, end in facts.ends.items()
        if facts.committed.get(partition, 0) != end
    ]


#: asked at the end, with all consumers up and the constraint in place
AT_THE_END: dict[str, Callable[[Facts], list[str]]] = {
    LOST: nothing_lost,
    ONCE: once,
    INVENTED: nothing_invented,
    LETTERS: dead_letters,
    OFFSETS: offsets,
    ENDED: read_to_the_end,
}
INVARIANTS = (*AT_THE_END, UNCAUSED, DISCREET)


def objections(facts: Facts) -> list[Objection]:
    """Return every violation, as of the end."""
    return [Objection(name, what) for name, check in AT_THE_END.items() for what in check(facts)]


def objections_so_far(facts: Facts) -> list[Objection]:
    """Return the violations where the events were not read to the end: nothing is asked of what was not committed."""
    committed = {place: one for place, one in facts.sent.items() if place[1] < facts.committed.get(place[0], 0)}
    settled = replace(facts, sent=committed)
    found = [(LOST, what) for what in nothing_lost(settled)]
    found += [(name, what) for name in (ONCE, INVENTED, OFFSETS) for what in AT_THE_END[name](facts)]
    return [Objection(name, what) for name, what in found]


def _at(place: Place) -> str:
    return f"partition {place[0]}, offset {place[1]}"
