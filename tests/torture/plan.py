"""The plan of a world: what happens to the pipeline on its way up and down, and when; a seed decides it."""

from dataclasses import dataclass
from random import Random

from dupe_audit.model import IDLE_LIMIT, milliseconds
from torture.chaos import (
    BUILD_AIMS,
    CLEANUP_AIMS,
    DOWN_AIMS,
    DOWN_FREEZE_AIMS,
    END_AIMS,
    END_FREEZE_AIMS,
    FREEZE_AIMS,
    STORM_AIMS,
    Strike,
    freezes,
    strikes,
)
from torture.moving import FORMATS
from torture.policies import AMEND, ARCHIVE, MIXED
from torture.writers import CALM, STORM

#: the moments at which everything moves to another database
CLEANING, ENFORCED, RESTORING = "in the middle of an upgrade", "between up and down", "in the middle of a downgrade"

#: the kind of strike that moves everything instead of hitting the program; its aim is the format of the dump
MOVE = "move"

#: how the application works meanwhile, and what happens
Step = tuple[dict[str, float], Strike]


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
    freezes: int = 1  #: in each direction
    frozen: float = 10.0  #: seconds for which a client is
    idle_limit: float = milliseconds(IDLE_LIMIT) / 1000  #: seconds for which a silent client keeps locks on rows
    slack: float = 0.25  #: seconds that a wait may exceed its limit by
    moves: int = 1  #: of the three moments, in each cycle
    strays: bool = False  #: whether some writers work without referential integrity
    partial: bool = False  #: whether the key is an expression over a part of the table
    policy: str = ARCHIVE  #: what becomes of the extras
    tree: bool = False  #: whether the table is partitioned


def tree_plan(policy: str) -> Plan:
    """Return the plan of a world whose table is partitioned.

    A row is amended so that it leaves the predicate of the key, because a partition column cannot be amended.
    """
    return Plan(tree=True, policy=policy, partial=policy in (AMEND, MIXED))


@dataclass(frozen=True)
class Route:
    """One way up and down."""

    up: list[Step]
    down: list[Step]
    between: str | None  #: the format in which everything moves between them


def route(plan: Plan, random: Random, extra: Random, *, crashes: bool, can_move: bool) -> Route:
    """Return what happens on the next way up and down.

    Args:
        plan: how much of it.
        random: chooses the kills.
        extra: chooses the freezes and moves, so that they do not change which kills a seed means.
        crashes: whether the server may be stopped.
        can_move: whether there are programs that dump and restore a database.
    """
    up = [(STORM, s) for s in strikes(random, CLEANUP_AIMS, plan.cleanups, crashes=crashes)]
    up += [(STORM, s) for s in strikes(random, STORM_AIMS, plan.builds_in_storm, crashes=crashes)]
    up += [(CALM, s) for s in strikes(random, BUILD_AIMS, plan.builds_in_calm, crashes=crashes)]
    up += [(CALM, s) for s in strikes(random, END_AIMS, plan.ends, crashes=crashes)]
    down = [(STORM, s) for s in strikes(random, DOWN_AIMS, plan.downs, crashes=crashes)]
    _add_freezes(plan, extra, up, down)
    moments = extra.sample((CLEANING, ENFORCED, RESTORING), plan.moves if can_move else 0)
    forms = {moment: extra.choice(FORMATS) for moment in moments}
    # After a kill of the cleanup, when the upgrade cannot have ended.
    if CLEANING in forms:
        up.insert(extra.randint(1, plan.cleanups), (STORM, Strike(MOVE, forms[CLEANING])))
    if RESTORING in forms:
        down.insert(extra.randint(1, 2), (STORM, Strike(MOVE, forms[RESTORING])))
    return Route(up, down, forms.get(ENFORCED))


def _add_freezes(plan: Plan, extra: Random, up: list[Step], down: list[Step]) -> None:
    """Add freezes that a kill follows soon, or later ones after which the way ends well."""
    if extra.random() < 0.5:
        for freeze in freezes(extra, END_FREEZE_AIMS, plan.freezes, killed=False):
            up.insert(len(up) - plan.ends, (CALM, freeze))
    else:
        for freeze in freezes(extra, FREEZE_AIMS, plan.freezes, killed=True):
            up.insert(extra.randint(0, plan.cleanups), (STORM, freeze))
    killed = extra.random() < 0.5
    for freeze in freezes(extra, DOWN_FREEZE_AIMS, plan.freezes, killed=killed):
        down.insert(extra.randint(0, 1) if killed else len(down), (STORM, freeze))
