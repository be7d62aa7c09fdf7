"""The commands that look and change nothing: preflight, verify, runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import click
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from dupe_audit import ledger, render
from dupe_audit.cli.group import database_options, main, opened
from dupe_audit.directives import revisions
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import STEPS
from dupe_audit.findings.entry import Finding
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.preflight import preflight as look
from dupe_audit.verify import verify as prove
from dupe_audit.verify import verify_named

F = TypeVar("F", bound=Callable[..., Any])

ACCEPTABLE = tuple(id_ for id_, entry in STEPS.items() if entry.acceptable)


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


def _say_unreadable(project: revisions.RevisionKeys) -> None:
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
        known = [one for one, _rule in ledger.find_runs(connection, "true")]
    if style == "json":
        render.dump([render.run_json(one) for one in known], sys.stdout)
    else:
        render.runs(known, style, sys.stdout)
