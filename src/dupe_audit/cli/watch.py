"""The command that looks again and again at work that another terminal does."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import click
from rich.live import Live
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import render
from dupe_audit.cli.group import database_options, main, opened
from dupe_audit.errors import Interrupted, WrongUsage
from dupe_audit.postgres.interrupt import sleep
from dupe_audit.postgres.patience import LOG_EVERY
from dupe_audit.postgres.sqlstates import LOCK_NOT_AVAILABLE, QUERY_CANCELED, sqlstate
from dupe_audit.watch import look as progress
from dupe_audit.watch import render as render_watch
from dupe_audit.watch.facts import Seen, View

#: seconds between two looks, where not told otherwise
LOOK_EVERY = 1.0

#: seconds without any work after which that is over: between two revisions nobody works for a moment
OVER_AFTER = 2.0


@main.command()
@click.option("--once", is_flag=True, help="Look once and end.")
@click.option("--until-done", is_flag=True, help="End when the work that was seen is over.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    metavar="SECONDS",
    help="Between two looks. Default: 1; off a terminal, 5 between lines that only count.",
)
@click.option("--format", "style", type=click.Choice(("text", "json")), default="text", show_default=True)
@database_options
def watch(
    once: bool, until_done: bool, interval: float | None, style: str, url_here: str | None, config_here: str | None
) -> None:
    """Show what a cleanup or an index build that runs elsewhere is doing, how far it is, and who blocks it.

    Changes nothing and holds nobody up. Where nothing runs, it waits for work to begin. Ctrl-C ends it.

    \b
    Example: dupe-audit watch
    """
    if style == "json" and not once:
        raise WrongUsage("watch --format json needs --once.")
    with opened(url_here, config_here) as (connection, _url, _config):
        progress.prepare(connection)
        if once:
            view = _confirmed(connection)
            _print_once(view, style)
        else:
            try:
                view = _follow(connection, interval, until_done=until_done)
            except Interrupted:
                raise click.exceptions.Exit(130) from None  # what it looked at goes on
    if view.stalled:
        raise click.exceptions.Exit(1)


def _confirmed(connection: Connection) -> View:
    """Look once; look again before a run is called unfinished, because between two steps nobody works on it."""
    view = progress.look(connection)
    if view.stalled:
        sleep(LOOK_EVERY)
        view = progress.look(connection)
    return view


def _print_once(view: View, style: str) -> None:
    if style == "json":
        render.dump(render_watch.as_json(view), sys.stdout)
    else:
        for line in render_watch.lines(view):
            click.echo(line)


def _follow(connection: Connection, interval: float | None, *, until_done: bool) -> View:
    """Look until the work is over, or for ever; return the last look."""
    out = render.console(sys.stdout)
    if not out.is_terminal:
        lines = Lines(interval or LOG_EVERY)
        return _looking(connection, min(interval or LOOK_EVERY, LOOK_EVERY), lines.show, until_done=until_done)
    with Live(console=out, auto_refresh=False, transient=False) as live:

        def draw(view: View) -> None:
            live.update(render_watch.live(view), refresh=True)

        return _looking(connection, interval or LOOK_EVERY, draw, until_done=until_done)


def _looking(connection: Connection, every: float, show: Callable[[View], None], *, until_done: bool) -> View:
    memory, worked, since = progress.Memory(), None, dict[int, float]()
    while True:
        view = _look(connection, memory)
        now = time.monotonic()
        if view is not None:
            worked = now if view.working else worked
            since = {id_: since.get(id_, now) for id_ in view.unfinished}
            # Between two steps nobody works for a moment; what was at work is called unfinished when it stays so.
            lasting = tuple(
                one for one in view.stalled if worked is None or (one.run and now - since[one.run.id] >= OVER_AFTER)
            )
            if view.working or len(lasting) == len(view.stalled):
                show(replace(view, stalled=lasting))
                if until_done and worked is not None and now - worked >= OVER_AFTER:
                    return view
        sleep(every)


def _look(connection: Connection, memory: progress.Memory) -> View | None:
    try:
        return progress.look(connection, memory)
    except DBAPIError as error:
        if sqlstate(error) not in (QUERY_CANCELED, LOCK_NOT_AVAILABLE):
            raise
        return None  # a busy server, or one of the ledger's tables is locked for a moment; the next look may do better


class Lines:
    """Writes a line where something changed, and at most every few seconds where only figures grow."""

    def __init__(self, every: float) -> None:
        self.every = every
        self._said: dict[object, tuple[object, str, float]] = {}
        self._followed: set[int] = set()
        self._nothing = False

    def show(self, view: View) -> None:
        """Write what is new."""
        seen = (*view.working, *view.stalled)
        for one in seen:
            self._say(one)
        ended = [one for one in view.resting if one.run and one.run.id in self._followed]
        for one in ended:
            self._say(one)
        self._followed = {one.run.id for one in view.working if one.run}
        nothing = not seen
        if nothing and not self._nothing:
            self._write(render_watch.NOTHING if ended else render_watch.rest(view))
        self._nothing = nothing

    def _say(self, seen: Seen) -> None:
        key, kind, told, now = (
            (seen.schema, seen.table),
            render_watch.kind(seen),
            render_watch.line(seen),
            time.monotonic(),
        )
        before = self._said.get(key)
        if before is None or kind != before[0] or (told != before[1] and now - before[2] >= self.every):
            self._said[key] = kind, told, now
            self._write(told)

    def _write(self, text: str) -> None:
        click.echo(f"{datetime.now(UTC).astimezone():%H:%M:%S} {text}")
