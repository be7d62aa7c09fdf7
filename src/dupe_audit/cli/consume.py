"""Write the events of Kafka topics into a table."""

from __future__ import annotations

import os

import click

from dupe_audit.cli.options import located_url
from dupe_audit.consumer import consume, logs, read


@click.command("consume")
@click.argument("file", metavar="CONFIG", type=click.Path())
@click.option("--replay-dlq", is_flag=True, help="Replay the existing dead letters once instead of reading the topics.")
@click.option("--check", is_flag=True, help="Validate CONFIG only; connect to nothing.")
@click.option("--database-url", metavar="URL", help="PostgreSQL URL, if CONFIG has none.")
def consume_command(file: str, replay_dlq: bool, check: bool, database_url: str | None) -> None:
    """Write the events of Kafka topics into a table, each once, however often they are delivered.

    Continues until SIGTERM or Ctrl-C.

    \b
    Needs: pip install 'dupe-audit[kafka]'
    Example: dupe-audit consume consumer.toml
    """
    config = read(file, os.environ)
    if check:
        click.echo(f"{file}: {', '.join(config.kafka.topics)} → {config.table.key}")
        return
    url = config.database.url or located_url(database_url)
    logs.set_up()
    raise click.exceptions.Exit(consume(config, url, replay=replay_dlq))
