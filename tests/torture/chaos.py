"""Strikes: each waits until the program is in a phase, then for a random delay, and hits.

A client freezes otherwise: it stops itself after the statement that the strike names, between statements as within.
"""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import psycopg

from dupe_audit.embedded import Server
from torture.nursery import Child
from torture.waits import Waits
from torture.world import World

TERMINATE, KILL, CRASH = "backend terminated", "client killed", "server crashed"
FREEZE = "client frozen"

#: the phases of the program's backend, by the statement in pg_stat_activity; the first that matches counts
PHASES = tuple(
    (phase, re.compile(pattern))
    for phase, pattern in (
        ("leftover drop", r"^DROP INDEX CONCURRENTLY"),
        ("build", r"^CREATE UNIQUE INDEX CONCURRENTLY"),
        ("attach", r"USING INDEX|ATTACH PARTITION|ONLY .* ADD CONSTRAINT"),
        ("constraint drop", r"DROP CONSTRAINT"),
        ("restore", r"WITH chosen|dupe_audit_restored_at"),
        ("batch", r"dupe_audit_locked|WITH entered|FROM dupe_audit\.batch"),
        ("ranking", r"stage_\d+|PARTITION BY"),
        ("verification", r"bt_index_check|size - 1"),
        ("stamping", r"alembic_version"),
    )
)
#: statements that belong to no phase of their own; the last phase before them counts
BETWEEN = re.compile(r"^(BEGIN|COMMIT|ROLLBACK|SELECT pg_catalog\.set_config)")
BETWEEN_STATEMENTS = ", between statements"

LOOK = """
SELECT a.pid, a.state = 'active', a.query, p.phase
FROM pg_stat_activity a LEFT JOIN pg_stat_progress_create_index p USING (pid)
WHERE a.application_name = %s AND a.backend_type = 'client backend'
ORDER BY a.backend_start LIMIT 1
"""


@dataclass(frozen=True)
class Strike:
    """What to do to a program: the kind of strike, the beginning of the phase's name, and a delay in seconds.

    A client that was frozen is killed after the delay; without one, it continues.
    """

    kind: str
    aim: str
    delay: float = 0.0
    number: int = 1  #: of the phase's statement after which a client freezes


@dataclass(frozen=True)
class Hit:
    """A strike that was done, and the phase in which it really hit the program."""

    kind: str
    phase: str


@dataclass(frozen=True)
class Sight:
    """The program's backend as pg_stat_activity shows it."""

    pid: int
    phase: str


#: weights of the kinds; a crash costs seconds
KINDS = {TERMINATE: 60, KILL: 30, CRASH: 10}
CLEANUP_AIMS = ("ranking", "batch", "batch", "batch")
BUILD_AIMS = (
    "build",
    "build: waiting for writers before build",
    "build: building index",
    "build: waiting for writers before validation",
    "build: index validation",
    "build: waiting for old snapshots",
)
#: in a storm a build does not get beyond its first scan, so it can be struck repeatedly
STORM_AIMS = ("build", "build", *BUILD_AIMS[:3], "leftover drop")
END_AIMS = ("attach", "verification", "stamping")
DOWN_AIMS = ("constraint drop", "restore", "restore", "restore")
#: phases in which a client freezes, and the largest number of the statement after which it does
FREEZE_AIMS = {"ledger and catalog": 30, "ranking": 3, "batch": 60, "leftover drop": 1, "build": 2}
END_FREEZE_AIMS = {"attach": 1, "verification": 1, "stamping": 2}
DOWN_FREEZE_AIMS = {"ledger and catalog": 20, "constraint drop": 1, "restore": 60}
#: seconds; a phase with an exact name is struck without a delay
LONGEST_DELAY = {"batch": 0.15, "restore": 0.15, "ranking": 0.04, "build": 0.02, "constraint drop": 0.01}

#: seconds until a strike is content with a phase of the same group, and as many again until it is with any phase
PATIENCE = 20.0


