"""The group of commands, the modules behind them, and the exit codes of failures."""

from __future__ import annotations

import logging
import os
import re
import sys
import traceback
from functools import cached_property
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn, cast

import click

from dupe_audit.errors import DupeAuditError

#: each command with its short help; the command itself is ``NAME_command`` in the module of the same name
COMMANDS = {
    "check": "Test the revisions on a scratch PostgreSQL whose tables hold duplicates.",
    "consume": "Write the events of Kafka topics into a table, each once, however often they are delivered.",
    "demo": "Show the whole change on a temporary PostgreSQL, with live writers, in under a minute.",
    "preflight": "Count duplicates and find everything that could make the upgrade fail; change nothing.",
    "purge": "Drop archives that are no longer needed.",
    "restore": "Put a run's archived rows back, after dropping its constraint if it has one.",
    "runs": "Show the ledger: each run, its state, rows archived and restored, size of its archive.",
    "verify": "Prove from the catalog and a count that a constraint exists, is valid and holds; change nothing.",
    "watch": "Show the progress of a running cleanup or index build, and who blocks it.",
}

version_option = click.version_option(package_name="dupe-audit")


class LazyCommand(click.Command):
    """The name and the short help of a command whose module is imported when the command is used."""

    @cached_property
    def command(self) -> click.Command:
        """The command itself, with the option that all of them take; its module is imported now."""
        module = import_module(f"dupe_audit.cli.{self.name}")
        return version_option(cast("click.Command", getattr(module, f"{self.name}_command")))

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Parse the arguments as the command itself does; the context returned is that command's."""
        return self.command.make_context(info_name, args, parent, **extra)


class Commands(click.Group):
    """A group whose commands end with the documented exit codes and never with a traceback."""

    def invoke(self, ctx: click.Context) -> None:
        """Execute a command; report a failure in one paragraph."""
        try:
            super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            _end(ctx, 130, "Interrupted. Nothing is left half done; run the same command again.")
        except Exception as error:  # noqa: BLE001 - no traceback reaches a user
            failure = _describe_failure(error, ctx.invoked_subcommand or "The command")
            _end(ctx, failure.exit_code, str(failure))


def _end(ctx: click.Context, code: int, message: str) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    ctx.exit(code)


def _describe_failure(error: Exception, command: str) -> DupeAuditError:
    """Return *error* as one paragraph; if it is unexpected and the user wants it, with its traceback."""
    if isinstance(error, DupeAuditError):
        return error
    if isinstance(error, ImportError) and re.search(r"no pq wrapper|\bpsycopg\b", str(error)):
        return DupeAuditError(
            "psycopg finds no PostgreSQL client library (libpq). Install its binary package: "
            "pip install 'psycopg[binary]'. Or install libpq, on Debian: apt install libpq5"
        )
    from sqlalchemy.exc import DBAPIError

    from dupe_audit.postgres.sqlstates import friendly

    if isinstance(error, DBAPIError):
        return friendly(error, command)
    lead = f"Unexpected error: {type(error).__name__}. Committed work is safe."
    if "DUPE_AUDIT_TRACEBACK" in os.environ:
        return DupeAuditError(f"{lead}\n{_traceback(error)}")
    return DupeAuditError(
        f"{lead} Run the command again with DUPE_AUDIT_TRACEBACK=1 in the environment and report the traceback."
    )


def _traceback(error: Exception) -> str:
    """Return the traceback without the passwords of URLs, which its messages may quote."""
    from dupe_audit.postgres.urls import without_secrets

    before = (click.get_current_context().find_root().obj or {}).get("database_url")
    return without_secrets("".join(traceback.format_exception(error)), [before, os.environ.get("DATABASE_URL")])


@click.group(
    cls=Commands,
    commands={name: LazyCommand(name, short_help=short_help) for name, short_help in COMMANDS.items()},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@version_option
@click.option("--database-url", metavar="URL", help="PostgreSQL URL. Default: DATABASE_URL, then the Alembic config.")
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    envvar="ALEMBIC_CONFIG",
    help="Alembic config file, an ini or a pyproject.toml. Default: alembic.ini.",
)
@click.option(
    "-n", "--section", metavar="SECTION", default="alembic", show_default=True, help="Section of the Alembic config."
)
@click.pass_context
def main(ctx: click.Context, database_url: str | None, config: str | None, section: str) -> None:
    """Put a unique constraint on a live PostgreSQL table that already holds duplicates.

    Alembic does the work (op.archive_duplicates and op.create_unique_constraint_online). These commands inspect the
    table before, verify the result afterwards, and put rows back.

    \b
    Example: dupe-audit preflight --table orders -c customer_id -c placed_at
    """
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        # A terminal or a pipe that is not UTF-8 gets a question mark for what it lacks, instead of a traceback.
        sys.stdout.reconfigure(errors="replace")
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("alembic.dupe_audit").setLevel(logging.INFO)
    ctx.obj = {"database_url": database_url, "config": config, "section": section}
