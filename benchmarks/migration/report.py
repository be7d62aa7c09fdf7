"""The tables of docs/explanation/costs.md."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from migration.figures import (
    STEPS,
    WAYS,
    Spread,
    fastest_query,
    percentile,
    ratios,
    runs_of,
    spread,
    typical,
    waits_of,
    ways_of,
)
from migration.queries import PREFLIGHT, WITH_INDEXES
from migration.results import Results, Run, Size
from migration.writers import PROFILES, RATE

MARKS = "<!-- make bench: {name} -->\n{text}<!-- end -->"
TITLES = {
    "ratios": "Ratios of two runs of the same repetition:",
    "waits": "Milliseconds from when a write was due until it was done:",
    "steps": "Seconds by step, in the run with the median wall time:",
    "queries": "All bare queries:",
}
PICTURES = """
![Bars of the wall time of each way and size, divided into steps](costs-wall-time.svg)

![Lines of the share of writes that waited at least a given time, for each way and size](costs-waits.svg)
"""
SHOWN_STATEMENTS = 12


def sections(results: Results) -> dict[str, str]:
    """Return the Markdown of each section of the page for which there are figures."""
    waits = "Rows | Way | p50 | p99 | p99.9 | Longest | Longest on extras and survivors"
    quotients = "Rows | Ratio | Wall time | WAL | Longest write | Longest on extras and survivors"
    texts = {
        "conditions": conditions(results),
        "ways": table("Rows | Way | Wall time, s | WAL, MB | Temporary files, MB", results, _ways),
        "ratios": table(quotients, results, _ratios),
        "waits": table(waits, results, _waits),
        "steps": "\n".join(_steps(size) for size in results.sizes if size.runs),
        "preflight": table("Rows | Preflight, s | Fastest bare query, s | Ratio | Which", results, _queries),
        "queries": table("Rows | Bare query | Seconds | Preflight takes", results, _bare),
        "restore": table("Rows | Cleanup, s | Restore, s | Ratio", results, _restores),
        "memory": table("Rows | Peak memory of the upgrading process, MB", results, _memory),
    }
    return {name: f"{TITLES[name]}\n\n{text}" if name in TITLES else text for name, text in texts.items() if text}


def markdown(results: Results) -> str:
    """Return all sections, and the slowest statements of each size, which the page does not show."""
    profiles = [_statements(size) for size in results.sizes if runs_of(size, "c")]
    return "\n".join([*sections(results).values(), *profiles])


def replaced(page: str, results: Results, *, pictures: bool) -> str:
    """Return the page with the sections between its marks replaced; sections without figures stay."""
    texts = sections(results) | ({"pictures": PICTURES} if pictures else {})
    for name, text in texts.items():
        beginning, end = map(re.escape, MARKS.format(name=name, text="TEXT").split("TEXT"))
        block = MARKS.format(name=name, text=text)
        page = re.sub(f"{beginning}.*?{end}", lambda _, block=block: block, page, flags=re.DOTALL)
    return page


def conditions(results: Results) -> str:
    """Return the conditions of the measurement, in one paragraph."""
    machine = results.machine
    counts = sorted({len(runs_of(size, way)) for size in results.sizes for way in ways_of(size)})
    repetitions = f"Repetitions of each way: {' or '.join(map(str, counts))}.\n" if counts else ""
    return (
        f"Measured on {results.date} with dupe-audit {machine.software} and PostgreSQL {machine.server}, "
        f"on {machine.cores} cores shared with {len(PROFILES)} writers of {RATE} writes per second each, "
        f"`fsync` {'on' if machine.fsync else 'off'}, seed {machine.seed}.\n"
        f"{repetitions}"
        "Each figure is a median, with the smallest and the largest in parentheses where they differ. "
        f"Load average before the first run: {results.load:.1f}.\n"
    )


def table(header: str, results: Results, lines: Callable[[Size], Iterator[list[str]]]) -> str:
    """Return a table whose first column has the number of rows, once per size; empty if it has no lines."""
    body = []
    for size in results.sizes:
        for number, cells in enumerate(lines(size)):
            body.append(_line([f"{size.rows:,}" if number == 0 else "", *cells]))
    return "".join([*_head(header.split(" | ")), *body]) if body else ""


def _ways(size: Size) -> Iterator[list[str]]:
    for way in ways_of(size):
        runs = runs_of(size, way)
        yield [
            WAYS[way],
            _spread((run.wall for run in runs), ".2f"),
            *(_spread((getattr(run, name) / 1e6 for run in runs), ",.0f") for name in ("wal", "temp")),
        ]


def _ratios(size: Size) -> Iterator[list[str]]:
    figures: tuple[tuple[str, Callable[[Run], float]], ...] = (
        (".2f", lambda run: run.wall),
        (".2f", lambda run: run.wal),
        (".2g", lambda run: run.longest()),
        (".2g", lambda run: run.longest("grouped")),
    )
    for other in ("b", "b*", "a"):
        quotients = [(ratios(size, "c", other, figure), form) for form, figure in figures]
        if any(quotient for quotient, _ in quotients):
            cells = [_text(quotient, form) if quotient else "" for quotient, form in quotients]
            yield [f"{WAYS['c']} / {WAYS[other]}", *cells]


def _memory(size: Size) -> Iterator[list[str]]:
    if runs := runs_of(size, "c"):
        yield [_spread((run.memory / 1e6 for run in runs), ".0f")]


def _waits(size: Size) -> Iterator[list[str]]:
    for way in ways_of(size):
        runs, waits = runs_of(size, way), waits_of(size, way)
        shares = [_milliseconds(percentile(waits, share)) if waits else "" for share in (0.5, 0.99, 0.999)]
        longest = [spread(run.longest(*profiles) for run in runs) for profiles in ((), ("grouped",))]
        yield [WAYS[way], *shares, *(_text_of(each, _milliseconds) for each in longest)]


def _steps(size: Size) -> str:
    """Return a table of the seconds of each step, in the run with the median wall time of each way."""
    ways = ways_of(size)
    runs = {way: typical(size, way) for way in ways}
    lines = [_line(cells) for cells in _step_lines(ways, runs)]
    head = _head([f"{size.rows:,} rows", *(WAYS[way] for way in ways)])
    return "".join([*head, *lines])


def _step_lines(ways: list[str], runs: dict[str, Run]) -> Iterator[list[str]]:
    for step, label in STEPS.items():
        seconds = [runs[way].steps.get(step, 0.0) for way in ways]
        if any(seconds):
            yield [label, *(f"{value:.2f}" if value else "" for value in seconds)]
    yield ["wall time", *(f"{runs[way].wall:.2f}" for way in ways)]


def _queries(size: Size) -> Iterator[list[str]]:
    if size.queries:
        name = fastest_query(size.queries)
        quotients = [repetition[PREFLIGHT] / repetition[name] for repetition in size.queries]
        seconds = [_spread((repetition[each] for repetition in size.queries), ".2f") for each in (PREFLIGHT, name)]
        yield [*seconds, _spread(quotients, ".2f"), name]


def _bare(size: Size) -> Iterator[list[str]]:
    for name in size.queries[0] if size.queries else ():
        if name != PREFLIGHT:
            quotients = [repetition[PREFLIGHT] / repetition[name] for repetition in size.queries]
            seconds = _spread((repetition[name] for repetition in size.queries), ".2f")
            label = "with indexes, which preflight must not trust" if name == WITH_INDEXES else name
            yield [label, seconds, f"{_spread(quotients, '.2f')} times as long"]


def _restores(size: Size) -> Iterator[list[str]]:
    if size.restores:
        quotients = [repetition["restore"] / repetition["cleanup"] for repetition in size.restores]
        seconds = [
            _spread((repetition[name] for repetition in size.restores), ".2f") for name in ("cleanup", "restore")
        ]
        yield [*seconds, _spread(quotients, ".2f")]


def _statements(size: Size) -> str:
    """Return the statements of (c) that took longest, in the run with the median wall time."""
    run = typical(size, "c")
    longest = sorted(run.statements.items(), key=lambda item: -item[1])[:SHOWN_STATEMENTS]
    head = _head([f"{size.rows:,} rows, (c) by statement", "Seconds"])
    return "".join([*head, *(_line([name, f"{seconds:.3f}"]) for name, seconds in longest)])


def _spread(values: Iterable[float], form: str) -> str:
    return _text(spread(values), form)


def _text(figures: Spread, form: str) -> str:
    return _text_of(figures, lambda value: format(value, form))


def _text_of(figures: Spread, shown: Callable[[float], str]) -> str:
    low, high = shown(figures.low), shown(figures.high)
    return shown(figures.median) if low == high else f"{shown(figures.median)} ({low} to {high})"


def _milliseconds(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _head(names: list[str]) -> list[str]:
    return [_line(names), "|" + "---|" * len(names) + "\n"]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
