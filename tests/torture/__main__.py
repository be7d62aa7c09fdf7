"""``make torture``: kill the pipeline in every phase until the goals are reached; then see that mutants are caught."""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom

import click
from rich.console import Console

from dupe_audit.embedded import Server
from torture.campaign import Plan, provoke, torture
from torture.mutants import MUTANTS
from torture.nursery import Nursery
from torture.tally import Tally, as_table
from torture.world import SETTINGS, World


@click.command()
@click.option("--seed", type=int, help="Decides the plan of kills and the writers' choices; default: a new one.")
@click.option("--minutes", type=float, default=20, show_default=True, help="End after so long at the latest.")
@click.option("--kills", type=int, default=100, show_default=True, help="Goal: kills of the cleanup.")
@click.option("--builds", type=int, default=200, show_default=True, help="Goal: builds interrupted.")
@click.option("--bin", "bin_dir", type=click.Path(path_type=Path), help="Server programs; default: the embedded ones.")
def main(seed: int | None, minutes: float, kills: int, builds: int, bin_dir: Path | None) -> None:
    """Torture the pipeline, then the mutants; exit 1 on a violation, a missed mutant or a goal not reached."""
    console = Console(width=100)
    tally = Tally(SystemRandom().randrange(10**6) if seed is None else seed)
    console.print(f"seed {tally.seed}", highlight=False)
    began = time.monotonic()
    deadline = began + minutes * 60
    with ExitStack() as stack:
        server = stack.enter_context(Server.start(bin_dir, SETTINGS))
        nursery = stack.enter_context(Nursery())
        tally.server = World(server.url()).ask("SHOW server_version")[0]
        while time.monotonic() < deadline and (tally.cleanup_kills < kills or tally.builds_interrupted < builds):
            torture(server, nursery, tally, Plan(), deadline)
            console.print(
                f"{time.monotonic() - began:5.0f} s: {tally.cycles} cycles, "
                f"{tally.cleanup_kills} kills of the cleanup, {tally.builds_interrupted} builds interrupted, "
                f"{len(tally.objections)} violations",
                highlight=False,
            )
        for name in MUTANTS:
            tally.mutants[name] = provoke(server.url(), nursery, name, tally.seed)
    tally.missed += [name for name, found in tally.mutants.items() if not found]
    tally.seconds = time.monotonic() - began
    console.print(as_table(tally))
    for objection in tally.objections[:50]:
        console.print(str(objection), highlight=False, markup=False)
    short = tally.cleanup_kills < kills or tally.builds_interrupted < builds
    if short:
        console.print(f"Not enough: {kills} kills of the cleanup and {builds} interrupted builds were asked for.")
    sys.exit(1 if tally.objections or tally.missed or short else 0)


if __name__ == "__main__":
    main()
