"""The view of ``dupe-audit watch`` as lines, as a live view, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dupe_audit.findings import quantity
from dupe_audit.layout import plain
from dupe_audit.watch.facts import Activity, RunSummary, View

#: each phase in words
_PHASES = {
    "preparing": "between two steps",
    "ranking": "ranking the table",
    "cleaning": "cleaning",
    "building": "building the index",
    "removing": "removing an unfinished index",
    "attaching": "attaching the index as a constraint",
    "verifying": "verifying",
    "dropping": "dropping the constraint",
    "restoring": "restoring",
}

_UNITS = {"rows": "rows restored", "transactions": "transactions waited for"}

NOTHING = "Nothing is running."
NO_LEDGER = "Nothing is running, and nothing was ever cleaned in this database."

_HIDDEN = "this role cannot see what the session is doing (GRANT pg_read_all_stats)"


def duration(seconds: float) -> str:
    """Return seconds as people read them: ``59 s``, ``1 min 0 s``, ``2 h 1 min``."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def title(activity: Activity) -> str:
    """Return the run and its table."""
    table = f"{activity.schema}.{activity.table}"
    if activity.run is None:
        return table
    return f"run {activity.run.id}, {table} ({', '.join(activity.run.columns)})"


def kind(activity: Activity) -> tuple[object, ...]:
    """Return what makes a line worth writing at once: everything except figures that grow."""
    run = activity.run and (activity.run.id, activity.run.state)
    blockers = tuple((blocker.pid, blocker.name) for blocker in activity.blockers)
    return activity.phase, activity.progress.step, activity.waiting, blockers, activity.stalled, run


def line(activity: Activity) -> str:
    """Return everything about one table in one line."""
    run = f"run {activity.run.id} " if activity.run else ""
    parts = [f"{run}{activity.schema}.{activity.table}: {_doing(activity)}"]
    if figures := _figures(activity):
        parts.append(figures)
    if activity.waiting:
        parts.append(_waits(activity))
    if activity.hidden:
        parts.append(_HIDDEN)
    return plain("; ".join(parts) + (f". {activity.help}" if activity.help else ""))


def _doing(activity: Activity) -> str:
    if activity.phase is None:
        return _state(activity)
    step = f" ({activity.progress.step})" if activity.progress.step else ""
    leaf = f" of {activity.leaf}" if activity.leaf else ""
    return f"{_PHASES[activity.phase]}{leaf}{step}"


def _state(activity: Activity) -> str:
    run = activity.run
    if run is None:
        return "unknown"
    state = f"{run.state}, purged" if run.purged else run.state
    back = run.restored + run.reverted
    restored = f", {back:,} restored" if back else ""
    if activity.stalled:
        handled = run.archived + run.amended
        archived = f"{handled:,} of {quantity(run.extras, 'extra')} {run.outcome}"
        return f"UNFINISHED, and no session is working on it ({state}; {archived}{restored})"
    constraint = f" by {run.constraint}" if run.state == "enforced" and run.constraint else ""
    without = ", without a constraint" if run.state == "clean" else ""
    merged = f", {run.merged:,} merged" if run.merged else ""
    return f"{state}{constraint}{without}; {_handled(run)}{merged}{restored}"


def _handled(run: RunSummary) -> str:
    """Return how many rows a run has archived and amended."""
    if run.outcome == "amended":
        return f"{quantity(run.amended, 'row')} amended"
    amended = f", {run.amended:,} amended" if run.amended else ""
    return f"{quantity(run.archived, 'row')} archived{amended}"


def _figures(activity: Activity) -> str:
    progress = activity.progress
    if progress.done is None or progress.unit is None:
        return ""
    total = "" if progress.total is None else f" of {progress.total:,}"
    parts = [f"{progress.done:,}{total} {_unit(activity, progress.unit)}"]
    if progress.rate:
        parts.append(f"{progress.rate:,.0f} per second")
    if progress.eta:
        parts.append(f"about {duration(progress.eta)} left in this phase")
    return ", ".join(parts)


def _unit(activity: Activity, unit: str) -> str:
    """Return what a progress counts, and what becomes of it."""
    if unit == "extras":
        return f"extras {activity.run.outcome if activity.run else 'archived'}"
    if unit == "rows" and activity.run and activity.run.outcome != "archived":
        return "rows restored or changed back"
    return _UNITS.get(unit, unit)


def _waits(activity: Activity) -> str:
    blockers = "; ".join(str(blocker) for blocker in activity.blockers)
    return f"waiting for {blockers or 'a session that has since released its lock'}"


def lines(view: View) -> list[str]:
    """Return one line per table, or one that says that nothing is running."""
    return [line(activity) for activity in (*view.working, *view.stalled)] or [idle(view)]


def idle(view: View) -> str:
    """Return the line for a database in which nothing is running."""
    if not view.ledger:
        return NO_LEDGER
    return f"{NOTHING} Last: {line(view.resting[0])}" if view.resting else NOTHING


def live(view: View) -> RenderableType:
    """Return the view that a terminal redraws."""
    blocks = [_block(activity) for activity in (*view.working, *view.stalled)]
    body = blocks or [Text(idle(view))]
    return Group(*body, Text(f"{view.at[11:19]}, the server's clock; Ctrl-C ends only this view", style="dim"))


def _block(activity: Activity) -> RenderableType:
    parts: list[RenderableType] = [Text(plain(title(activity)), style="bold")]
    doing = Text(plain(_doing(activity)), style="bold red" if activity.stalled else "green")
    progress = activity.progress
    row = Table.grid(padding=(0, 2))
    if progress.total and progress.done is not None:
        bar = ProgressBar(total=progress.total, completed=min(progress.done, progress.total), width=30)
        row.add_row(doing, bar, Text(f"{100 * min(progress.done, progress.total) // progress.total} %"))
    else:
        row.add_row(doing)
    below = [Text(_figures(activity))] if _figures(activity) else []
    if activity.waiting:
        below.append(Text(plain(_waits(activity)), style="yellow"))
    if activity.hidden:
        below.append(Text(_HIDDEN, style="dim"))
    if activity.help:
        below.append(Text(activity.help, style="yellow"))
    rows: list[RenderableType] = [row, *below]
    parts += [Padding(content, (0, 0, 0, 2)) for content in rows]
    return Padding(Group(*parts), (0, 0, 1, 0))


def as_json(view: View) -> dict[str, Any]:
    """Return everything that the view holds."""
    return {
        "at": view.at,
        "ledger": view.ledger,
        "working": [_activity_json(activity) for activity in view.working],
        "stalled": [_activity_json(activity) for activity in view.stalled],
        "resting": [_activity_json(activity) for activity in view.resting],
    }


def _activity_json(activity: Activity) -> dict[str, Any]:
    values = asdict(activity)
    values["progress"]["eta"] = activity.progress.eta
    return values
