"""Show the whole change on its own temporary server."""

from __future__ import annotations

import sys

import click

from dupe_audit.demo import demo
from dupe_audit.layout import console


@click.command("demo")
@click.option(
    "--rows",
    type=click.IntRange(1000, 5_000_000),
    default=200_000,
    show_default=True,
    help="Rows in the table, extras included.",
)
@click.option(
    "--extras",
    type=click.IntRange(1, 500_000),
    default=3_745,
    show_default=True,
    help="Rows whose key another row already has.",
)
@click.option(
    "--writers",
    type=click.IntRange(2, 16),
    default=4,
    show_default=True,
    help="Processes that write during the demo.",
)
def demo_command(rows: int, extras: int, writers: int) -> None:
    """Show the whole change on a temporary PostgreSQL, with live writers, in under a minute.

    Exits with 1 if any promise was not kept.

    \b
    Needs: pip install 'dupe-audit[embedded]'
    Example: dupe-audit demo
    """
    if not demo(rows=rows, extras=extras, writers=writers, console=console(sys.stdout, width=140)):
        raise click.exceptions.Exit(1)
