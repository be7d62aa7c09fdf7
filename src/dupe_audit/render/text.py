"""Facts as text for a terminal, or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import IO

from rich.table import Table
from rich.text import Text

from dupe_audit.findings import Finding, quantity
from dupe_audit.layout import console, plain, print_hanging, write_markdown_table
from dupe_audit.model import DuplicateReport, Leaves, Sample, Suggestion, Unseen, VerifyReport
from dupe_audit.render import samples
from dupe_audit.render.ledger import counts
from dupe_audit.render.objects import COUNTS
from dupe_audit.render.values import shown, size

#: the style of each severity on a terminal
STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}

#: maximum number of leaves that are named, those with the most extras first
SHOWN = 5

#: counts whose names alone do not say what they are
_LABELS = {"outside_rows": "rows outside the predicate"}


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
            sums = ", ".join(f"{name} {number:,}" for name, number in counts(run).items())
            rows.append((f"run {run.id}", f"rows before {before}, {sums}"))
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
