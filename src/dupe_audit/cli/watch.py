"""Look again and again at work that another session does."""

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

from dupe_audit import layout
from dupe_audit.cli.options import database_options, opened
from dupe_audit.errors import Interrupted, WrongUsage
from dupe_audit.postgres.interrupt import sleep
from dupe_audit.postgres.patience import LOG_EVERY
from dupe_audit.postgres.sqlstates import LOCK_NOT_AVAILABLE, QUERY_CANCELED, sqlstate
from dupe_audit.render import dump
from dupe_audit.watch import render
from dupe_audit.watch.facts import Activity, View
from dupe_audit.watch.look import Memory, look, prepare

#: seconds between two looks, by default
LOOK_EVERY = 1.0

#: seconds without any work after which it is over: between two revisions no session works for a moment
OVER_AFTER = 2.0


@click.command("watch")
@click.option("--once", is_flag=True, help="Look once, then exit.")
@click.option("--until-done", is_flag=True, help="Exit when the observed work has ended.")
@click.option(
    "--interval",
    type=click.FloatRange(0.2, 3600),
    metavar="SECONDS",
    help="Seconds between updates; off a terminal, between lines in which only figures changed. Default: 1; "
    "off a terminal, 5.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="Output format; json needs --once.",
)
@database_options
def watch_command(
    once: bool, until_done: bool, interval: float | None, style: str, database_url: str | None, config: str | None
) -> None:
    """Show the progress of a running cleanup or index build, and who blocks it.

    Changes nothing and delays nobody. If nothing is running, it waits for work to begin. Ctrl-C ends it.

    \b
    Example: dupe-audit watch
    """
    if style == "json" and not once:
        raise WrongUsage("watch --format json needs --once.")
    with opened(database_url, config) as database:
        connection = database.connection
        prepare(connection)
        if once:
            view = _look_once(connection)
            _print_once(view, style)
        else:
            try:
                view = _follow(connection, interval, until_done=until_done)
            except Interrupted:
                raise click.exceptions.Exit(130) from None  # the work itself continues
    if view.stalled:
        raise click.exceptions.Exit(1)


def _look_once(connection: Connection) -> View:
    """Look once; look again before a run is called unfinished, because no session works on it between two steps."""
    view = look(connection)
    if view.stalled:
        sleep(LOOK_EVERY)
        view = look(connection)
    return view


def _print_once(view: View, style: str) -> None:
    if style == "json":
        dump(render.as_json(view), sys.stdout)
    else:
        for line in render.lines(view):
            click.echo(line)


def _follow(connection: Connection, interval: float | None, *, until_done: bool) -> View:
    """Look until the work is over, or until Ctrl-C; return the last view."""
    console = layout.console(sys.stdout)
    if not console.is_terminal:
        lines = Lines(interval or LOG_EVERY)
        return _look_until_over(connection, min(interval or LOOK_EVERY, LOOK_EVERY), lines.show, until_done=until_done)
    with Live(console=console, auto_refresh=False, transient=False) as live:

        def draw(view: View) -> None:
            live.update(render.live(view), refresh=True)

        return _look_until_over(connection, interval or LOOK_EVERY, draw, until_done=until_done)


def _look_until_over(connection: Connection, every: float, show: Callable[[View], None], *, until_done: bool) -> View:
    memory, worked_at, stalled_since = Memory(), None, dict[int, float]()
    while True:
        view = _look_or_skip(connection, memory)
        now = time.monotonic()
        if view is not None:
            worked_at = now if view.working else worked_at
            stalled_since = {id_: stalled_since.get(id_, now) for id_ in view.unfinished}
            # Between two steps no session works for a moment; a run is called unfinished if that lasts.
            lasting = tuple(
                activity
                for activity in view.stalled
                if worked_at is None or (activity.run and now - stalled_since[activity.run.id] >= OVER_AFTER)
            )
            if view.working or len(lasting) == len(view.stalled):
                show(replace(view, stalled=lasting))
                if until_done and worked_at is not None and now - worked_at >= OVER_AFTER:
                    return view
        sleep(every)


def _look_or_skip(connection: Connection, memory: Memory) -> View | None:
    """Look; return None if the server is busy or the ledger is locked for a moment: the next look may succeed."""
    try:
        return look(connection, memory)
    except DBAPIError as error:
        if sqlstate(error) not in (QUERY_CANCELED, LOCK_NOT_AVAILABLE):
            raise
        return None


class Lines:
    """Writes a line when something changed, and at most one every few seconds when only figures grow.

    Args:
        every: seconds between two lines about a table in which only figures differ.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self._written: dict[object, tuple[object, str, float]] = {}
        self._followed: set[int] = set()
        self._idle = False

    def show(self, view: View) -> None:
        """Write what changed since the last view."""
        active = (*view.working, *view.stalled)
        for activity in active:
            self._write_change(activity)
        ended = [activity for activity in view.resting if activity.run and activity.run.id in self._followed]
        for activity in ended:
            self._write_change(activity)
        self._followed = {activity.run.id for activity in view.working if activity.run}
        idle = not active
        if idle and not self._idle:
            self._write(render.NOTHING if ended else render.idle(view))
        self._idle = idle

    def _write_change(self, activity: Activity) -> None:
        table, kind, line = (
            (activity.schema, activity.table),
            render.kind(activity),
            render.line(activity),
        )
        now, previous = time.monotonic(), self._written.get(table)
        if previous is None or kind != previous[0] or (line != previous[1] and now - previous[2] >= self.every):
            self._written[table] = kind, line, now
            self._write(line)

    def _write(self, text: str) -> None:
        click.echo(f"{datetime.now(UTC).astimezone():%H:%M:%S} {text}")
