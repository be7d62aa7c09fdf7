"""Facts as text, JSON or Markdown. Nothing else prints facts."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dupe_audit.checked import CheckReport, Filled, Found
from dupe_audit.model import DuplicateReport, Finding, Run, UniqueKey, VerifyReport

FORMATS = ("text", "json", "markdown")

#: what a terminal would obey, or an encoding refuse
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}

#: columns that are read by their last digit
_NUMBERS = {"looked at", "findings", "rows", "exact extras", "divergent", "NULL keys", "referenced", "seconds"}

#: what each count is called, in the order of the story
_COUNTS = ("rows", "null_key_rows", "groups", "extras", "affected", "largest_group", "exact_groups", "divergent_groups")


def size(count: int | None) -> str:
    """Return bytes as a person reads them."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def plain(text: str) -> str:
    """Return text without control characters and halves of surrogate pairs."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def console(file: IO[str]) -> Console:
    """Return a console that is plain and wide where nobody looks at it."""
    wide = Console(file=file, highlight=False)
    return wide if wide.is_terminal else Console(file=file, highlight=False, width=140)


def _key_json(key: UniqueKey) -> dict[str, Any]:
    return {"schema": key.schema, "table": key.table, "columns": list(key.columns), "constraint": key.name}


def preflight_json(report: DuplicateReport) -> dict[str, Any]:
    """Return the contract's object for one key; counts are null where the table could not be counted."""
    counts = {name: getattr(report.counts, name) if report.counts else None for name in _COUNTS}
    told = {
        **_key_json(report.key),
        "nulls_not_distinct": report.key.nulls_not_distinct,
        **counts,
        "estimates": asdict(report.estimates),
        "references": [asdict(reference) for reference in report.references],
        "findings": [asdict(found) for found in report.findings],
    }
    if report.examples:
        told["examples"] = [{"key": key, "rows": rows} for key, rows in report.examples]
    return told


def verify_json(report: VerifyReport) -> dict[str, Any]:
    """Return the contract's object for one key."""
    index = report.index and {
        name: getattr(report.index, name) for name in ("name", "valid", "ready", "definition", "bytes")
    }
    known = report.run and {name: getattr(report.run, name) for name in ("id", "rows_before", "archived", "restored")}
    return {
        **_key_json(report.key),
        "ok": report.ok,
        "index": index,
        "extras": report.extras,
        "rows": report.rows,
        "run": known,
        "findings": [asdict(found) for found in report.findings],
    }


def run_json(known: Run) -> dict[str, Any]:
    """Return a row of the ledger."""
    return asdict(known)


def check_json(report: CheckReport) -> dict[str, Any]:
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


def dump(value: object, file: IO[str]) -> None:
    """Write JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # Half a surrogate pair (a file's name can hold one) becomes the escape that JSON has for it.
    file.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def preflight(reports: Sequence[DuplicateReport], style: str, file: IO[str]) -> None:
    """Write the reports as text or Markdown."""
    for report in reports:
        rows: list[tuple[str, str]] = []
        if report.counts:
            rows += [(name.replace("_", " "), f"{getattr(report.counts, name):,}") for name in _COUNTS]
            rows += [(f"{n.removesuffix('_bytes')}, estimated", size(b)) for n, b in asdict(report.estimates).items()]
        rows += [
            (f"rows of {ref.table} on extras", f"{ref.rows:,} ({ref.constraint}, ON DELETE {ref.on_delete})")
            for ref in report.references
        ]
        rows += [(f"key {key}", f"{count:,} rows") for key, count in report.examples]
        _section(str(report.key), rows, report.findings, style, file)


def verify(reports: Sequence[VerifyReport], style: str, file: IO[str]) -> None:
    """Write the reports as text or Markdown."""
    for report in reports:
        rows = [("enforced", "yes" if report.ok else "NO"), ("constraint", report.key.name or "-")]
        if report.index:
            state = "valid" if report.index.valid else "ready, not valid" if report.index.ready else "not ready"
            rows += [("index", f"{state}, {size(report.index.bytes)}"), ("definition", report.index.definition)]
        if report.extras is not None:
            rows.append(("extras, counted without an index", f"{report.extras:,}"))
        if report.run:
            known = report.run
            before = "-" if known.rows_before is None else f"{known.rows_before:,}"
            rows.append(
                (f"run {known.id}", f"rows before {before}, archived {known.archived:,}, restored {known.restored:,}")
            )
        if report.rows is not None:
            traffic = "" if report.traffic is None else f", {report.traffic:+,} by the application since the run began"
            rows.append(("rows now", f"{report.rows:,}{traffic}"))
        _section(str(report.key), rows, report.findings, style, file)


def runs(known: Sequence[Run], style: str, file: IO[str]) -> None:
    """Write the ledger as text or Markdown."""
    header = ("run", "table", "key", "state", "archived", "restored", "archive", "started", "revision")
    body = [
        (
            str(one.id),
            f"{one.schema_name}.{one.table_name}",
            ", ".join(one.key_columns),
            one.state + (", purged" if one.purged_at else ""),
            f"{one.archived:,}",
            f"{one.restored:,}",
            size(one.archive_bytes),
            one.started_at[:19],
            one.revision or "-",
        )
        for one in known
    ]
    if style == "markdown":
        _markdown_table(header, body, file)
        return
    table = Table(*header)
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    console(file).print(table if body else "The ledger is empty: nothing was ever cleaned in this database.")


def check(report: CheckReport, style: str, file: IO[str]) -> None:
    """Write the report as text or JSON. The other formats are in render_ci."""
    if style == "json":
        dump(check_json(report), file)
        return
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
    style = _STYLES[one.finding.severity] if one.fails or one.finding.severity == "info" else "dim"
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


def _section(
    title: str, rows: Iterable[tuple[str, str]], findings: Iterable[Finding], style: str, file: IO[str]
) -> None:
    if style == "markdown":
        file.write(f"### {title}\n\n")
        _markdown_table(("what", "value"), rows, file)
        for found in findings:
            file.write(f"- **{found.severity}** `{found.id}`: {found.message} {found.help}\n")
        file.write("\n")
        return
    out = console(file)
    out.print(Text(title, style="bold"))
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(Text("  " + name), Text(value))
    if table.row_count:
        out.print(table)
    for found in findings:
        out.print(Text.assemble(("  " + found.severity, _STYLES[found.severity]), f" [{found.id}] {found.message}"))
        out.print(Text("    " + found.help), style="dim")
    out.print()


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], file: IO[str]) -> None:
    for row in (header, ["---"] * len(header), *rows):
        file.write("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n")
    file.write("\n")
