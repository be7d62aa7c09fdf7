"""The ledger as text for a terminal, or as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import IO

from rich.console import Console
from rich.text import Text

from dupe_audit.layout import console, print_hanging, write_markdown_table
from dupe_audit.model import Run
from dupe_audit.render.values import size

_QUOTED = re.compile('"((?:[^"]|"")+)"')

#: columns that are aligned right
_NUMBERS = {"run", "archived", "amended", "merged", "restored", "reverted", "archive"}


def runs(ledger: Sequence[Run], style: str, file: IO[str]) -> None:
    """Write the ledger as text or Markdown: a line per run, or two if the terminal is narrow."""
    counted = [
        name
        for name in ("archived", "amended", "merged", "restored", "reverted")
        if any(name in counts(run) for run in ledger)
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


def counts(run: Run) -> dict[str, int]:
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
        sums = ", ".join(f"{number} {name}" for name, number in zip(counted, numbers, strict=True))
        lead = f"run {id_}  "
        facts = f"{sums}, archive {archive}; began {started}, revision {revision}"
        print_hanging(Text.assemble((lead, "bold"), f"{state}  {table} ({key})"), len(lead), out)
        print_hanging(Text(" " * len(lead) + facts), len(lead), out)


def _table(run: Run) -> str:
    """Return the table of a run: its current name, and the name in the ledger if that differs."""
    name = f"{run.schema_name}.{run.table_name}"
    if run.relation is None:
        return f"{name} (not found)"
    current = _QUOTED.sub(lambda quoted: quoted[1].replace('""', '"'), run.relation)
    return name if current == name else f"{run.relation} (was {name})"
