"""The last page: what the writers saw, and whether every row is where it belongs."""

from __future__ import annotations

from sqlalchemy import Connection

from dupe_audit.demo import seed
from dupe_audit.demo.screen import Screen
from dupe_audit.demo.traffic import Report
from dupe_audit.demo.writers import DESCRIPTION, raced
from dupe_audit.model import BuildRule, milliseconds

TIMEOUT_MS = milliseconds(BuildRule().lock_timeout)
#: what a busy machine may add to a wait: a writer's process that gets no processor measures that as waiting, too
SLACK_MS = 500
BOUND_MS = TIMEOUT_MS + SLACK_MS
FOOTNOTE = f"{BOUND_MS:,} ms are the lock timeout, {TIMEOUT_MS} ms, and {SLACK_MS} ms for a busy machine."


def judge(screen: Screen, connection: Connection, reports: list[Report], before: seed.Fingerprint) -> None:
    """Compare the table with the checksum and with the writers' own books, and judge their waits."""
    after = seed.fingerprint(connection)
    screen.note(f"checksum of the {after.rows:,} rows they did not touch: {after.checksum}")
    measured = f"md5 {after.checksum[:8]}, was {before.checksum[:8]}"
    screen.promise("untouched rows are back, byte for byte", measured, kept=after == before)
    _judge_rows(screen, reports, seed.written(connection))
    times = raced(reports)
    screen.promise("the old writers really raced", f"{times} duplicates made", kept=times > 0)
    errors = ", ".join(f"{count} x {error}" for r in reports for error, count in r.errors.items())
    statements = sum(r.statements for r in reports)
    measured = errors or f"0 in {statements:,} statements"
    screen.promise("no writer sees an unforeseen error", measured, kept=not errors)
    _judge_waits(screen, reports)


def _judge_rows(screen: Screen, reports: list[Report], there: dict[str, int]) -> None:
    must = {identity: value for report in reports for identity, value in report.rows.items()}
    lost, unknown = len(must.keys() - there.keys()), len(there.keys() - must.keys())
    changed = sum(there.get(identity, value) != value for identity, value in must.items())
    found = f"{lost} lost, {changed} changed, {unknown} unknown" if there != must else "none lost"
    measured = f"{len(must):,} rows, {found}"
    screen.promise("every row of the writers is as they left it", measured, kept=there == must)


def _judge_waits(screen: Screen, reports: list[Report]) -> None:
    slowest = max(reports, key=lambda report: report.longest)
    longest = slowest.longest * 1000
    measured = f"{longest:,.0f} ms, in step {screen.step_at(slowest.longest_at)}"
    screen.promise(f"no writer waits longer than {BOUND_MS:,} ms", measured, kept=longest <= BOUND_MS)


def show(screen: Screen, reports: list[Report]) -> None:
    """Print what each writer did and saw."""
    screen.table(
        ("writer", "statements", "inserted", "prevented", "longest wait"),
        [
            (
                DESCRIPTION[report.kind],
                f"{report.statements:,}",
                f"{report.inserted:,}",
                f"{report.prevented:,}",
                f"{report.longest * 1000:,.0f} ms in step {screen.step_at(report.longest_at)}",
            )
            for report in reports
        ],
    )
