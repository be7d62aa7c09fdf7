"""Facts as text for a terminal, or as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dupe_audit.findings import Finding, quantity
from dupe_audit.layout import console, plain, print_hanging, write_markdown_table
from dupe_audit.model import DuplicateReport, Leaves, Run, Sample, Suggestion, Unseen, VerifyReport
from dupe_audit.render import samples
from dupe_audit.render.objects import COUNTS
from dupe_audit.render.values import shown

#: the style of each severity on a terminal
STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}

#: maximum number of leaves that are named, those with the most extras first
SHOWN = 5

_QUOTED = re.compile('"((?:[^"]|"")+)"')

#: counts whose names alone do not say what they are
_LABELS = {"outside_rows": "rows outside the predicate"}

#: columns of the ledger that are aligned right
_NUMBERS = {"run", "archived", "amended", "merged", "restored", "reverted", "archive"}


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


def preflight(reports: Sequence[DuplicateReport], style: str, file: IO[str]) -> None:
    """Write the reports as text or Markdown."""
    for report in reports:
        rows: list[tuple[str, str]] = _leaves(report.leaves)
        if report.counts:
            names = [name for name in COUNTS if name != "outside_rows" or report.key.where]
            rows += [
                (_LABELS.get(name) or name.replace("_", " "), f"{getattr(report.counts, name):,}") for name in names
            ]
            rows += [(f"groups that differ in {shown(name)}", f"{n:,}") for name, n in report.differs.items()]
            rows += _suggestion(report.suggestion)
            rows += [(f"{n.removesuffix('_bytes')}, estimated", size(b)) for n, b in asdict(report.estimates).items()]
        rows += [
            (
                f"rows of {ref.table} referencing extras",
                f"{ref.rows:,} ({ref.constraint}, ON DELETE {ref.on_delete})",
            )
            for ref in report.references
        ]
        rows += [(f"key {shown(key)}", quantity(count, "row")) for key, count in report.examples]
        rows += [
            (f"{row.expression} fails for {_pairs(row.identity)}", plain(row.message)) for row in report.failed_rows
        ]
        _section(str(report.key), rows, report.findings, style, file, report.samples)


def _leaves(leaves: Leaves | None) -> list[tuple[str, str]]:
    """Return the lines about the leaves of a partitioned table: how many, and which have the most extras."""
    if leaves is None:
        return []
    extras = f", {len(leaves.dirty):,} with extras" if leaves.dirty else ""
    lines = [("leaves", f"{leaves.count:,}{extras}")]
    lines += [(f"  extras in {shown(leaf.table)}", f"{leaf.extras:,}") for leaf in leaves.dirty[:SHOWN]]
    more = len(leaves.dirty) - SHOWN
    return [*lines, (f"  and in {quantity(more, 'other leaf', 'other leaves')}", "")] if more > 0 else lines


def _suggestion(suggestion: Suggestion | None) -> list[tuple[str, str]]:
    """Return the lines of a suggestion: how many groups it is about, and what to paste."""
    if suggestion is None:
        return []
    return [
        (
            f"exact with {suggestion.directive}",
            f"{suggestion.exact_groups:,} of {suggestion.divergent_groups:,} divergent groups",
        ),
        *((f"  {shown(name)} looks like", why) for name, why in suggestion.columns.items()),
        ("  to try it, add", suggestion.options),
    ]


def _pairs(values: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def verify(reports: Sequence[VerifyReport], style: str, file: IO[str]) -> None:
    """Write the reports as text or Markdown."""
    for report in reports:
        form = "constraint" if report.key.form == "constraint" else "unique index"
        rows = [("enforced", "yes" if report.enforced else "NO"), (form, report.key.name or "-")]
        if report.index:
            state = "valid" if report.index.valid else "ready, not valid" if report.index.ready else "not ready"
            rows += [
                ("index", f"{state}, {size(report.index.bytes)}"),
                ("definition", report.index.definition),
            ]
        if report.leaves is not None:
            rows.append(("leaves", f"{report.leaves:,}"))
        if report.extras is not None:
            rows.append(("extras, counted without an index", f"{report.extras:,}"))
        if report.run:
            run = report.run
            before = "-" if run.rows_before is None else f"{run.rows_before:,}"
            counts = ", ".join(f"{name} {number:,}" for name, number in _counts(run).items())
            rows.append((f"run {run.id}", f"rows before {before}, {counts}"))
        if report.rows is not None:
            traffic = "" if report.traffic is None else f", {report.traffic:+,} by the application since the run began"
            rows.append(("rows now", f"{report.rows:,}{traffic}"))
        _section(str(report.key), rows, report.findings, style, file)


def plain_keys(reports: Sequence[VerifyReport], style: str, file: IO[str]) -> None:
    """Write the reports on keys of plain operations: each that has findings, and how many have none."""
    verify([report for report in reports if report.findings], style, file)
    in_place = sum(not report.findings for report in reports)
    if in_place:
        noun = quantity(in_place, "key")
        verb = "has its" if in_place == 1 else "have their"
        text = f"{noun} of plain operations {verb} valid unique index (from the catalog, not counted)."
        _line(text, style, file)


def unseen(reports: Sequence[Unseen], style: str, file: IO[str]) -> None:
    """Write the reports on what could not be read."""
    for report in reports:
        title = f"revision {report.revision}" if report.revision else "the project"
        _section(title, (), report.findings, style, file)


def _line(text: str, style: str, file: IO[str]) -> None:
    if style == "markdown":
        file.write(f"{text}\n\n")
    else:
        console(file).print(Text(text))


def runs(ledger: Sequence[Run], style: str, file: IO[str]) -> None:
    """Write the ledger as text or Markdown: a line per run, or two if the terminal is narrow."""
    counted = [
        name
        for name in ("archived", "amended", "merged", "restored", "reverted")
        if any(name in _counts(run) for run in ledger)
    ]
    header = ("run", "table", "key", "state", *counted, "archive", "started", "revision")
    body = [
        (
            str(run.id),
            _table(run),
            ", ".join(map(str, run.key_columns)) + (f" WHERE {run.where}" if run.where else ""),
            run.state + (", purged" if run.purged_at else ""),
            *(f"{getattr(run, name):,}" for name in counted),
            size(run.archive_bytes),
            run.started_at[:19],
            (run.revision or "-") + (f" (campaign {run.campaign})" if run.campaign else ""),
        )
        for run in ledger
    ]
    out = console(file)
    if style == "markdown":
        write_markdown_table(header, body, file)
    elif not body:
        out.print("The ledger is empty: nothing was ever cleaned in this database.")
    else:
        widths = [max(len(row[column]) for row in (header, *body)) for column in range(len(header))]
        if sum(widths) + 2 * len(widths) - 2 <= out.width:
            _aligned(header, body, widths, out)
        else:
            _stacked(body, counted, out)


def _counts(run: Run) -> dict[str, int]:
    """Return the sums of a run by name; those of rows that it changed only if there are any."""
    sums = {name: getattr(run, name) for name in ("archived", "amended", "merged", "restored", "reverted")}
    return {name: number for name, number in sums.items() if number or name in ("archived", "restored")}


def _aligned(header: Sequence[str], body: Sequence[Sequence[str]], widths: Sequence[int], out: Console) -> None:
    """Print a line per run; numbers are aligned right."""
    for number, row in enumerate((header, *body)):
        cells = [
            cell.rjust(width) if name in _NUMBERS else cell.ljust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        ]
        out.print(Text("  ".join(cells).rstrip(), style="" if number else "bold"), soft_wrap=True)


def _stacked(body: Sequence[Sequence[str]], counted: Sequence[str], out: Console) -> None:
    """Print each run in a few lines that fit the terminal."""
    for id_, table, key, state, *numbers, archive, started, revision in body:
        counts = ", ".join(f"{number} {name}" for name, number in zip(counted, numbers, strict=True))
        lead = f"run {id_}  "
        facts = f"{counts}, archive {archive}; began {started}, revision {revision}"
        print_hanging(Text.assemble((lead, "bold"), f"{state}  {table} ({key})"), len(lead), out)
        print_hanging(Text(" " * len(lead) + facts), len(lead), out)


def _table(run: Run) -> str:
    """Return the table of a run: its current name, and the name in the ledger if that differs."""
    name = f"{run.schema_name}.{run.table_name}"
    if run.relation is None:
        return f"{name} (not found)"
    current = _QUOTED.sub(lambda quoted: quoted[1].replace('""', '"'), run.relation)
    return name if current == name else f"{run.relation} (was {name})"


def _section(
    title: str,
    rows: Iterable[tuple[str, str]],
    findings: Iterable[Finding],
    style: str,
    file: IO[str],
    groups: Sequence[Sample] = (),
) -> None:
    if style == "markdown":
        file.write(f"### {title}\n\n")
        if rows := list(rows):
            write_markdown_table(("item", "value"), rows, file)
        for number, sample in enumerate(groups, 1):
            samples.markdown(sample, number, file)
        for finding in findings:
            file.write(f"- **{finding.severity}** `{finding.id}`: {finding.message} {finding.help}\n")
        file.write("\n")
        return
    out = console(file)
    out.print(Text(title, style="bold"))
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")  # a long name is divided, never cut
    for name, value in rows:
        table.add_row(Text("  " + name), Text(value))
    if table.row_count:
        out.print(table)
    for number, sample in enumerate(groups, 1):
        samples.text(sample, number, file)
    for finding in findings:
        severity = ("  " + finding.severity, STYLES[finding.severity])
        print_hanging(Text.assemble(severity, plain(f" [{finding.id}] {finding.message}")), 4, out)
        print_hanging(Text("    " + plain(finding.help), style="dim"), 4, out)
    out.print()
