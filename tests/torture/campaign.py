"""The campaign in a world: up and down again, killed on the way, checked after every attempt."""

import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random

from dupe_audit.embedded import Server
from dupe_audit.model import BuildRule, milliseconds
from torture.chaos import CRASH, FREEZE, Chaos, Hit, Strike
from torture.invariants import ALL_DONE, CHEAP, DEAR, UNCAUSED, UNDISTURBED, Objection, objections
from torture.moving import FORMATS, dump_programs, move
from torture.mutants import MUTANTS
from torture.nursery import Child, Nursery
from torture.plan import CLEANING, ENFORCED, MOVE, RESTORING, Plan, Step, route
from torture.tally import Tally
from torture.waits import ROW, TABLE
from torture.watcher import Watcher
from torture.world import FEW_ROWS, ROWS, World, new_world
from torture.writers import CALM, SOME_STRAYS, STORM, Writers

#: seconds after which a program should have ended, struck or not, or an event should have come
PATIENCE = 180.0

#: transactions that the application has committed before it is turned around
LIVELY = 1_000

KEEP_COMING = "new duplicates kept arriving"

#: how a downgrade ends if the application has changed a row that the run had changed: it is kept, and reported
REPORTED = "The archive still holds"

#: seconds that the application waits for a lock on a table, at most: our default
LOCK_TIMEOUT = milliseconds(BuildRule().lock_timeout) / 1000


class Campaign:
    """Runs programs in one world and records in the tally what happens."""

    def __init__(
        self,
        world: World,
        nursery: Nursery,
        writers: Writers,
        server: Server | None,
        tally: Tally,
        plan: Plan | None = None,
    ) -> None:
        self.world, self.nursery, self.writers, self.server, self.tally = world, nursery, writers, server, tally
        self.plan = plan or Plan()
        self.chaos = Chaos(world, server)
        self.killed = False  # whether the next attempt continues the work of a killed one

    def attempt(self, program: str, direction: str, strike: Strike | None = None, *, promises: bool = True) -> bool:
        """Run a program once, struck or not, and check the invariants; return whether it ended well."""
        self.tally.attempts += 1
        self.tally.resumes += self.killed
        self.world.set_course(direction)
        name = f"torture {self.tally.attempts}"
        freeze = (strike.aim, strike.number) if strike and strike.kind == FREEZE else None
        kind = {"partial": self.world.partial, "policy": self.world.policy, "tree": self.world.tree}
        child = self.nursery.start(program, self.world.url, name, direction, freeze, **kind)
        hit = self._strike(child, name, direction, strike) if strike else None
        code = child.wait(PATIENCE)
        if hit:
            self.tally.hits[hit] += 1
        if hit and hit.kind == CRASH and self.server:
            self.server.resume()
        reported = bool(code) and self._reported(direction)
        self.killed = code != 0 and not reported
        if code == 0 and promises:
            self.world.set_course(direction, promised=direction == "up")
        if code is None or (code and not hit and not reported):
            self._uncaused(program, child)
        self._check(CHEAP)
        return code == 0 or reported

    def _reported(self, direction: str) -> bool:
        """Return whether the downgrade did everything that it can, beside rows that the application has changed."""
        return direction == "down" and self.world.changes_rows and REPORTED in self.nursery.last_words()

    def _strike(self, child: Child, name: str, direction: str, strike: Strike) -> Hit | None:
        if strike.kind != FREEZE:
            return self.chaos.strike(child, name, direction, strike)
        frozen = self.chaos.freeze(child, name, strike, self.plan.frozen)
        if frozen is None:
            return None
        hit, waits = frozen
        self.tally.waits.add(waits)
        limits = {TABLE: LOCK_TIMEOUT, ROW: self.plan.idle_limit}
        self.tally.objections += [
            Objection(UNDISTURBED, f"it waited {waited:.2f} s for {lock} while a client was frozen in {hit.phase}")
            for lock, waited in waits.longest.items()
            if waited > limits[lock] + self.plan.slack
        ]
        return hit

    def move(self, moment: str, programs: Path, form: str) -> None:
        """Move everything to another database by dump and restore, and continue there; check what has arrived."""
        with self.writers.resting():
            move(self.world, programs, form)
            self._check((*CHEAP, *DEAR))
        self.tally.moves[f"{moment}, {form}"] += 1

    def _uncaused(self, program: str, child: Child) -> None:
        words = self.nursery.last_words()
        if child.code is None:
            child.kill()
            child.wait(PATIENCE)  # its end must not be taken for the pid of the next child
            self.tally.objections.append(Objection(UNCAUSED, f"{program} did not end: {words}"))
        elif KEEP_COMING in words:
            self.tally.gave_up += 1
        else:
            self.tally.objections.append(Objection(UNCAUSED, f"{program}: {words}"))

    def _check(self, invariants: tuple[str, ...]) -> None:
        self.tally.objections += objections(self.world, invariants)

    def way(self, program: str, direction: str, steps: list[Step], programs: Path | None = None) -> None:
        """Go one way, struck as planned, then undisturbed until it ends well; check everything."""
        ended = False
        for mode, strike in steps:
            self.writers.mode = mode
            if strike.kind == MOVE and programs:
                self.move(CLEANING if direction == "up" else RESTORING, programs, strike.aim)
            elif ended := self.attempt(program, direction, strike):
                break
        self.writers.mode = CALM
        while not ended and not (ended := self.attempt(program, direction)):
            pass
        with self.writers.resting():
            self._check((*CHEAP, *DEAR, ALL_DONE))

    def cycle(self, random: Random, extra: Random, watcher: Watcher, programs: Path | None) -> None:
        """Go up, live with the constraint for a while, go down.

        Args:
            random: chooses the kills.
            extra: chooses the freezes and moves.
            watcher: looks at the index meanwhile.
            programs: with which a database is dumped and restored; None if there are none.
        """
        way = route(self.plan, random, extra, crashes=self.server is not None, can_move=programs is not None)
        self.way("upgrade", "up", way.up, programs)
        self._live(self.plan.life, watcher)
        self._check(CHEAP)
        if way.between and programs:
            self.move(ENFORCED, programs, way.between)
        self.way("downgrade", "down", way.down, programs)
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
        if self.world.changes_rows:
            changed = self.world.ask(
                "SELECT sum(amended)::int8, sum(merged)::int8, sum(reverted)::int8 FROM changed_by_runs()"
            )
            for name, number in zip(("amended", "merged", "reverted"), changed, strict=True):
                self.tally.changed[name] += number or 0
            self.tally.changed["reported"] += self.world.ask("SELECT count(*) FROM images() WHERE problem IS NOT NULL")[
                0
            ]
        followed, returned = self.world.ask("SELECT sum(moved)::int8, sum(returned)::int8 FROM dupe_audit.child")
        self.tally.followed += followed or 0
        self.tally.returned += returned or 0
        if self.writers.strays:
            stray = "SELECT count(*) FROM childlog l WHERE op = 'insert' AND stray"
            self.tally.strays += self.world.ask(stray)[0]
        self.tally.worlds += 1
        self.tally.policies[self.world.policy] += 1
        self.tally.partial += self.world.partial
        if self.world.tree:
            self.tally.trees += 1
            self.tally.arrived += self.writers.arrived
            self.tally.longest = max(self.tally.longest, self.writers.longest)


