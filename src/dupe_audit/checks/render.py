"""The report of the CI check for people, and as JSON. The formats of CI systems are in ``render_ci``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dupe_audit.checks.report import CheckReport, ReportedFinding
from dupe_audit.layout import console, plain
from dupe_audit.render import STYLES, dump
from dupe_audit.seeding.facts import Filled

#: columns of numbers, aligned right
_NUMBERS = {"looked at", "findings", "rows", "exact extras", "divergent", "NULL keys", "referenced", "seconds"}


def text(report: CheckReport, file: IO[str]) -> None:
    """Write the report for people."""
    out = console(file)
    counts = Counter(result.rule for result in report.findings)
    rules = [
        (rule.rule, "-" if rule.skipped else f"{rule.looked_at:,}", f"{counts[rule.rule]:,}", rule.skipped or "")
        for rule in report.rules
    ]
    _table(("rule", "looked at", "findings", "skipped"), rules, out)
    for _file, results in groupby(sorted(report.findings, key=_by_place), key=lambda result: result.place.file or ""):
        out.print()
        for result in results:
            _finding(result, out)
    filled = [(table.revision, table.table, f"{table.rows:,}", *_extras(table)) for table in report.filled]
    _table(("revision", "filled", "rows", "exact extras", "divergent", "NULL keys", "referenced"), filled, out)
    total = sum(seconds for _part, seconds in report.seconds)
    parts = [*report.seconds, ("total", total)] if report.seconds else []
    _table(("part", "seconds"), [(part, f"{seconds:.1f}") for part, seconds in parts], out)
    out.print()
    out.print(Text(plain(report.verdict), style="bold green" if report.ok else "bold red"), soft_wrap=True)


def _extras(filled: Filled) -> tuple[str, ...]:
    if filled.own:
        return "your SQL", "-", "-", "-"
    return tuple(f"{count:,}" for count in (filled.exact, filled.divergent, filled.null_keys, filled.referenced))


def _by_place(result: ReportedFinding) -> tuple[str, int]:
    return result.place.file or "", result.place.line or 0


def _finding(result: ReportedFinding, out: Console) -> None:
    style = STYLES[result.finding.severity] if result.fails or result.finding.severity == "info" else "dim"
    accepted = ", accepted" if result.accepted else ""
    details = f"{accepted} [{result.finding.id}] {result.finding.message}"
    line = Text.assemble(plain(f"{result.place}: "), (result.finding.severity, style), plain(details))
    # A tool may search for this line, so it is not wrapped at the width of the console.
    out.print(line, soft_wrap=True)
    out.print(Text("    " + plain(result.finding.help)), style="dim", soft_wrap=True)


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
    """Return everything in the report, ready for ``json.dumps``."""
    return {
        "ok": report.ok,
        "server": report.server,
        "config": report.config,
        "revisions": list(report.revisions),
        "rules": [asdict(rule) for rule in report.rules],
        "filled": [asdict(filled) for filled in report.filled],
        "findings": [
            {
                "rule": result.rule,
                **asdict(result.finding),
                **asdict(result.place),
                "accepted": result.accepted,
                "fails": result.fails,
            }
            for result in report.findings
        ],
        "seconds": [{"part": part, "seconds": round(seconds, 3)} for part, seconds in report.seconds],
    }