def strikes(random: Random, aims: tuple[str, ...], number: int, *, crashes: bool) -> list[Strike]:
    """Return a plan: *number* strikes at phases that the seed chooses."""
    kinds = {kind: weight for kind, weight in KINDS.items() if crashes or kind != CRASH}
    plan = []
    for _ in range(number):
        aim = random.choice(aims)
        longest = LONGEST_DELAY.get(aim, 0.0)
        kind = random.choices(list(kinds), list(kinds.values()))[0]
        plan.append(Strike(kind, aim, random.uniform(0, longest)))
    return plan


def freezes(random: Random, aims: dict[str, int], number: int, *, killed: bool) -> list[Strike]:
    """Return a plan: *number* freezes after statements that the seed chooses, and whether a kill follows each."""
    return [
        Strike(FREEZE, aim, number=random.randint(1, aims[aim]), delay=random.uniform(0.05, 1) if killed else 0.0)
        for aim in (random.choice(list(aims)) for _ in range(number))
    ]


def phase_of(query: str, progress: str | None, direction: str) -> str:
    """Return the phase that a statement belongs to."""
    phase = next((phase for phase, pattern in PHASES if pattern.search(query)), "ledger and catalog")
    if direction == "down":
        # The index of a partial key belongs to no constraint, and is dropped as a leftover is on the way up.
        phase = {"batch": "restore", "leftover drop": "constraint drop"}.get(phase, phase)
    return f"build: {progress}" if phase == "build" and progress else phase


class Chaos:
    """Watches one program and strikes it."""

    def __init__(self, world: World, server: Server | None) -> None:
        self.world = world
        self.server = server

    def strike(self, child: Child, name: str, direction: str, strike: Strike) -> Hit | None:
        """Strike the child; return None if it ended before. If its phase does not come, strike in another one."""
        group = strike.aim.split(":", maxsplit=1)[0]
        began = time.monotonic()
        connection = self.world.connect()
        try:
            look = self._looker(connection, name, direction)
            aim, delay = strike.aim, strike.delay
            while child.wait(0.001) is None:
                sight = look()
                if sight and sight.phase.startswith(aim):
                    if not delay:
                        return self._hit(connection, child, strike.kind, sight)
                    time.sleep(delay)
                    delay = 0.0
                waited = time.monotonic() - began
                aim = strike.aim if waited < PATIENCE else group if waited < 2 * PATIENCE else ""
            return None
        finally:
            with suppress(psycopg.Error):
                connection.close()

    def freeze(self, child: Child, name: str, strike: Strike, seconds: float) -> tuple[Hit, Waits] | None:
        """Wait until the child freezes, watch the application, and let the child continue; None if it ended before."""
        while child.wait(0.01) is None:
            if child.frozen:
                waits = Waits()
                waits.watch(self.world, name, seconds)
                child.thaw()
                if strike.delay and child.wait(strike.delay) is None:
                    child.kill()
                return Hit(FREEZE, strike.aim), waits
        return None

    @staticmethod
    def _looker(connection: psycopg.Connection, name: str, direction: str) -> Callable[[], Sight | None]:
        last = "start"

        def look() -> Sight | None:
            nonlocal last
            row = connection.execute(LOOK, (name,)).fetchone()
            if row is None:
                return None
            pid, active, query, progress = row
            if not BETWEEN.match(query):
                last = phase_of(query, progress, direction)
                if active:
                    return Sight(pid, last)
            return Sight(pid, last.split(":", maxsplit=1)[0] + BETWEEN_STATEMENTS)

        return look

    def _hit(self, connection: psycopg.Connection, child: Child, kind: str, sight: Sight) -> Hit | None:
        if child.wait(0) is not None:
            return None
        if kind == KILL:
            child.kill()
        elif kind == CRASH and self.server:
            self.server.crash()
        else:
            connection.execute("SELECT pg_terminate_backend(%s)", (sight.pid,))
        return Hit(kind, sight.phase)
