"""The campaign in a scene: events come in, everything breaks, and at the end the rows are exact."""

import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from confluent_kafka import KafkaException

from dupe_audit.embedded import Server
from torture.consumer.broker import Broker
from torture.consumer.facts import Facts
from torture.consumer.invariants import AT_THE_END, INVENTED, LETTERS, objections, objections_so_far
from torture.consumer.members import Members
from torture.consumer.mutants import MUTANTS, Mutant
from torture.consumer.producer import Sender
from torture.consumer.scene import Scene, new_scene
from torture.consumer.strikes import DOWN, MIGRATIONS, STRIKES, UP, Stage
from torture.consumer.tally import Tally
from torture.consumer.watcher import Watcher
from torture.invariants import Objection

#: seconds in which undisturbed consumers have to commit something, and in which the watcher has to look
PATIENCE = 120.0

#: seconds in which a group has to commit something before the next strike
MOVES_WITHIN = 60.0

#: strikes that need a server, or a broker, of the harness's own
NEED_SERVER, NEED_WIRE = {"server crashed"}, {"broker cut off", "dead letters held back"}

#: what a mutant can be caught with before its end, next to what the watcher finds
LIVE = {name: AT_THE_END[name] for name in (LETTERS, INVENTED)}


@dataclass(frozen=True)
class Plan:
    """How hard a scene is."""

    strikes: tuple[str, ...]
    rate: float = 800.0  #: messages per second
    pause: tuple[float, float] = (0.2, 1.5)  #: seconds between strikes, from and to
    members: int = 3
    rows: int = 100  #: events per batch, at most
    pace: float = 1.0  #: factor of the durations of strikes
    messages: int = 0  #: at least


