"""Options that several commands share, and the connection that most of them open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click
from sqlalchemy import Connection

from dupe_audit.connect import connect, describe, find_url
from dupe_audit.directives import revisions
from dupe_audit.findings import Finding
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.render import FORMATS

F = TypeVar("F", bound=Callable[..., Any])

format_option = click.option(
    "--format", "style", type=click.Choice(FORMATS), default="text", show_default=True, help="Output format."
)
work_mem_option = click.option("--work-mem", metavar="SIZE", help="Memory for each sort, such as 256MB.")


def key_options(command: F) -> F:
    """Take the options that name a table and a key."""
    for option in (
        click.option("--nulls-not-distinct", is_flag=True, help="Treat NULLs as equal (PostgreSQL 15 and later)."),
        click.option("--name", metavar="NAME", help="Name of the constraint, planned or existing."),
        click.option("-c", "--column", "columns", multiple=True, metavar="COL", help="Column of the key; repeatable."),
        click.option("--table", metavar="TABLE", help="Exact name of the table, unquoted."),
        click.option("--schema", metavar="SCHEMA", help="Schema of the table. Default: from the search path."),
    ):
        command = option(command)
    return command


def database_options(command: F) -> F:
    """Take the connection's options after the command's name, too."""
    command = click.option("--config", metavar="FILE", help="Alembic config file. Default: alembic.ini.")(command)
    return click.option(
        "--database-url", metavar="URL", help="PostgreSQL URL. Default: DATABASE_URL, then the Alembic config."
    )(command)


def or_before_the_command(database_url: str | None, config: str | None) -> tuple[str | None, str]:
    """Return URL and config file as given after the command's name, else as given before it."""
    before = click.get_current_context().obj
    return database_url or before["database_url"], config or before["config"]


@contextmanager
def opened(database_url: str | None, config: str | None) -> Iterator[tuple[Connection, str, str]]:
    """Open the database; print which one it is; yield the connection, its URL and the config file."""
    database_url, config = or_before_the_command(database_url, config)
    url = find_url(database_url, config)
    with connect(url) as connection, interruptible(connection):
        click.echo(describe(connection), err=True)
        yield connection, url, config


def read_project(config: str, connection: Connection, url: str) -> revisions.RevisionKeys:
    """Read the keys that the Alembic project declares; name the revisions that cannot be read."""
    project = revisions.read(config, connection, url)
    for revision in project.unreadable:
        click.echo(
            f"Revision {revision} cannot be read without being executed, so not all of its keys are examined. "
            "To examine one, name it: --table TABLE -c COLUMN.",
            err=True,
        )
    return project


def exit_by(findings: Iterable[Finding]) -> None:
    """End with 1 if a finding is more than an info.

    Raises:
        click.exceptions.Exit: it is.
    """
    if any(finding.severity != "info" for finding in findings):
        raise click.exceptions.Exit(1)
