"""What ``dupe-audit watch`` saw, as lines, as a live view, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dupe_audit.render import plain
from dupe_audit.watch.facts import Progress, Seen, View

#: what a phase is called where a person reads it
_CALLED = {
    "preparing": "between two steps",
    "ranking": "ranking the table",
    "cleaning": "cleaning",
    "building": "building the index",
    "removing": "removing an unfinished index",
    "attaching": "attaching the index as constraint",
    "verifying": "verifying",
    "dropping": "dropping the constraint",
    "restoring": "restoring",
}

_COUNTED = {"extras": "extras archived", "rows": "rows restored", "transactions": "transactions waited for"}

NOTHING = "Nothing runs."
NO_LEDGER = "Nothing runs, and nothing was ever cleaned in this database."


def duration(seconds: float) -> str:
    """Return seconds as a person reads them."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def title(seen: Seen) -> str:
    """Return which run of which table this is."""
    table = f"{seen.schema}.{seen.table}"
    if seen.run is None:
        return table
    return f"run {seen.run.id}, {table} ({', '.join(seen.run.columns)})"


def kind(seen: Seen) -> tuple[object, ...]:
    """Return what makes a line worth writing at once: everything but figures that grow."""
    who = tuple((one.pid, one.name) for one in seen.blockers)
    return seen.phase, seen.progress.step, seen.waiting, who, seen.stalled, seen.run and (seen.run.id, seen.run.state)


def line(seen: Seen) -> str:
    """Return everything about one table in one line."""
    run = f"run {seen.run.id} " if seen.run else ""
    parts = [f"{run}{seen.schema}.{seen.table}: {_doing(seen)}"]
    if figures := _figures(seen.progress):
        parts.append(figures)
    if seen.waiting:
        parts.append(_waits(seen))
    if seen.hidden:
        parts.append(_HIDDEN)
    return plain("; ".join(parts) + (f". {seen.help}" if seen.help else ""))


_HIDDEN = "this role may not see what the session does (GRANT pg_read_all_stats)"


def _doing(seen: Seen) -> str:
    if seen.phase is None:
        return _state(seen)
    step = f" ({seen.progress.step})" if seen.progress.step else ""
    return f"{_CALLED[seen.phase]}{step}"


def _state(seen: Seen) -> str:
    run = seen.run
    if run is None:
        return "unknown"
    state = f"{run.state}, purged" if run.purged else run.state
    counts = f"{run.archived:,} rows archived" + (f", {run.restored:,} restored" if run.restored else "")
    if seen.stalled:
        return f"UNFINISHED, and nobody works on it ({state}; {counts} of {run.extras:,} extras)"
    constraint = f" by {run.constraint}" if run.state == "enforced" and run.constraint else ""
    without = ", without a constraint" if run.state == "clean" else ""
    return f"{state}{constraint}{without}; {counts}"


def _figures(progress: Progress) -> str:
    if progress.done is None or progress.unit is None:
        return ""
    total = "" if progress.total is None else f" of {progress.total:,}"
    told = [f"{progress.done:,}{total} {_COUNTED.get(progress.unit, progress.unit)}"]
    if progress.rate:
        told.append(f"{progress.rate:,.0f} a second")
    if progress.eta:
        told.append(f"about {duration(progress.eta)} left in this phase")
    return ", ".join(told)


def _waits(seen: Seen) -> str:
    whom = "; ".join(str(one) for one in seen.blockers) or "somebody who has let go by now"
    return f"waiting for {whom}"


def lines(view: View) -> list[str]:
    """Return one line for each table, or one that says that there is nothing."""
    told = [line(seen) for seen in (*view.working, *view.stalled)]
    return told or [rest(view)]


def rest(view: View) -> str:
    """Return what to say where nothing runs."""
    if not view.ledger:
        return NO_LEDGER
    return f"{NOTHING} Last: {line(view.resting[0])}" if view.resting else NOTHING


def live(view: View) -> RenderableType:
    """Return the view that a terminal redraws."""
    blocks = [_block(seen) for seen in (*view.working, *view.stalled)]
    body = blocks or [Text(rest(view))]
    return Group(
        *body, Text(f"{view.at[11:19]} by the server's clock; Ctrl-C ends the view and nothing else", style="dim")
    )


def _block(seen: Seen) -> RenderableType:
    parts: list[RenderableType] = [Text(plain(title(seen)), style="bold")]
    doing = Text(plain(_doing(seen)), style="bold red" if seen.stalled else "green")
    progress = seen.progress
    row = Table.grid(padding=(0, 2))
    if progress.total and progress.done is not None:
        bar = ProgressBar(total=progress.total, completed=min(progress.done, progress.total), width=30)
        row.add_row(doing, bar, Text(f"{100 * min(progress.done, progress.total) // progress.total} %"))
    else:
        row.add_row(doing)
    below = [Text(_figures(progress))] if _figures(progress) else []
    if seen.waiting:
        below.append(Text(plain(_waits(seen)), style="yellow"))
    if seen.hidden:
        below.append(Text(_HIDDEN, style="dim"))
    if seen.help:
        below.append(Text(seen.help, style="yellow"))
    rows: list[RenderableType] = [row, *below]
    parts += [Padding(one, (0, 0, 0, 2)) for one in rows]
    return Padding(Group(*parts), (0, 0, 1, 0))


def as_json(view: View) -> dict[str, Any]:
    """Return everything that the view holds."""
    return {
        "at": view.at,
        "ledger": view.ledger,
        "working": [_seen_json(seen) for seen in view.working],
        "stalled": [_seen_json(seen) for seen in view.stalled],
        "resting": [_seen_json(seen) for seen in view.resting],
    }


def _seen_json(seen: Seen) -> dict[str, Any]:
    told = asdict(seen)
    told["progress"]["eta"] = seen.progress.eta
    return told
