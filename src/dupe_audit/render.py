"""Facts as text, JSON or Markdown. Nothing else prints facts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import IO, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dupe_audit.findings import Finding, quantity
from dupe_audit.model import DuplicateReport, Run, UniqueKey, VerifyReport

FORMATS = ("text", "json", "markdown")

#: characters that a terminal would obey or an encoding refuse
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")

#: the style of each severity on a terminal
STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}

#: the counts of a report, in the order in which they are printed
_COUNTS = ("rows", "null_key_rows", "groups", "extras", "affected", "largest_group", "exact_groups", "divergent_groups")


def size(count: int | None) -> str:
    """Return a number of bytes as people read it: ``34.2 kB``."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1024 or unit == "GB":
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def plain(text: str) -> str:
    """Return text whose control characters and halves of surrogate pairs are replaced by U+FFFD."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def console(file: IO[str]) -> Console:
    """Return a console for *file*; without a terminal its lines are 140 characters wide."""
    console = Console(file=file, highlight=False)
    return console if console.is_terminal else Console(file=file, highlight=False, width=140)


def _key_json(key: UniqueKey) -> dict[str, Any]:
    return {"schema": key.schema, "table": key.table, "columns": list(key.columns), "constraint": key.name}


def preflight_json(report: DuplicateReport) -> dict[str, Any]:
    """Return the contract's object for one key; counts are null where the table could not be counted."""
    counts = {name: getattr(report.counts, name) if report.counts else None for name in _COUNTS}
    values = {
        **_key_json(report.key),
        "nulls_not_distinct": report.key.nulls_not_distinct,
        **counts,
        "estimates": asdict(report.estimates),
        "references": [asdict(reference) for reference in report.references],
        "findings": [asdict(finding) for finding in report.findings],
    }
    if report.examples:
        values["examples"] = [{"key": key, "rows": rows} for key, rows in report.examples]
    return values


def verify_json(report: VerifyReport) -> dict[str, Any]:
    """Return the contract's object for one key."""
    index = report.index and {
        name: getattr(report.index, name) for name in ("name", "valid", "ready", "definition", "bytes")
    }
    run = report.run and {name: getattr(report.run, name) for name in ("id", "rows_before", "archived", "restored")}
    return {
        **_key_json(report.key),
        "ok": report.ok,
        "index": index,
        "extras": report.extras,
        "rows": report.rows,
        "run": run,
        "findings": [asdict(finding) for finding in report.findings],
    }


def run_json(run: Run) -> dict[str, Any]:
    """Return a row of the ledger."""
    return asdict(run)


def dump(value: object, file: IO[str]) -> None:
    """Write JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # Half a surrogate pair (a file's name can hold one) becomes its JSON escape.
    file.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def preflight(reports: Sequence[DuplicateReport], style: str, file: IO[str]) -> None:
    """Write the reports as text or Markdown."""
    for report in reports:
        rows: list[tuple[str, str]] = []
        if report.counts:
            rows += [(name.replace("_", " "), f"{getattr(report.counts, name):,}") for name in _COUNTS]
            rows += [(f"{n.removesuffix('_bytes')}, estimated", size(b)) for n, b in asdict(report.estimates).items()]
        rows += [
            (
                f"rows of {ref.table} referencing extras",
                f"{ref.rows:,} ({ref.constraint}, ON DELETE {ref.on_delete})",
            )
            for ref in report.references
        ]
        rows += [(f"key {key}", quantity(count, "row")) for key, count in report.examples]
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
            run = report.run
            before = "-" if run.rows_before is None else f"{run.rows_before:,}"
            rows.append(
                (f"run {run.id}", f"rows before {before}, archived {run.archived:,}, restored {run.restored:,}")
            )
        if report.rows is not None:
            traffic = "" if report.traffic is None else f", {report.traffic:+,} by the application since the run began"
            rows.append(("rows now", f"{report.rows:,}{traffic}"))
        _section(str(report.key), rows, report.findings, style, file)


def runs(ledger: Sequence[Run], style: str, file: IO[str]) -> None:
    """Write the ledger as text or Markdown."""
    header = ("run", "table", "key", "state", "archived", "restored", "archive", "started", "revision")
    body = [
        (
            str(run.id),
            _table(run),
            ", ".join(run.key_columns),
            run.state + (", purged" if run.purged_at else ""),
            f"{run.archived:,}",
            f"{run.restored:,}",
            size(run.archive_bytes),
            run.started_at[:19],
            run.revision or "-",
        )
        for run in ledger
    ]
    if style == "markdown":
        _markdown_table(header, body, file)
        return
    table = Table(*header)
    for row in body:
        table.add_row(*(Text(cell) for cell in row))
    console(file).print(table if body else "The ledger is empty: nothing was ever cleaned in this database.")


def _table(run: Run) -> str:
    """Return the table of a run: its name now, and the one that the ledger has if it is another."""
    name = f"{run.schema_name}.{run.table_name}"
    if run.relation is None:
        return f"{name} (not found)"
    return name if run.relation.replace('"', "") == name else f"{run.relation} (was {name})"


def _section(
    title: str, rows: Iterable[tuple[str, str]], findings: Iterable[Finding], style: str, file: IO[str]
) -> None:
    if style == "markdown":
        file.write(f"### {title}\n\n")
        _markdown_table(("item", "value"), rows, file)
        for finding in findings:
            file.write(f"- **{finding.severity}** `{finding.id}`: {finding.message} {finding.help}\n")
        file.write("\n")
        return
    out = console(file)
    out.print(Text(title, style="bold"))
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows:
        table.add_row(Text("  " + name), Text(value))
    if table.row_count:
        out.print(table)
    for finding in findings:
        severity = ("  " + finding.severity, STYLES[finding.severity])
        out.print(Text.assemble(severity, f" [{finding.id}] {finding.message}"))
        out.print(Text("    " + finding.help), style="dim")
    out.print()


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], file: IO[str]) -> None:
    for row in (header, ["---"] * len(header), *rows):
        file.write("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n")
    file.write("\n")
