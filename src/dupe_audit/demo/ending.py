"""The end of the demo: what the writers saw, and whether every row is where it belongs."""

from __future__ import annotations

from sqlalchemy import Connection

from dupe_audit.demo import seed
from dupe_audit.demo.screen import Screen
from dupe_audit.demo.traffic import Report
from dupe_audit.demo.writers import DESCRIPTION, raced
from dupe_audit.findings import quantity
from dupe_audit.model import LOCK_TIMEOUT, milliseconds

TIMEOUT_MS = milliseconds(LOCK_TIMEOUT)
#: what a busy machine may add to a wait: a writer measures the time in which it gets no processor as waiting, too
SLACK_MS = 500
BOUND_MS = TIMEOUT_MS + SLACK_MS
FOOTNOTE = f"{BOUND_MS:,} ms: the lock timeout of {TIMEOUT_MS:,} ms, and {SLACK_MS:,} ms for a busy machine."


def judge(screen: Screen, connection: Connection, reports: list[Report], before: seed.Fingerprint) -> None:
    """Compare the table with the checksum and with the writers' own records, and judge their waits."""
    after = seed.fingerprint(connection)
    screen.note(f"checksum of the {after.rows:,} rows that no writer touched: {after.checksum}")
    measured = f"md5 {after.checksum[:8]}, was {before.checksum[:8]}"
    screen.promise("untouched rows are the same, byte for byte", measured, kept=after == before)
    _judge_rows(screen, reports, seed.written(connection))
    duplicates = raced(reports)
    screen.promise("the old writers did race", f"{quantity(duplicates, 'duplicate')} inserted", kept=duplicates > 0)
    errors = ", ".join(f"{count:,} x {error}" for r in reports for error, count in r.errors.items())
    statements = sum(r.statements for r in reports)
    measured = errors or f"0 in {quantity(statements, 'statement')}"
    screen.promise("no writer sees an unexpected error", measured, kept=not errors)
    _judge_waits(screen, reports)


def _judge_rows(screen: Screen, reports: list[Report], actual: dict[str, int]) -> None:
    expected = {identity: value for report in reports for identity, value in report.rows.items()}
    lost, unknown = len(expected.keys() - actual.keys()), len(actual.keys() - expected.keys())
    changed = sum(actual.get(identity, value) != value for identity, value in expected.items())
    outcome = f"{lost:,} lost, {changed:,} changed, {unknown:,} unknown" if actual != expected else "none lost"
    measured = f"{quantity(len(expected), 'row')}, {outcome}"
    screen.promise("every row of the writers is as they left it", measured, kept=actual == expected)


def _judge_waits(screen: Screen, reports: list[Report]) -> None:
    slowest = max(reports, key=lambda report: report.longest)
    longest = slowest.longest * 1000
    measured = f"{longest:,.0f} ms, in step {screen.scene_at(slowest.longest_at)}"
    screen.promise(f"no writer waits longer than {BOUND_MS:,} ms", measured, kept=longest <= BOUND_MS)


def show(screen: Screen, reports: list[Report]) -> None:
    """Print a table of what each writer did and saw."""
    screen.table(
        ("writer", "statements", "inserted", "prevented", "longest wait"),
        [
            (
                DESCRIPTION[report.kind],
                f"{report.statements:,}",
                f"{report.inserted:,}",
                f"{report.prevented:,}",
                f"{report.longest * 1000:,.0f} ms in step {screen.scene_at(report.longest_at)}",
            )
            for report in reports
        ],
    )
