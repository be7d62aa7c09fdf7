"""The command line: open, call, print."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn, TypeVar

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger, render, revisions
from dupe_audit.connect import connect, describe, find_url
from dupe_audit.constraint import drop
from dupe_audit.driver import friendly, interruptible
from dupe_audit.errors import DupeAuditError, Refused, WrongUsage
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import Batch, BuildRule, CleanupRule, Finding, UniqueKey
from dupe_audit.preflight import preflight as look
from dupe_audit.restore import restore as put_back
from dupe_audit.session import LOG_EVERY
from dupe_audit.verify import verify as prove
from dupe_audit.verify import verify_named

F = TypeVar("F", bound=Callable[..., Any])

ACCEPTABLE = tuple(id_ for id_, entry in CATALOGUE.items() if entry.acceptable)


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


def key_options(command: F) -> F:
    """Name a table and a key."""
    for option in (
        click.option("--nulls-not-distinct", is_flag=True, help="Two NULLs are equal (PostgreSQL 15+)."),
        click.option("--name", metavar="NAME", help="The constraint's name."),
        click.option("-c", "--column", "columns", multiple=True, metavar="COL", help="A column of the key; repeat it."),
        click.option("--table", metavar="TABLE", help="The table's exact name, unquoted."),
        click.option("--schema", metavar="SCHEMA", help="Its schema. Default: the search path's."),
    ):
        command = option(command)
    return command


format_option = click.option(
    "--format", "style", type=click.Choice(render.FORMATS), default="text", show_default=True, help="How to report."
)
work_mem_option = click.option("--work-mem", metavar="SIZE", help="Memory for sorting, such as 256MB.")


@contextmanager
def opened(url_here: str | None, config_here: str | None) -> Iterator[tuple[Connection, str, str]]:
    """Give a connection, its URL and the config file; say first where it leads."""
    given = click.get_current_context().obj
    config = config_here or given["config"]
    url = find_url(url_here or given["database_url"], config)
    with connect(url) as connection, interruptible(connection):
        click.echo(describe(connection), err=True)
        yield connection, url, config


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that a single long statement is at work, and for how long."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(
        *columns, console=render.console(sys.stderr), transient=True, disable=not sys.stderr.isatty()
    ) as progress:
        progress.add_task(what, total=None)
        yield


def _exit(findings: Iterable[Finding]) -> None:
    """End with 1 where anything but an info was found."""
    if any(found.severity != "info" for found in findings):
        raise click.exceptions.Exit(1)


@main.command()
@key_options
@click.option(
    "--references",
    type=click.Choice(("refuse", "repoint")),
    default="refuse",
    show_default=True,
    help="Whether children of extras stop the cleanup or follow the survivor.",
)
@click.option("--ignore", multiple=True, metavar="COL", help="A column in which copies may differ; repeat it.")
@click.option("--accept", multiple=True, type=click.Choice(ACCEPTABLE), help="A finding you take responsibility for.")
@click.option("--show-keys", is_flag=True, help="Print the key values of the largest groups.")
@work_mem_option
@format_option
@database_options
def preflight(
    schema: str | None,
    table: str | None,
    columns: tuple[str, ...],
    name: str | None,
    nulls_not_distinct: bool,
    references: Literal["refuse", "repoint"],
    ignore: tuple[str, ...],
    accept: tuple[str, ...],
    show_keys: bool,
    work_mem: str | None,
    style: str,
    url_here: str | None,
    config_here: str | None,
) -> None:
    """Count duplicates and find everything that could make the upgrade fail; change nothing.

    Without --table: every key that pending revisions are about to enforce.

    \b
    Example: dupe-audit preflight --table agent_actions -c correlation_id -c action_name -c created_at
    """
    planned: list[tuple[UniqueKey, CleanupRule | None]] = []
    if table:
        key = UniqueKey(table=table, columns=columns, schema=schema, name=name, nulls_not_distinct=nulls_not_distinct)
        planned.append((key, CleanupRule(ignore=ignore, references=references)))
    elif columns or name or schema:
        raise WrongUsage("A key needs --table and at least one -c COLUMN.")
    with opened(url_here, config_here) as (connection, url, config):
        if not table:
            project = revisions.read(config, connection, url)
            _say_unreadable(project)
            planned += [(one.key, one.rule) for one in project.pending]
        with working("counting duplicates"):
            reports = [
                look(connection, key, rule, accept=accept, show_keys=show_keys, work_mem=work_mem)
                for key, rule in planned
            ]
    if style == "json":
        objects = [render.preflight_json(report) for report in reports]
        render.dump(objects[0] if table else objects, sys.stdout)
    else:
        render.preflight(reports, style, sys.stdout)
        if not reports:
            click.echo("No pending revision enforces a key.", err=True)
    _exit(found for report in reports for found in report.findings)


@main.command()
@key_options
@work_mem_option
@format_option
@database_options
def verify(
    schema: str | None,
    table: str | None,
    columns: tuple[str, ...],
    name: str | None,
    nulls_not_distinct: bool,
    work_mem: str | None,
    style: str,
    url_here: str | None,
    config_here: str | None,
) -> None:
    """Prove from the catalog and by counting that a constraint is there, valid and true; change nothing.

    Without --table: every key that applied revisions declare.

    \b
    Example: dupe-audit verify --table agent_actions --name unique_action_per_correlation_timestamp
    """
    if table and not name:
        raise WrongUsage("verify --table needs the constraint's --name.")
    with opened(url_here, config_here) as (connection, url, config):
        if table:
            with working("verifying"):
                report = verify_named(
                    connection,
                    table=table,
                    name=str(name),
                    schema=schema,
                    columns=columns,
                    nulls_not_distinct=nulls_not_distinct,
                    work_mem=work_mem,
                )
            reports = [report]
        elif columns or name or schema:
            raise WrongUsage("A key needs --table and the constraint's --name.")
        else:
            project = revisions.read(config, connection, url)
            _say_unreadable(project)
            with working("verifying"):
                reports = [prove(connection, one.key, work_mem=work_mem) for one in project.applied]
    if style == "json":
        objects = [render.verify_json(report) for report in reports]
        render.dump(objects[0] if table else objects, sys.stdout)
    else:
        render.verify(reports, style, sys.stdout)
        if not reports:
            click.echo("No applied revision enforces a key.", err=True)
    _exit(found for report in reports for found in report.findings)


def _say_unreadable(project: revisions.Project) -> None:
    for revision in project.unreadable:
        click.echo(f"Revision {revision} cannot be read without a database; its keys are not seen.", err=True)


@main.command()
@format_option
@database_options
def runs(style: str, url_here: str | None, config_here: str | None) -> None:
    """Show the ledger: each run, its state, rows archived and restored, size of its archive.

    \b
    Example: dupe-audit runs --format json
    """
    with opened(url_here, config_here) as (connection, _url, _config):
        known = [one for one, _rule in ledger.find(connection, "true")]
    if style == "json":
        render.dump([render.run_json(one) for one in known], sys.stdout)
    else:
        render.runs(known, style, sys.stdout)


@main.command()
@click.argument("run", type=click.IntRange(min=1))
@click.option("--batch-size", type=click.IntRange(1, 100_000), default=5000, show_default=True, help="Rows per commit.")
@database_options
def restore(run: int, batch_size: int, url_here: str | None, config_here: str | None) -> None:
    """Put a run's archived rows back, and drop its constraint first, where that stands in the way.

    This is what alembic downgrade does, for when Alembic cannot: after an upgrade that stopped half way.
    Stopped, it continues when it is run again.

    \b
    Example: dupe-audit restore 1
    """
    with opened(url_here, config_here) as (connection, _url, _config):
        known, _rule = ledger.get(connection, run)
        if known.constraint_name and known.state != "restored" and known.purged_at is None:
            key = UniqueKey(
                table=known.table_name,
                schema=known.schema_name,
                columns=known.key_columns,
                name=known.constraint_name,
            )
            drop(connection, key, BuildRule())
            click.echo(f"Constraint {known.constraint_name} is dropped.", err=True)
        restored, returned = _shown(put_back(connection, run, batch_size=batch_size), "restoring")
    children = f", {returned:,} children pointed back" if returned else ""
    click.echo(f"run {run}: {restored:,} rows restored{children}")
    if known.state == "enforced" and known.revision:
        click.echo(
            f"Alembic still takes revision {known.revision} for applied: use alembic stamp, if that is no longer so.",
            err=True,
        )


@main.command()
@click.argument("run", type=click.IntRange(min=1), nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_options
def purge(run: tuple[int, ...], yes: bool, url_here: str | None, config_here: str | None) -> None:
    """Drop archives that are no longer needed. Rows that were not restored are gone then.

    \b
    Example: dupe-audit purge 1 --yes
    """
    with opened(url_here, config_here) as (connection, _url, _config):
        for number in run:
            known, _rule = ledger.get(connection, number)
            left = known.archived - known.restored
            question = (
                f"Drop the archive of run {number}, with {left:,} rows of {known.table_name} that are nowhere else?"
            )
            if not yes and not click.confirm(question, err=True):
                raise Refused([], lead=f"Run {number} was not purged.")
            ledger.purge(connection, number)
            click.echo(f"run {number}: archive dropped")


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


def _shown(batches: Iterable[Batch], doing: str) -> tuple[int, int]:
    """Drain the batches; show a bar on a terminal, and a line every few seconds elsewhere; return rows and children."""
    moved, repointed, said = 0, 0, time.monotonic()
    with Progress(console=render.console(sys.stderr), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(doing, total=None)
        for batch in batches:
            moved += batch.archived + batch.restored
            repointed += batch.repointed
            progress.update(task, total=batch.total, completed=batch.done)
            if not sys.stderr.isatty() and time.monotonic() - said > LOG_EVERY:
                said = time.monotonic()
                click.echo(f"{doing}: {batch.done:,} of {batch.total:,} rows", err=True)
    return moved, repointed


if __name__ == "__main__":
    main()
