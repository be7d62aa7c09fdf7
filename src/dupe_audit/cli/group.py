"""The group of commands, its exit codes, and the connection that most commands open."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import click
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.connect import connect, describe, find_url
from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.postgres.sqlstates import friendly

F = TypeVar("F", bound=Callable[..., Any])


class Commands(click.Group):
    """A group whose commands end with the documented exit codes and never with a traceback."""

    def invoke(self, ctx: click.Context) -> None:
        """Run a command; say what went wrong in one paragraph."""
        try:
            super().invoke(ctx)
        except DupeAuditError as error:
            self._end(ctx, error.exit_code, str(error))
        except DBAPIError as error:
            told = friendly(error, ctx.invoked_subcommand or "The command")
            self._end(ctx, told.exit_code, str(told))
        except KeyboardInterrupt:
            self._end(ctx, 130, "Interrupted. Nothing half done is left; the same command starts again.")
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            # The last resort: a traceback helps nobody at a prompt.
            if "DUPE_AUDIT_TRACEBACK" in os.environ:
                raise
            self._end(
                ctx,
                3,
                f"Something unforeseen happened ({type(error).__name__}). Nothing that was committed is lost. "
                "Set DUPE_AUDIT_TRACEBACK=1, run it again, and report what it prints.",
            )

    def _end(self, ctx: click.Context, code: int, message: str) -> NoReturn:
        click.echo(f"Error: {message}", err=True)
        ctx.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="dupe-audit")
@click.option("--database-url", metavar="URL", help="PostgreSQL URL. Default: DATABASE_URL, then the Alembic config.")
@click.option("-c", "--config", metavar="FILE", default="alembic.ini", show_default=True, help="Alembic config.")
@click.pass_context
def main(ctx: click.Context, database_url: str | None, config: str) -> None:
    """Put a unique constraint on a live PostgreSQL table that already holds duplicates.

    Alembic does the work (op.archive_duplicates and op.create_unique_constraint_online); these commands look
    before, prove after, and put rows back.

    \b
    Example: dupe-audit preflight --table orders -c customer_id -c placed_at
    """
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("alembic.dupe_audit").setLevel(logging.INFO)
    ctx.obj = {"database_url": database_url, "config": config}


def database_options(command: F) -> F:
    """Take the connection's options after the command's name, too."""
    command = click.option("--config", "config_here", metavar="FILE", help="Alembic config.")(command)
    return click.option("--database-url", "url_here", metavar="URL", help="PostgreSQL URL.")(command)


@contextmanager
def opened(url_here: str | None, config_here: str | None) -> Iterator[tuple[Connection, str, str]]:
    """Give a connection, its URL and the config file; say first where it leads."""
    given = click.get_current_context().obj
    config = config_here or given["config"]
    url = find_url(url_here or given["database_url"], config)
    with connect(url) as connection, interruptible(connection):
        click.echo(describe(connection), err=True)
        yield connection, url, config
