"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import migration
from dupe_audit.embedded import EmbeddedServerError, Server
from migration import report
from migration.measurement import measure, template_of
from migration.queries import rotated, time_queries, time_restore
from migration.results import BenchmarkError, Machine, Results, Size, join, load
from migration.table import ROOT, extras_of, grouped_rows
from migration.ways import WAYS

PARTS = ("ways", "preflight", "restore")
SETTINGS = {
    "shared_buffers": "512MB",
    # No checkpoint during a way, however much that writes: a checkpoint would slow down the way that it falls into.
    "max_wal_size": "32GB",
    "checkpoint_timeout": "1h",
    # WAL files that seeding has written are reused: creating new ones would delay the way that comes first.
    "min_wal_size": "8GB",
}
PAGE = ROOT / "docs" / "explanation" / "costs.md"


def positive(text: str) -> int:
    """Return the number, which must be positive."""
    if (number := int(text)) < 1:
        raise ValueError(text)
    return number


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=migration.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rows",
        type=positive,
        nargs="+",
        default=[1_000_000, 3_000_000, 10_000_000],
        help="rows per table, one table after the other (default: 1, 3 and 10 million)",
    )
    parser.add_argument("--repeat", type=positive, default=5, help="repetitions of each way (default: 5)")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="ways to measure (default: all)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the rows and of the writers (default: 1)")
    parser.add_argument("--no-fsync", action="store_true", help="switch fsync off, unlike any server in production")
    parser.add_argument("--bin", type=Path, help="directory of server programs (default: the embedded server)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="file for the results, as JSON")
    parser.add_argument(
        "--from",
        type=Path,
        nargs="+",
        metavar="FILE",
        dest="files",
        help="files of results to read instead of measuring; the repetitions of several are joined",
    )
    parser.add_argument("--plot", action="store_true", help="draw the pictures (needs the extra `bench`)")
    parser.add_argument("--page", type=Path, nargs="?", const=PAGE, help=f"replace the figures in {PAGE.name}")
    parser.add_argument("--pictures", type=Path, default=PAGE.parent, help="directory of the pictures")
    return parser.parse_args(arguments)


def run_all(options: argparse.Namespace) -> Iterator[Results]:
    """Measure each size, and yield all results so far after each repetition."""
    load_before, date = os.getloadavg()[0], datetime.now(UTC).date().isoformat()
    settings = {**SETTINGS, "fsync": "off" if options.no_fsync else "on"}
    with Server.start(options.bin, settings) as server:
        major, minor = divmod(server.version_num, 10000)
        machine = Machine(
            software=version("dupe-audit"),
            server=f"{major}.{minor}",
            cores=os.cpu_count() or 0,
            fsync=not options.no_fsync,
            seed=options.seed,
        )
        finished = list[Size]()
        for rows in options.rows:
            size = Size(rows, extras_of(rows))
            finished.append(size)
            for _ in run_size(server, size, options):
                yield Results(machine, date, round(load_before, 1), finished)


def run_size(server: Server, size: Size, options: argparse.Namespace) -> Iterator[None]:
    """Measure tables of one size, and yield after each repetition."""
    started = time.monotonic()
    with template_of(server, size.rows, options.seed) as template:
        sample = grouped_rows(server.url(template), size.rows, options.seed)
        log(f"{size.rows:,} rows: created in {time.monotonic() - started:.0f} s")
        for repetition in range(options.repeat):
            started = time.monotonic()
            if "ways" in options.parts:
                for way in rotated(options.ways, repetition):
                    size.runs.append(measure(server, way, repetition, template, sample, options.seed))
            if "preflight" in options.parts:
                size.queries.append(time_queries(server, template, repetition))
            if "restore" in options.parts:
                size.restores.append(time_restore(server, template))
            seconds = time.monotonic() - started
            log(f"{size.rows:,} rows: repetition {repetition + 1} of {options.repeat} took {seconds:.0f} s")
            yield


def log(text: str) -> None:
    """Print progress, which is not part of the tables."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measure or read results; print them as Markdown, save them, and draw them."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    options = parse()
    if options.plot and find_spec("matplotlib") is None:
        sys.exit("--plot needs matplotlib: pip install 'dupe-audit[bench]'")
    try:
        if options.files:
            results = join([load(file) for file in options.files])
        else:
            for results in run_all(options):
                if options.output:
                    results.save(options.output)  # after each repetition, so that an interruption loses only one
    except (BenchmarkError, EmbeddedServerError) as error:
        sys.exit(str(error))
    print(report.markdown(results))
    if options.plot:
        from migration import plot

        plot.draw(results, options.pictures)
    if options.page:
        options.page.write_text(report.replaced(options.page.read_text(), results, pictures=options.plot))


if __name__ == "__main__":
    main()
