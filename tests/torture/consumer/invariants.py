"""The invariants: each is a function of the facts that returns a line for every violation.

While the constraint is absent, two consumers that hold the same event at the same moment may both insert it. So
``once`` is checked only in phases in which the constraint is valid, and ``nothing lost`` counts rows in the archive,
where the cleanup of an upgrade moves the extras until a downgrade restores them. All others hold at any time.
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

#: the reason of a dead letter whose key existed with other data
COLLISION = "collision"


def nothing_lost(facts: Facts) -> list[str]:
    """Every content that was sent is a row, in the archive, or a dead letter for its collision with another's."""
    stored = {row.content for rows in (facts.table, facts.archive) for row in rows}
    keys = {row.content.number for row in facts.table if row.content}
    collided = {facts.sent[letter.place].content for letter in facts.letters if letter.place in facts.sent}
    contents = {sent.content for sent in facts.sent.values() if sent.content}
    lost = [f"event {content.number} is not in the table" for content in contents if content.number not in keys]
    return lost + [
        f"version {content.version} of event {content.number} is neither a row nor a dead letter"
        for content in contents
        if content.number in keys and content not in stored and content not in collided
    ]


def once(facts: Facts) -> list[str]:
    """No key is in the table twice."""
    times = Counter(row.content.number for row in facts.table if row.content)
    return [f"event {number} is in the table {count} times" for number, count in times.items() if count > 1]


def nothing_invented(facts: Facts) -> list[str]:
    """Every row, also in the archive, is an event that was sent, in every column."""
    contents = {sent.content for sent in facts.sent.values() if sent.content}
    rows = [(source, row) for source, rows in (("table", facts.table), ("archive", facts.archive)) for row in rows]
    return [
        f"the {source} has {row.wrong or f'{row.content}, which was never sent'}"
        for source, row in rows
        if row.wrong or row.content not in contents
    ]


def dead_letters(facts: Facts) -> list[str]:
    """The dead letters are the poison, each at least once and as it was, collisions, and nothing else."""
    versions: defaultdict[int, set[Content]] = defaultdict(set)
    for sent in facts.sent.values():
        if sent.content:
            versions[sent.content.number].add(sent.content)
    places, faults = set(), []
    for letter in facts.letters:
        places.add(letter.place)
        faults += _faults(letter, facts.sent.get(letter.place), versions)
    missing = [sent for sent in facts.sent.values() if sent.kind and sent.place not in places]
    return faults + [f"{sent.kind!r} at {_at(sent.place)} is not among them" for sent in missing]


def _faults(letter: Letter, sent: Sent | None, versions: Mapping[int, set[Content]]) -> list[str]:
    at = _at(letter.place)
    if sent is None:
        return [f"a letter claims to come from {at}, where there is no message"]
    faults = []
    if (letter.key, letter.value) != (sent.key, sent.value):
        faults.append(f"the letter of {at} is not as it was sent")
    if sent.content and (letter.reason != COLLISION or len(versions[sent.content.number]) < 2):
        faults.append(f"a good event, of {at}, is among them: {letter.reason}")
    if sent.kind and letter.reason not in KINDS[sent.kind].reasons:
        faults.append(f"{sent.kind!r} at {at} has the reason {letter.reason!r}")
    return faults


def offsets(facts: Facts, verified: Mapping[int, int] | None = None) -> list[str]:
    """No committed offset is beyond an event without a row, or beyond poison that is not a dead letter.

    Messages below *verified*, by partition, are not checked again.
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
        f"partition {sent.place[0]} is committed beyond {sent.place[1]}, {sent.kind or 'an event'}, which is nowhere"
        for sent in below
        if sent.place not in letters and (sent.content is None or sent.content.number not in keys)
    ]


def read_to_the_end(facts: Facts) -> list[str]:
    """Every partition is committed to its end."""
    return [
        f"partition {partition} is committed to {facts.committed.get(partition, 0)} of {end}"
        for partition, end in facts.ends.items()
        if facts.committed.get(partition, 0) != end
    ]


#: checked at the end, with all consumers up and the constraint in place
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
    return [Objection(name, violation) for name, check in AT_THE_END.items() for violation in check(facts)]


def objections_so_far(facts: Facts) -> list[Objection]:
    """Return the violations if the events were not read to the end: only committed messages have to be somewhere."""
    committed = {place: sent for place, sent in facts.sent.items() if place[1] < facts.committed.get(place[0], 0)}
    settled = replace(facts, sent=committed)
    violations = [(LOST, violation) for violation in nothing_lost(settled)]
    violations += [(name, violation) for name in (ONCE, INVENTED, OFFSETS) for violation in AT_THE_END[name](facts)]
    return [Objection(name, violation) for name, violation in violations]


def _at(place: Place) -> str:
    return f"partition {place[0]}, offset {place[1]}"
