"""The demo's output: numbered scenes with their times, Alembic's log below each, and the promises."""

from __future__ import annotations

import logging
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from dupe_audit.findings import quantity


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise, whether it was kept, and what was measured."""

    text: str
    kept: bool
    measured: str


class Screen(logging.Handler):
    """The demo's page; also a logging handler, for what Alembic and the directives log meanwhile."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.started_at = time.monotonic()
        self.scenes: list[tuple[float, str]] = []  # start and title, to find the scene of a wait later
        self.promises: list[Promise] = []
        self._notes: list[str] = []
        self._status: Status | None = None

    def title(self, text: str) -> None:
        """Print the heading of the page."""
        self.console.print(Text(text, style="bold"))
        self.console.print()

    @contextmanager
    def scene(self, title: str) -> Iterator[None]:
        """Print the scene with its duration and its notes once it is over, however it ends."""
        started_at = time.monotonic()
        self.scenes.append((started_at, title))
        self._notes = []
        try:
            # A spinner on a terminal, nothing elsewhere.
            with self.console.status(Text(title), spinner="line") as self._status:
                yield
        finally:
            self._status = None
            heading = f"{len(self.scenes):>2}  {title:<64}{time.monotonic() - started_at:>6.1f} s"
            self.console.print(Text(heading, style="bold"))
            for note in self._notes:
                lines = textwrap.wrap(note, self.console.width - 4)
                self.console.print(Text(textwrap.indent("\n".join(lines), "    "), style="dim"))

    def note(self, text: str) -> None:
        """Add a line below the scene's title."""
        self._notes.append(text)
        if self._status:
            self._status.update(Text(text))

    def emit(self, record: logging.LogRecord) -> None:
        """Note what a directive logs, and which revision is applied; skip Alembic's other lines."""
        message = record.getMessage()
        if message.startswith("Running"):
            message = " ".join(message.partition(",")[0].split())  # the rest is the revision's docstring
        elif record.name != "alembic.dupe_audit":
            return
        self.note(message.splitlines()[0])

    def promise(self, text: str, measured: str, *, kept: bool) -> None:
        """Record a promise with its outcome; all of them are printed at the end."""
        self.promises.append(Promise(text, kept, measured))

    def scene_at(self, moment: float) -> str:
        """Return the number of the scene at *moment* of the monotonic clock."""
        return str(sum(started_at <= moment for started_at, _ in self.scenes))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a small table; all columns but the first hold figures."""
        table = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def conclude(self, footnote: str) -> bool:
        """Print the promises, the footnote and the conclusion; return whether all promises were kept."""
        tick, cross = ("yes", "NO") if self.console.options.ascii_only else ("✓", "✗")
        table = Table("", "promise", "measured", box=box.SIMPLE_HEAD, pad_edge=False)
        table.columns[1].no_wrap = True
        for promise in self.promises:
            mark = Text(tick, style="green") if promise.kept else Text(cross, style="bold red")
            table.add_row(mark, Text(promise.text), Text(promise.measured))
        self.console.print(table)
        self.console.print(Text(footnote, style="dim"))
        total, failed = len(self.promises), sum(not promise.kept for promise in self.promises)
        duration = f"in {time.monotonic() - self.started_at:,.0f} s"
        if failed or not total:
            line = Text(f"{failed} of {quantity(total, 'promise')} were NOT kept, {duration}.", style="bold red")
        else:
            line = Text(f"All {quantity(total, 'promise')} were kept, {duration}.", style="bold green")
        self.console.print(line)
        return not failed and bool(self.promises)


@contextmanager
def listening(screen: Screen) -> Iterator[None]:
    """Show Alembic's log on the screen, and only there."""
    log = logging.getLogger("alembic")
    previous = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(screen)
    try:
        yield
    finally:
        log.removeHandler(screen)
        log.level, log.propagate = previous