def torture(server: Server, nursery: Nursery, tally: Tally, plan: Plan, deadline: float) -> None:
    """Torture a new world; the seed and the world's number decide the plan."""
    seed = f"{tally.seed}/{tally.worlds}"
    random, extra = Random(seed), Random(f"{seed} freezes and moves")
    programs = dump_programs(server.version_num // 10000, server.bin_dir)
    if programs is None:
        tally.not_moved = f"no pg_dump of version {server.version_num // 10000} on this machine"
    with ExitStack() as stack:
        world = stack.enter_context(
            new_world(server.url(), f"torture_{tally.worlds}", partial=plan.partial, policy=plan.policy, tree=plan.tree)
        )
        writers = Writers(world, seed, tally.writers, strays=SOME_STRAYS if plan.strays else 0)
        campaign = Campaign(world, nursery, writers, server, tally, plan)
        with Watcher(world) as watcher, writers:
            # Where rows are reported, the downgrade has not ended: the revision stays stamped.
            for _ in range(1 if world.changes_rows else plan.rounds):
                campaign.cycle(random, extra, watcher, programs)
                if time.monotonic() > deadline:
                    break
        campaign.close(watcher)


def provoke(
    server_url: str, nursery: Nursery, name: str, seed: int, programs: Path | None = None, seconds: float = 180
) -> Counter[str]:
    """Run a mutant until the harness makes the objection that it has to make; return all violations by invariant.

    Args:
        programs: with which a database is dumped and restored; a mutant that moves needs them.
    """
    mutant, tally = MUTANTS[name], Tally(seed)
    deadline = time.monotonic() + seconds
    with ExitStack() as stack:
        rows = FEW_ROWS if mutant.returns or mutant.alone else ROWS
        world = stack.enter_context(
            new_world(server_url, "mutant", rows, partial=mutant.partial, policy=mutant.policy, tree=mutant.tree)
        )
        writers = Writers(world, f"{seed}/{name}", 0 if mutant.alone else tally.writers, strays=mutant.strays)
        campaign = Campaign(world, nursery, writers, None, tally)
        with Watcher(world) as watcher, writers:
            if mutant.returns:
                writers.mode = CALM
                _return(campaign, name, programs, deadline)
            while time.monotonic() < deadline and not caught(name, tally.objections):
                campaign.attempt(name, "up", promises=mutant.promises)
                tally.objections = objections(world)
        tally.objections += watcher.objections
    return tally.violations() if caught(name, tally.objections) else Counter()


def _return(campaign: Campaign, name: str, programs: Path | None, deadline: float) -> None:
    """Let a mutant go up, and come down, in another database if it moves."""
    for direction in ("up", "down"):
        while not campaign.attempt(name, direction) and time.monotonic() < deadline:
            pass
        if direction == "up" and MUTANTS[name].moves:
            assert programs, "a mutant that moves needs the programs for a dump"
            campaign.move(ENFORCED, programs, FORMATS[0])
        elif direction == "up":
            _wait_for_changes(campaign.world)
    campaign.tally.objections += objections(campaign.world, (ALL_DONE,))


def _wait_for_changes(world: World) -> None:
    """Wait until the application has changed a row that the run has changed."""
    deadline = time.monotonic() + PATIENCE
    changed = "SELECT EXISTS (SELECT FROM imagelog l JOIN images() i ON i.after = l.before)"
    while world.changes_rows and world.ask(changed) == [False]:
        if time.monotonic() > deadline:
            raise TimeoutError("the application changes no row that the run has changed")
        time.sleep(0.02)


def caught(name: str, objected: list[Objection]) -> bool:
    """Return whether the objections contain the one that this mutant has to provoke."""
    mutant = MUTANTS[name]
    return any(mutant.invariant == o.invariant and mutant.words in o.violation for o in objected)
