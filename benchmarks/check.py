"""What each part of `dupe-audit check` costs, compared with the same revisions up, down and up on empty tables.

``python benchmarks/check.py [ROWS] [REPEAT]`` in the repository's root: the reference project, on an embedded server.
"""

import statistics
import sys
import time
from collections import defaultdict

from dupe_audit.checks import check
from dupe_audit.checks.trial.migrate import Runner
from dupe_audit.checks.trial.project import load
from dupe_audit.checks.trial.scratch import EMBEDDED, scratch


def measure_bare() -> float:
    """Return the seconds of a round trip on an empty database, including the server's start."""
    started = time.monotonic()
    project = load("alembic.ini")
    ids = [revision.id for revision in project.revisions]
    with scratch(EMBEDDED) as server, server.database() as url:
        runner = Runner(project, url)
        failures = [runner.upgrade(*ids), *(runner.downgrade(id_) for id_ in reversed(ids)), runner.upgrade(*ids)]
    if any(failures):
        sys.exit(f"The reference project does not pass: {failures}")
    return time.monotonic() - started


def main() -> None:
    """Print the median of each part, and its ratio to the bare round trip."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    repeat = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    parts: dict[str, list[float]] = defaultdict(list)
    bare: list[float] = []
    for _ in range(repeat):  # in turn, so that a noisy minute affects both
        report = check(rows=rows, squawk=True)
        if not report.ok:
            sys.exit(str(report))
        for part, seconds in report.seconds:
            parts[part].append(seconds)
        bare.append(measure_bare())
    medians = {part: statistics.median(seconds) for part, seconds in parts.items()}
    total, base = sum(medians.values()), statistics.median(bare)
    print(
        f"{rows:,} rows per table, {len(report.revisions)} revisions, {len(report.filled)} round trips, {report.server}"
    )
    for part, seconds in (*medians.items(), ("total", total)):
        print(f"{part:<34}{seconds:8.1f} s{seconds / base:8.2f}")
    print(f"{'up, down and up on empty tables only':<38}{base:4.1f} s{1:8.2f}")


if __name__ == "__main__":
    main()
