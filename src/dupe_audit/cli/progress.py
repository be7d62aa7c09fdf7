"""Progress on standard error: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.progress import Progress, TimeElapsedColumn

from dupe_audit.layout import console
from dupe_audit.postgres.patience import Throttle


class Display:
    """One piece of work and how far it is."""

    def __init__(self, bar: Progress, doing: str) -> None:
        self._bar = bar
        self._task = bar.add_task(doing, total=None)
        self._throttle = Throttle(quiet_at_first=True)

    def show(self, doing: str, done: int, total: int, unit: str = "") -> None:
        """Show that *done* of *total* is finished; ``unit`` is what the figures count, such as ``rows``."""
        self._bar.update(self._task, description=doing, completed=done, total=total)
        if self._bar.disable and self._throttle.due():
            click.echo(f"{doing}: {done:,} of {total:,} {unit}".rstrip(), err=True)


@contextmanager
def progress(doing: str) -> Iterator[Display]:
    """Display work until the block ends; on a terminal its duration is shown even if the work reports nothing."""
    bar = Progress(
        *Progress.get_default_columns(),
        TimeElapsedColumn(),
        console=console(sys.stderr),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with bar:
        yield Display(bar, doing)