def plan_of(random: Random, strikes: int, *, server: bool, wire: bool) -> Plan:
    """Return a plan of *strikes* strikes by the seed: each kind about as often, with downgrades and upgrades."""
    kinds = [name for name in STRIKES if (server or name not in NEED_SERVER) and (wire or name not in NEED_WIRE)]
    chosen: list[str] = []
    while len(chosen) < strikes:
        round_ = random.sample(kinds, len(kinds))
        # Down for the second half of a round and the first of the next one.
        turn = DOWN if (len(chosen) // (len(kinds) + 1)) % 2 == 0 else UP
        chosen += [*round_[: len(kinds) // 2], turn, *round_[len(kinds) // 2 :]]
    return Plan(tuple(chosen[:strikes]), rows=random.choice((20, 100, 500)))


@dataclass(frozen=True)
class Place:
    """The server and the broker for scenes."""

    url: str  #: of the server, a superuser's
    template: str
    broker: Broker
    server: Server | None = None  #: if it may be crashed
    logs: Path | None = None  #: where the consumers' logs are kept


def torture(place: Place, tally: Tally, plan: Plan, deadline: float) -> bool:
    """Play one scene; the seed and the scene's number decide what is tried.

    Return False if the broker stopped assigning the group's partitions, so that there was no end to judge.
    """
    seed = f"{tally.seed}/{tally.counts['scenes']}"
    tally.counts["scenes"] += 1
    with (
        new_scene(place.url, place.template, place.broker, rows=plan.rows) as scene,
        Members(scene, plan.members) as members,
        Sender(scene, seed, plan.rate) as sender,
        Watcher(scene, sender) as watcher,
    ):
        stage = Stage(scene, members, sender, place.server, Random(seed), plan.pace)
        _strike(stage, watcher, plan, tally, deadline)
        if not scene.enforced():
            tally.objections += MIGRATIONS[UP](stage)
        sender.finish(plan.messages)
        tally.objections += members.look_after()
        read = _until_read(watcher)
        _until_it_looks(watcher)
        tally.objections += members.stop()
        watcher.finish()
        tally.objections += watcher.objections
        if place.logs:
            for member in members.all:
                shutil.copy(member.log, place.logs / f"{scene.topic}-{member.log.name}")
        abandoned = not read and not scene.lets_join()
        tally.counts["scenes whose group the broker gave up"] += abandoned
        facts = everything(scene, watcher)
        if len(watcher.truth.numbers) < len(sender.made):
            raise RuntimeError("the broker has lost messages that it had acknowledged")
        tally.objections += objections_so_far(facts) if abandoned else objections(facts)
        _account(tally, stage, watcher, facts)
    return not abandoned


def _strike(stage: Stage, watcher: Watcher, plan: Plan, tally: Tally, deadline: float) -> None:
    for name in plan.strikes:
        if time.monotonic() > deadline or not _until_it_moves(watcher):
            return
        time.sleep(stage.random.uniform(*plan.pause))
        tally.objections += (STRIKES | MIGRATIONS)[name](stage)
        tally.objections += stage.members.look_after()
        tally.strikes[name] += 1


def _until_it_moves(watcher: Watcher) -> bool:
    """Wait until something more is committed, for a strike at a group that still forms shows little; return False
    if nothing is.
    """
    deadline = time.monotonic() + MOVES_WITHIN
    before: dict[int, int] | None = None
    while time.monotonic() < deadline:
        with suppress(KafkaException):
            committed = watcher.committed()
            if before is not None and committed != before:
                return True
            before = committed
        time.sleep(0.02)
    return False


def _until_read(watcher: Watcher) -> bool:
    """Wait until everything is committed, as long as there is progress; return whether it is."""
    last: dict[int, int] = {}
    deadline = time.monotonic() + PATIENCE
    watcher.truth.read()
    while time.monotonic() < deadline:
        with suppress(KafkaException):
            committed = watcher.committed()
            if committed == watcher.truth.ends:
                return True
            if committed != last:
                last, deadline = committed, time.monotonic() + PATIENCE
        time.sleep(0.05)
    return False


def _until_it_looks(watcher: Watcher) -> None:
    """Wait until the watcher has sampled the offsets again, and has counted again under the constraint."""
    samples, checks, deadline = watcher.samples, watcher.checks, time.monotonic() + PATIENCE
    while watcher.alive and time.monotonic() < deadline:
        if watcher.samples >= samples + 2 and watcher.checks > checks:
            return
        time.sleep(0.02)


def everything(scene: Scene, watcher: Watcher) -> Facts:
    """Return all facts as of now; the topic is read last, so that it holds the message of every row."""
    table, archive, committed = scene.table(), scene.archive(), watcher.committed()
    watcher.postbox.read()
    watcher.truth.read()
    return Facts(
        dict(watcher.truth.sent),
        table,
        archive,
        list(watcher.postbox.letters),
        ends=dict(watcher.truth.ends),
        committed=committed,
    )


def _account(tally: Tally, stage: Stage, watcher: Watcher, facts: Facts) -> None:
    logged, indiscreet = stage.members.logged()
    tally.logged += logged
    tally.objections += indiscreet
    good = [sent.content for sent in facts.sent.values() if sent.content]
    bad = [sent.kind for sent in facts.sent.values() if sent.kind]
    tally.kinds.update(bad)
    letters = list(facts.letters)
    tally.counts.update(
        {
            "messages": len(facts.sent),
            "events, by key": len({content.number for content in good}),
            "events, by key and data": len(set(good)),
            "poison": len(bad),
            "rows": len(list(facts.table)),
            "rows in archives": len(list(facts.archive)),
            "dead letters": len(letters),
            "of them collisions": sum(letter.reason == "collision" for letter in letters),
            "samples of the offsets": watcher.samples,
            "offsets that went back": watcher.backwards,
            "looks with a valid constraint": watcher.checks,
            "looks without": watcher.absent,
            "of them with a key that was there twice": watcher.twice,
            "deadlocks": stage.deadlocks,
        }
    )


def provoke(place: Place, name: str, seed: int, seconds: float = 180) -> Counter[str]:
    """Run a mutant until the harness makes the objection that it has to make; return it, counted, or nothing.

    If the broker gives up the mutant's group, it runs again in another one.
    """
    for _ in range(3):
        violations = _provoke(place, name, seed, seconds)
        if violations is not None:
            return violations
    return Counter()


def _provoke(place: Place, name: str, seed: int, seconds: float) -> Counter[str] | None:
    mutant = MUTANTS[name]
    with (
        new_scene(place.url, place.template, place.broker) as scene,
        Members(scene, mutant.members, ("-m", "torture.consumer.mutants", name)) as members,
        Sender(scene, f"{seed}/{name}", 400) as sender,
        Watcher(scene, sender, pause=0.05) as watcher,
    ):
        # The strike lasts until the mutant is caught.
        stage = Stage(scene, members, sender, None, Random(seed), enough=lambda: bool(_caught(mutant, scene, watcher)))
        if not _until_it_moves(watcher) and not watcher.committed() and not scene.lets_join():
            return None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # An end alone does not catch it, for a supervisor would restart it; but a mutant must not be broken.
            broken = [str(ended) for ended in members.look_after() if "unforeseen" in ended.violation]
            if broken:
                raise RuntimeError(broken[0])
            if mutant.strike:
                STRIKES[mutant.strike](stage)
            if caught := _caught(mutant, scene, watcher):
                return Counter(objection.invariant for objection in caught)
            time.sleep(0.05)
    return Counter()


def _caught(mutant: Mutant, scene: Scene, watcher: Watcher) -> list[Objection]:
    """Return the objections that the mutant has to provoke. While events come in, only LIVE hold at every moment."""
    raised = list(watcher.objections)
    if mutant.invariant in LIVE:
        facts = everything(scene, watcher)
        raised += [Objection(mutant.invariant, violation) for violation in LIVE[mutant.invariant](facts)]
    return [o for o in raised if o.invariant == mutant.invariant and mutant.words in o.violation]
