"""Measure `dupe-audit check`, part by part, against the same revisions up, down and up on empty tables.

``python benchmarks/check.py [ROWS] [REPEAT]`` in the repository: the reference project, on an embedded PostgreSQL.
"""

import statistics
import sys
import time
from collections import defaultdict

from dupe_audit.checks import check
from dupe_audit.checks.trial.migrate import Runner
from dupe_audit.checks.trial.project import load
from dupe_audit.checks.trial.scratch import EMBEDDED, scratch


def bare() -> float:
    """Return the seconds that a round trip on an empty database takes, including the start of the server."""
    began = time.monotonic()
    project = load("alembic.ini")
    ids = [revision.id for revision in project.revisions]
    with scratch(EMBEDDED) as server, server.database() as url:
        runner = Runner(project, url)
        failures = [runner.upgrade(*ids), *(runner.downgrade(id_) for id_ in reversed(ids)), runner.upgrade(*ids)]
    if any(failures):
        sys.exit(f"The reference project does not pass: {failures}")
    return time.monotonic() - began


def main() -> None:
    """Print the median of each part, and its ratio to the bare round trip."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    repeat = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    parts: dict[str, list[float]] = defaultdict(list)
    alone: list[float] = []
    for _ in range(repeat):  # alternating, so that a noisy minute affects both
        report = check(rows=rows, squawk=True)
        if not report.ok:
            sys.exit(str(report))
        for part, seconds in report.seconds:
            parts[part].append(seconds)
        alone.append(bare())
    medians = {part: statistics.median(seconds) for part, seconds in parts.items()}
    total, base = sum(medians.values()), statistics.median(alone)
    print(
        f"{rows:,} rows per table, {len(report.revisions)} revisions, {len(report.filled)} round trips, {report.server}"
    )
    for part, seconds in (*medians.items(), ("total", total)):
        print(f"{part:<34}{seconds:8.1f} s{seconds / base:8.2f}")
    print(f"{'up, down and up on empty tables alone':<38}{base:4.1f} s{1:8.2f}")


if __name__ == "__main__":
    main()
