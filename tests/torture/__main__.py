"""``make torture``: kill the pipeline in every phase until the goals are reached; then check that mutants fail."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

import click
from rich.console import Console

from dupe_audit.embedded import Server
from torture.campaign import provoke, torture
from torture.moving import dump_programs
from torture.mutants import MUTANTS
from torture.nursery import Nursery
from torture.plan import Plan, tree_plan
from torture.policies import POLICIES
from torture.tally import Tally, as_table
from torture.world import SETTINGS, World

#: whether the key of each world is partial, in turn, so that each kind meets writers with and without strays
KEYS = {"plain": (False,), "partial": (True,), "both": (False, True, True, False)}

#: worlds whose table is partitioned
TREE = "tree"


@click.command()
@click.option("--seed", type=int, help="Seed of the kills and of the writers' choices; default: random.")
@click.option("--minutes", type=float, default=30, show_default=True, help="Longest time for the kills, in minutes.")
@click.option("--kills", type=int, default=100, show_default=True, help="Goal: number of kills of the cleanup.")
@click.option("--builds", type=int, default=200, show_default=True, help="Goal: number of interrupted builds.")
@click.option(
    "--key",
    "keys",
    type=click.Choice([*KEYS, TREE]),
    default="both",
    show_default=True,
    help="The key: k of all rows, lower(k) of the live rows, each in turn and also in a tree, or only in trees.",
)
@click.option(
    "--policy",
    type=click.Choice([*POLICIES, "all"]),
    default="all",
    show_default=True,
    help="What becomes of the extras, or each in turn.",
)
@click.option(
    "--bin",
    "bin_dir",
    type=click.Path(path_type=Path),
    help="Directory of server programs; default: the embedded ones.",
)
def main(
    seed: int | None, minutes: float, kills: int, builds: int, keys: str, policy: str, bin_dir: Path | None
) -> None:
    """Torture the pipeline, then the mutants; exit 1 on a violation, a missed mutant or a goal not reached."""
    console = Console(width=100)
    tally = Tally(SystemRandom().randrange(10**6) if seed is None else seed)
    console.print(f"seed {tally.seed}", highlight=False)
    began = time.monotonic()
    deadline = began + minutes * 60
    with ExitStack() as stack:
        server = stack.enter_context(Server.start(bin_dir, SETTINGS))
        nursery = stack.enter_context(Nursery())
        programs = dump_programs(server.version_num // 10000, server.bin_dir)
        tally.server = World(server.url()).ask("SHOW server_version")[0]
        while time.monotonic() < deadline and (tally.cleanup_kills < kills or tally.builds_interrupted < builds):
            plan = _plan(tally.worlds, keys, policy)
            torture(server, nursery, tally, plan, deadline)
            console.print(
                f"{time.monotonic() - began:5.0f} s: {tally.cycles} cycles, "
                f"{tally.cleanup_kills} kills of the cleanup, {tally.builds_interrupted} builds interrupted, "
                f"{len(tally.objections)} violations",
                highlight=False,
            )
        for name in MUTANTS:
            if programs or not MUTANTS[name].moves:
                tally.mutants[name] = provoke(server.url(), nursery, name, tally.seed, programs)
    tally.missed += [name for name, violations in tally.mutants.items() if not violations]
    tally.seconds = time.monotonic() - began
    console.print(as_table(tally))
    for objection in list(dict.fromkeys(tally.objections))[:50]:
        console.print(str(objection), highlight=False, markup=False)
    missed_goal = tally.cleanup_kills < kills or tally.builds_interrupted < builds
    if missed_goal:
        console.print(f"Goal not reached: {kills} kills of the cleanup and {builds} interrupted builds.")
    sys.exit(1 if tally.objections or tally.missed or missed_goal else 0)


def _plan(world: int, keys: str, policy: str) -> Plan:
    """Return the plan of a world, by its number."""
    policies = POLICIES if policy == "all" else (policy,)
    if keys == TREE:
        return tree_plan(policies[world % len(policies)])
    turns = (*policies, TREE) if (keys, policy) == ("both", "all") else policies
    number, turn = divmod(world, len(turns))
    if turns[turn] == TREE:
        return tree_plan(policies[number % len(policies)])
    kinds = KEYS[keys]
    return Plan(strays=number % 2 == 1, partial=kinds[number % len(kinds)], policy=turns[turn])


if __name__ == "__main__":
    main()
