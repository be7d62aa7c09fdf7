"""The commands that are a program of their own: demo and consume."""

from __future__ import annotations

import os
import sys

import click

from dupe_audit import render
from dupe_audit.cli.group import main
from dupe_audit.connect import find_url


@main.command()
@click.option("--rows", type=click.IntRange(1000, 5_000_000), default=200_000, show_default=True)
@click.option("--extras", type=click.IntRange(1, 500_000), default=3_745, show_default=True)
@click.option("--writers", type=click.IntRange(2, 16), default=4, show_default=True)
def demo(rows: int, extras: int, writers: int) -> None:
    """Show the whole story on a temporary PostgreSQL of its own, with live writers, in under a minute.

    Ends with 1 if any promise was not kept. Needs: pip install 'dupe-audit[embedded]'

    \b
    Example: dupe-audit demo
    """
    from dupe_audit.demo import demo as tell

    if not tell(rows=rows, extras=extras, writers=writers, console=render.console(sys.stdout)):
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("file", metavar="CONFIG", type=click.Path())
@click.option("--replay-dlq", is_flag=True, help="Read the dead letters that are there, once, instead of the topics.")
@click.option("--check", is_flag=True, help="Read CONFIG, say what is wrong with it, and connect to nothing.")
@click.option("--database-url", "url_here", metavar="URL", help="PostgreSQL URL, if CONFIG has none.")
def consume(file: str, replay_dlq: bool, check: bool, url_here: str | None) -> None:
    """Write the events of Kafka topics into a table, each once, however often they are delivered.

    Runs until SIGTERM or Ctrl-C. Needs: pip install 'dupe-audit[kafka]'

    \b
    Example: dupe-audit consume consumer.toml
    """
    from dupe_audit import consumer
    from dupe_audit.consumer import logs

    config = consumer.read(file, os.environ)
    if check:
        click.echo(f"{file}: {', '.join(config.kafka.topics)} → {config.table.key}")
        return
    given = click.get_current_context().obj
    url = config.database.url or find_url(url_here or given["database_url"], given["config"])
    logs.set_up()
    raise click.exceptions.Exit(consumer.consume(config, url, replay=replay_dlq))
