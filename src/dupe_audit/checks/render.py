"""The CI check's report for people, and as JSON. The formats of CI systems are in ``render_ci``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dupe_audit.checks.report import CheckReport, Found
from dupe_audit.render import STYLES, console, dump, plain
from dupe_audit.seeding.facts import Filled

#: columns that are read by their last digit
_NUMBERS = {"looked at", "findings", "rows", "exact extras", "divergent", "NULL keys", "referenced", "seconds"}


def text(report: CheckReport, file: IO[str]) -> None:
    """Write the report for people."""
    out = console(file)
    found = Counter(one.rule for one in report.findings)
    rules = [
        (one.rule, "-" if one.skipped else f"{one.looked_at:,}", f"{found[one.rule]:,}", one.skipped or "")
        for one in report.rules
    ]
    _table(("rule", "looked at", "findings", "skipped"), rules, out)
    for _, together in groupby(sorted(report.findings, key=_by_place), key=lambda one: one.place.file or ""):
        out.print()
        for one in together:
            _finding(one, out)
    filled = [(one.revision, one.table, f"{one.rows:,}", *_extras(one)) for one in report.filled]
    _table(("revision", "filled", "rows", "exact extras", "divergent", "NULL keys", "referenced"), filled, out)
    seconds = [*report.seconds, ("together", sum(one for _, one in report.seconds))] if report.seconds else []
    _table(("part", "seconds"), [(part, f"{one:.1f}") for part, one in seconds], out)
    out.print()
    out.print(Text(plain(report.verdict), style="bold green" if report.ok else "bold red"), soft_wrap=True)


def _extras(one: Filled) -> tuple[str, ...]:
    if one.own:
        return "your SQL", "-", "-", "-"
    return tuple(f"{count:,}" for count in (one.exact, one.divergent, one.null_keys, one.referenced))


def _by_place(one: Found) -> tuple[str, int]:
    return one.place.file or "", one.place.line or 0


def _finding(one: Found, out: Console) -> None:
    style = STYLES[one.finding.severity] if one.fails or one.finding.severity == "info" else "dim"
    accepted = ", accepted" if one.accepted else ""
    rest = f"{accepted} [{one.finding.id}] {one.finding.message}"
    told = Text.assemble(plain(f"{one.place}: "), (one.finding.severity, style), plain(rest))
    # Soft: a line that a tool looks for is not cut at the width of the console.
    out.print(told, soft_wrap=True)
    out.print(Text("    " + plain(one.finding.help)), style="dim", soft_wrap=True)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], out: Console) -> None:
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in header:
        table.add_column(name, justify="right" if name in _NUMBERS else "left")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    out.print()
    out.print(table)


def json(report: CheckReport, file: IO[str]) -> None:
    """Write the report for scripts."""
    dump(as_json(report), file)


def as_json(report: CheckReport) -> dict[str, Any]:
    """Return everything that the report holds."""
    return {
        "ok": report.ok,
        "server": report.server,
        "config": report.config,
        "revisions": list(report.revisions),
        "rules": [asdict(one) for one in report.rules],
        "filled": [asdict(one) for one in report.filled],
        "findings": [
            {"rule": one.rule, **asdict(one.finding), **asdict(one.place), "accepted": one.accepted, "fails": one.fails}
            for one in report.findings
        ],
        "seconds": [{"part": part, "seconds": round(seconds, 3)} for part, seconds in report.seconds],
    }
