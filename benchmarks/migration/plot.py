"""The pictures of docs/explanation/costs.md: the same results give the same bytes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from migration.figures import STEPS, WAYS, typical, waits_of, ways_of
from migration.results import Results, Size

WALL_TIME, WAITS = "costs-wall-time.svg", "costs-waits.svg"
#: distinguishable for the colour-blind (Okabe and Ito, and two greys); in the order of STEPS
STEP_COLOURS = dict(
    zip(
        STEPS,
        ("#D55E00", "#E69F00", "#F0E442", "#009E73", "#0072B2", "#56B4E9", "#CC79A7", "#882255", "#777777", "#BBBBBB"),
        strict=True,
    )
)
WAY_LINES = {"a": ("#D55E00", "-"), "b": ("#56B4E9", "--"), "b*": ("#0072B2", ":"), "c": ("#009E73", "-")}
STYLE = {
    "svg.hashsalt": "dupe-audit",  # otherwise the names of elements are random
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw both pictures into a folder, and return their paths."""
    sizes = [size for size in results.sizes if size.runs]
    with mpl.rc_context(STYLE):
        pictures = {WALL_TIME: _wall_time(sizes), WAITS: _waits(sizes)}
        for name, figure in pictures.items():
            figure.suptitle(_caption(results), x=0.01, ha="left", fontsize=7, color="#555555")
            figure.savefig(folder / name, metadata={"Date": None, "Creator": None})
    return [folder / name for name in pictures]


def _caption(results: Results) -> str:
    machine = results.machine
    software = f"dupe-audit {machine.software}, PostgreSQL {machine.server}"
    return f"{results.date}, {software}, {machine.cores} cores, fsync {'on' if machine.fsync else 'off'}"


def _wall_time(sizes: list[Size]) -> Figure:
    """Return one bar per way and size, stacked by step, each from the run with the median wall time."""
    figure = Figure(figsize=(8, 1.2 + 1.3 * len(sizes)), layout="constrained")
    panels = figure.subplots(len(sizes), squeeze=False)[:, 0]
    shown = [step for step in STEPS if any(step in run.steps for size in sizes for run in size.runs)]
    for size, axes in zip(sizes, panels, strict=True):
        runs = [typical(size, way) for way in ways_of(size)]
        left = [0.0] * len(runs)
        for step in shown:
            widths = [run.steps.get(step, 0.0) for run in runs]
            axes.barh([WAYS[run.way] for run in runs], widths, left=left, color=STEP_COLOURS[step], label=STEPS[step])
            left = [start + width for start, width in zip(left, widths, strict=True)]
        axes.invert_yaxis()
        axes.set_title(f"{size.rows:,} rows", loc="left", fontsize=9)
    panels[-1].set_xlabel("seconds")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _waits(sizes: list[Size]) -> Figure:
    """Return, per size, the share of writes that waited at least a given time, both on a logarithmic scale."""
    figure = Figure(figsize=(2 + 3 * len(sizes), 3.6), layout="constrained")
    panels = figure.subplots(1, len(sizes), squeeze=False, sharex=True, sharey=True)[0]
    for size, axes in zip(sizes, panels, strict=True):
        for way in ways_of(size):
            _exceedance(axes, size, way)
        axes.set(xscale="log", yscale="log", xlabel="milliseconds since the write was due")
        axes.set_title(f"{size.rows:,} rows", loc="left", fontsize=9)
        axes.grid(color="#DDDDDD", linewidth=0.5)
    panels[0].set_ylabel("share of writes that took at least as long")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), frameon=False)
    return figure


def _exceedance(axes: Axes, size: Size, way: str) -> None:
    """Draw the line of one way, through enough of its writes that no steps are visible."""
    waits = waits_of(size, way)
    if not waits:
        return
    counts = sorted({round(len(waits) * 10 ** (-place / 100)) for place in range(1000)} - {0}, reverse=True)
    colour, line = WAY_LINES[way]
    shares = [count / len(waits) for count in counts]
    times = [waits[len(waits) - count] for count in counts]
    axes.step(times, shares, where="pre", color=colour, linestyle=line, label=WAYS[way])
