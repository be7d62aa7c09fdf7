"""The campaign in a world: up and down again, killed on the way, checked after every attempt."""

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random

from dupe_audit.embedded import Server
from torture.chaos import BUILD_AIMS, CLEANUP_AIMS, CRASH, DOWN_AIMS, END_AIMS, STORM_AIMS, Chaos, Strike, strikes
from torture.invariants import ALL_DONE, CHEAP, DEAR, UNCAUSED, UNDISTURBED, Objection, objections
from torture.mutants import MUTANTS
from torture.nursery import Child, Nursery
from torture.tally import Tally
from torture.watcher import Watcher
from torture.world import World, new_world
from torture.writers import CALM, STORM, Writers

#: seconds after which a program should have ended, struck or not, or an event should have come
PATIENCE = 180.0

#: transactions that the application has committed before it is turned around
LIVELY = 1_000

KEEP_COMING = "new duplicates kept arriving"


@dataclass(frozen=True)
class Plan:
    """How many strikes a way has, by their aims, and how often a world goes up and down."""

    cleanups: int = 7
    builds_in_storm: int = 14
    builds_in_calm: int = 4
    ends: int = 1
    downs: int = 4
    rounds: int = 2
    life: float = 1.0  #: seconds with the constraint, at least


class Campaign:
    """Runs programs in one world and records in the tally what happens."""

    def __init__(self, world: World, nursery: Nursery, writers: Writers, server: Server | None, tally: Tally) -> None:
        self.world, self.nursery, self.writers, self.server, self.tally = world, nursery, writers, server, tally
        self.chaos = Chaos(world, server)
        self.killed = False  # whether the next attempt continues the work of a killed one

    def attempt(self, program: str, direction: str, strike: Strike | None = None, *, promises: bool = True) -> bool:
        """Run a program once, struck or not, and check the invariants; return whether it ended well."""
        self.tally.attempts += 1
        self.tally.resumes += self.killed
        self.world.set_course(direction)
        name = f"torture {self.tally.attempts}"
        child = self.nursery.start(program, self.world.url, name)
        hit = self.chaos.strike(child, name, direction, strike) if strike else None
        code = child.wait(PATIENCE)
        if hit:
            self.tally.hits[hit] += 1
        if hit and hit.kind == CRASH and self.server:
            self.server.resume()
        self.killed = code != 0
        if code == 0 and promises:
            self.world.set_course(direction, promised=direction == "up")
        if code is None or (code and not hit):
            self._uncaused(program, child)
        self._check(CHEAP)
        return code == 0

    def _uncaused(self, program: str, child: Child) -> None:
        words = self.nursery.last_words()
        if child.code is None:
            child.kill()
            self.tally.objections.append(Objection(UNCAUSED, f"{program} did not end: {words}"))
        elif KEEP_COMING in words:
            self.tally.gave_up += 1
        else:
            self.tally.objections.append(Objection(UNCAUSED, f"{program}: {words}"))

    def _check(self, invariants: tuple[str, ...]) -> None:
        self.tally.objections += objections(self.world, invariants)

    def way(self, program: str, direction: str, plan: list[tuple[dict[str, float], Strike]]) -> None:
        """Go one way, struck as planned, then undisturbed until it ends well; check everything."""
        ended = False
        for mode, strike in plan:
            self.writers.mode = mode
            if ended := self.attempt(program, direction, strike):
                break
        self.writers.mode = CALM
        while not ended and not (ended := self.attempt(program, direction)):
            pass
        with self.writers.resting():
            self._check((*CHEAP, *DEAR, ALL_DONE))

    def cycle(self, random: Random, plan: Plan, watcher: Watcher) -> None:
        """Go up, live with the constraint for a while, go down."""
        crashes = self.server is not None
        up = [(STORM, s) for s in strikes(random, CLEANUP_AIMS, plan.cleanups, crashes=crashes)]
        up += [(STORM, s) for s in strikes(random, STORM_AIMS, plan.builds_in_storm, crashes=crashes)]
        up += [(CALM, s) for s in strikes(random, BUILD_AIMS, plan.builds_in_calm, crashes=crashes)]
        up += [(CALM, s) for s in strikes(random, END_AIMS, plan.ends, crashes=crashes)]
        self.way("upgrade", "up", up)
        self._live(plan.life, watcher)
        self._check(CHEAP)
        self.way("downgrade", "down", [(STORM, s) for s in strikes(random, DOWN_AIMS, plan.downs, crashes=crashes)])
        self.tally.cycles += 1

    def _live(self, seconds: float, watcher: Watcher) -> None:
        """Let the storm meet the constraint, until a duplicate was refused and the watcher has checked the index."""
        self.writers.mode = STORM
        refused, checks = self.writers.outcomes["refused"], watcher.checks
        time.sleep(seconds)
        deadline = time.monotonic() + PATIENCE
        while (
            self.writers.outcomes["refused"] == refused
            or watcher.checks == checks
            or self.writers.outcomes["committed"] <= LIVELY
        ):
            if time.monotonic() > deadline:
                raise TimeoutError("the application or the watcher stands still")
            time.sleep(0.02)

    def close(self, watcher: Watcher) -> None:
        """Record in the tally what the writers and the watcher have counted."""
        self.tally.objections += watcher.objections
        self.tally.index_checks += watcher.checks
        self.tally.application.update(self.writers.outcomes)
        self.tally.objections += [
            Objection(UNDISTURBED, f"{number} times SQLSTATE {state}")
            for state, number in self.writers.unforeseen().items()
        ]
        archived, restored = self.world.ask("SELECT sum(archived)::int8, sum(restored)::int8 FROM runs()")
        self.tally.archived += archived or 0
        self.tally.restored += restored or 0
        followed, returned = self.world.ask("SELECT sum(moved)::int8, sum(returned)::int8 FROM dupe_audit.child")
        self.tally.followed += followed or 0
        self.tally.returned += returned or 0
        self.tally.worlds += 1


