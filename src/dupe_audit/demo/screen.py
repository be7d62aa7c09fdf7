"""What the demo prints: numbered steps with their time, the log of Alembic below them, and the promises."""

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


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise, whether it was kept, and what was measured."""

    text: str
    kept: bool
    measured: str


class Screen(logging.Handler):
    """The demo's page; a logging handler for what Alembic and the directives say meanwhile."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console
        self.began = time.monotonic()
        self.steps: list[tuple[float, str]] = []  # when each began, to say later during which one a wait was
        self.promises: list[Promise] = []
        self._notes: list[str] = []
        self._status: Status | None = None

    def title(self, text: str) -> None:
        """Print the heading of the page."""
        self.console.print(Text(text, style="bold"))
        self.console.print()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Print the step, how long it took and its notes when it is over, however it ends."""
        began = time.monotonic()
        self.steps.append((began, title))
        self._notes = []
        try:
            # A spinner, and on what is no terminal nothing.
            with self.console.status(Text(title), spinner="line") as self._status:
                yield
        finally:
            self._status = None
            heading = f"{len(self.steps):>2}  {title:<64}{time.monotonic() - began:>6.1f} s"
            self.console.print(Text(heading, style="bold"))
            for note in self._notes:
                lines = textwrap.wrap(note, self.console.width - 4)
                self.console.print(Text(textwrap.indent("\n".join(lines), "    "), style="dim"))

    def note(self, text: str) -> None:
        """Say something below the step's title."""
        self._notes.append(text)
        if self._status:
            self._status.update(Text(text))

    def emit(self, record: logging.LogRecord) -> None:
        """Note what a directive logs, and which revision runs; Alembic's other lines say nothing here."""
        message = record.getMessage()
        if message.startswith("Running"):
            message = " ".join(message.partition(",")[0].split())  # what follows is the revision's docstring
        elif record.name != "alembic.dupe_audit":
            return
        self.note(message.splitlines()[0])

    def promise(self, text: str, measured: str, *, kept: bool) -> None:
        """Enter a promise with its outcome; they are printed together at the end."""
        self.promises.append(Promise(text, kept, measured))

    def step_at(self, moment: float) -> str:
        """Return the number of the step that ran at that moment."""
        return str(sum(began <= moment for began, _ in self.steps))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a small table; all columns but the first hold figures."""
        table = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def conclude(self, footnote: str) -> bool:
        """Print the promises, what has to be known to read them, and the conclusion; return whether all were kept."""
        yes, no = ("yes", "NO") if self.console.options.ascii_only else ("✓", "✗")
        table = Table("", "promise", "measured", box=box.SIMPLE_HEAD, pad_edge=False)
        table.columns[1].no_wrap = True
        for promise in self.promises:
            mark = Text(yes, style="green") if promise.kept else Text(no, style="bold red")
            table.add_row(mark, Text(promise.text), Text(promise.measured))
        self.console.print(table)
        self.console.print(Text(footnote, style="dim"))
        broken = sum(not promise.kept for promise in self.promises)
        took = f"in {time.monotonic() - self.began:.0f} s"
        if broken or not self.promises:
            line = Text(f"{broken} of {len(self.promises)} promises were NOT kept, {took}.", style="bold red")
        else:
            line = Text(f"All {len(self.promises)} promises were kept, {took}.", style="bold green")
        self.console.print(line)
        return not broken and bool(self.promises)


@contextmanager
def listening(screen: Screen) -> Iterator[None]:
    """Show Alembic's log on the screen, and only there."""
    log = logging.getLogger("alembic")
    before = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(screen)
    try:
        yield
    finally:
        log.removeHandler(screen)
        log.level, log.propagate = before
