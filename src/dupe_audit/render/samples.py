"""Groups side by side: each row is a column, the survivor first; values that differ from the survivor's are marked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dupe_audit.findings import quantity
from dupe_audit.layout import console, write_markdown_table
from dupe_audit.model import DuplicateReport, Sample, SampleRow
from dupe_audit.render.values import code, csv_cell, shown

#: limit of terminal cells for a value before it is folded, if another row would fit beside it
_WIDEST = 30

#: columns of a CSV file that are not the table's
_CSV_HEADER = ("table", "key", "sample", "key_value", "group_rows", "row", "differs")


def text(sample: Sample, number: int, file: IO[str]) -> None:
    """Write a sample for a terminal, in blocks that fit it; each block repeats the survivor."""
    out = console(file)
    title = f"  sample {number}: {quantity(sample.rows, 'row')}"
    if sample.key is not None:
        title += f", key {shown(sample.key)}"
    out.print(Text(f"{title}; {_where(sample, shown)}"), soft_wrap=not out.is_terminal)
    labels = [shown(name) for name in (*sample.survivor.identity, *sample.differs)]
    for block in _blocks(sample, max(map(len, labels), default=0), out):
        table = Table(box=None, pad_edge=False)
        table.add_column()
        for row in block:
            kept = row is sample.survivor
            table.add_column("" if kept else " ")
            # Long words are broken, so that no value is cut a second time.
            table.add_column("survives" if kept else "leaves", style="bold green" if kept else "", overflow="fold")
        for label, *cells in zip(labels, *(_cells(sample, row) for row in block), strict=True):
            table.add_row(Text(f"    {label}"), *(Text(part) for cell in cells for part in cell))
        out.print(table)
    if hidden := sample.rows - 1 - len(sample.extras):
        out.print(f"    {quantity(hidden, 'more row')} of the group {'leaves' if hidden == 1 else 'leave'}")


def markdown(sample: Sample, number: int, file: IO[str]) -> None:
    """Write a sample in Markdown."""
    key = f", key {code(shown(sample.key))}" if sample.key is not None else ""
    where = _where(sample, lambda name: code(shown(name)))
    file.write(f"#### Sample {number}: {quantity(sample.rows, 'row')}{key}; {where}\n\n")
    rows = (sample.survivor, *sample.extras)
    header = ("column", "**survives**", *["leaves"] * len(sample.extras))
    lines = [[code(shown(name)), *(code(shown(row.identity[name])) for row in rows)] for name in rows[0].identity]
    lines += [[code(shown(name)), *(_markdown_cell(row, name, rows[0]) for row in rows)] for name in sample.differs]
    write_markdown_table(header, lines, file)
    if hidden := sample.rows - 1 - len(sample.extras):
        file.write(f"{quantity(hidden, 'more row')} of the group {'leaves' if hidden == 1 else 'leave'}.\n\n")


def csv(reports: Sequence[DuplicateReport], file: IO[str]) -> None:
    """Write a line per row of each sample; the columns that differ in some sample have their values.

    NULL is an unquoted NULL, and an unquoted empty cell is a column in which the group does not differ.
    """
    samples = [(report, number, sample) for report in reports for number, sample in enumerate(report.samples, 1)]
    identity = list(dict.fromkeys(name for _, _, sample in samples for name in sample.survivor.identity))
    values = list(dict.fromkeys(name for _, _, sample in samples for name in sample.survivor.values))
    own = [_unlike(name, {*identity, *values}) for name in _CSV_HEADER]
    file.write(",".join(map(csv_cell, (*own, *identity, *(name for name in values)))) + "\n")
    for report, number, sample in samples:
        table = f"{report.key.schema}.{report.key.table}"
        for row in (sample.survivor, *sample.extras):
            names = sample.differs if row is sample.survivor else row.differs
            facts = (
                table,
                ", ".join(report.key.elements),
                str(number),
                "" if sample.key is None else sample.key,
                str(sample.rows),
                "survives" if row is sample.survivor else "leaves",
                ", ".join(names),
            )
            cells = [csv_cell(fact) for fact in facts]
            cells += [csv_cell(row.identity[name]) if name in row.identity else "" for name in identity]
            cells += [csv_cell(row.values[name]) if name in row.values else "" for name in values]
            file.write(",".join(cells) + "\n")


def _unlike(name: str, taken: set[str]) -> str:
    return f"dupe_audit_{name}" if name in taken else name


def _where(sample: Sample, name: Callable[[str], str]) -> str:
    return f"differs in {', '.join(map(name, sample.differs))}" if sample.differs else "no difference"


def _markdown_cell(row: SampleRow, name: str, survivor: SampleRow) -> str:
    mark = _mark(row, name, survivor)
    value = code(shown(row.values[name])) if row.values else ""
    return f"**≠** {value}".rstrip() if mark == "≠" else value or mark


def _mark(row: SampleRow, name: str, survivor: SampleRow) -> str:
    return "" if row is survivor else "≠" if name in row.differs else "="


def _cells(sample: Sample, row: SampleRow) -> list[tuple[str, str]]:
    """Return the values of a row from top to bottom, each with its mark."""
    return [("", shown(value)) for value in row.identity.values()] + [
        (_mark(row, name, sample.survivor), shown(row.values[name]) if row.values else "") for name in sample.differs
    ]


def _blocks(sample: Sample, label: int, out: Console) -> Iterator[list[SampleRow]]:
    """Yield the rows that are printed beside one another: the survivor and as many others as fit."""

    def width(row: SampleRow) -> int:
        widest = max(len(value) for _, value in _cells(sample, row))
        return max(min(widest, _WIDEST) if out.is_terminal else widest, len("survives")) + 3

    others = list(sample.extras)
    while others:
        block, room = [sample.survivor], out.width - label - 4 - width(sample.survivor)
        while others and (len(block) == 1 or room >= width(others[0])):
            room -= width(others[0])
            block.append(others.pop(0))
        yield block