def torture(server: Server, nursery: Nursery, tally: Tally, plan: Plan, deadline: float) -> None:
    """Torture a new world; the seed and the world's number decide the plan."""
    seed = f"{tally.seed}/{tally.worlds}"
    random = Random(seed)
    with ExitStack() as stack:
        world = stack.enter_context(new_world(server.url(), f"torture_{tally.worlds}"))
        writers = Writers(world, seed, tally.writers)
        campaign = Campaign(world, nursery, writers, server, tally)
        with Watcher(world) as watcher, writers:
            for _ in range(plan.rounds):
                campaign.cycle(random, plan, watcher)
                if time.monotonic() > deadline:
                    break
        campaign.close(watcher)


def provoke(server_url: str, nursery: Nursery, name: str, seed: int, seconds: float = 180) -> Counter[str]:
    """Run a mutant until the harness makes the objection that it has to make; return all violations by invariant."""
    mutant, tally = MUTANTS[name], Tally(seed)
    deadline = time.monotonic() + seconds
    with ExitStack() as stack:
        world = stack.enter_context(new_world(server_url, "mutant"))
        writers = Writers(world, f"{seed}/{name}", tally.writers)
        campaign = Campaign(world, nursery, writers, None, tally)
        with Watcher(world) as watcher, writers:
            while time.monotonic() < deadline and not caught(name, tally.objections):
                campaign.attempt(name, "up", promises=mutant.promises)
                tally.objections = objections(world)
        tally.objections += watcher.objections
    return tally.violations() if caught(name, tally.objections) else Counter()


def caught(name: str, objected: list[Objection]) -> bool:
    """Return whether the objections contain the one that this mutant has to provoke."""
    mutant = MUTANTS[name]
    return any(mutant.invariant == o.invariant and mutant.words in o.violation for o in objected)
