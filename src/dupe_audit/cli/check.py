"""The CI migration check."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, cast

import click
from rich.progress import Progress

from dupe_audit import render
from dupe_audit.checks import render as render_check
from dupe_audit.checks import render_ci
from dupe_audit.checks.report import CheckProgress, CheckReport
from dupe_audit.cli.group import main
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import CHECK
from dupe_audit.postgres.patience import LOG_EVERY

ACCEPTABLE = tuple(id_ for id_, entry in CHECK.items() if entry.acceptable)

FORMATS: dict[str, Callable[[CheckReport, IO[str]], None]] = {
    "text": render_check.text,
    "json": render_check.json,
    "junit": render_ci.junit,
    "sarif": render_ci.sarif,
    "github": render_ci.github,
}


def _files(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[str, Path], ...]:
    told = []
    for one in given:
        form, equals, file = one.partition("=")
        if form not in FORMATS or not equals or not file:
            raise click.BadParameter(f"{one!r} is not FORMAT=FILE; formats are {', '.join(FORMATS)}.")
        told.append((form, Path(file)))
    return tuple(told)


@main.command()
@click.option("--config", "config_here", metavar="FILE", help="Alembic config.")
@click.option("--from", "from_", metavar="REV", default="base", show_default=True, help="Check what comes after it.")
@click.option("--to", metavar="REV", default="heads", show_default=True, help="The last revision to check.")
@click.option("--rows", type=click.IntRange(20, 1_000_000), default=1000, show_default=True, help="Rows a table.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another one makes other rows duplicates.")
@click.option("--seed-sql", metavar="DIR", type=click.Path(path_type=Path), help="Your own rows: DIR/REVISION.sql.")
@click.option(
    "--server", metavar="URL", default="embedded", show_default=True, help="Where scratch databases are made."
)
@click.option(
    "--against", is_flag=False, flag_value="", metavar="[URL]", help="Also report what is pending in a database."
)
@click.option("--writers", multiple=True, metavar="PATH", type=click.Path(path_type=Path), help="Code with INSERTs.")
@click.option("--squawk", is_flag=True, help="Also lint the SQL of the revisions with squawk.")
@click.option("--accept", multiple=True, type=click.Choice(ACCEPTABLE), metavar="FINDING", help="One that may stand.")
@click.option("-x", "x", multiple=True, metavar="NAME=VALUE", help="As for alembic -x.")
@click.option(
    "--format", "style", type=click.Choice(tuple(FORMATS)), default="text", show_default=True, help="How to report."
)
@click.option(
    "--report", "reports", multiple=True, metavar="FORMAT=FILE", callback=_files, help="Also write it to a file."
)
def check(
    config_here: str | None,
    from_: str,
    to: str,
    rows: int,
    seed: int,
    seed_sql: Path | None,
    server: str,
    against: str | None,
    writers: tuple[Path, ...],
    squawk: bool,
    accept: tuple[str, ...],
    x: tuple[str, ...],
    style: str,
    reports: tuple[tuple[str, Path], ...],
) -> None:
    """Try the revisions on a scratch PostgreSQL with duplicates in its tables: up, down, compared, and up again.

    The configured database is not touched: every connection of env.py is led to the scratch.
    Needs: pip install 'dupe-audit[embedded]', or --server.

    \b
    Example: dupe-audit check --from 2f1c8a --format github
    """
    from dupe_audit.checks import Options, Seeding, examine

    given = click.get_current_context().obj
    options = Options(
        config=config_here or given["config"],
        from_=from_,
        to=to,
        server=server,
        seeding=Seeding(rows=rows, seed=seed, directory=seed_sql),
        writers=writers,
        squawk=squawk,
        against=None if against is None else against or given["database_url"] or "",
        accept=accept,
        x=x,
    )
    with _termination_heard():
        report = _shown(examine(options))
    for form, path in reports:
        try:
            with path.open("w", encoding="utf-8") as file:
                FORMATS[form](report, file)
        except OSError as error:
            raise DupeAuditError(f"--report: {path} cannot be written: {error.strerror}.") from error
    FORMATS[style](report, sys.stdout)
    if not report.ok:
        raise click.exceptions.Exit(1)


@contextmanager
def _termination_heard() -> Iterator[None]:
    """Take SIGTERM, with which CI ends a job, as Ctrl-C, so that scratch databases are dropped and servers stopped.

    While a directive works, it has a handler of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _shown(going: Generator[CheckProgress, None, CheckReport]) -> CheckReport:
    """Drain a check; show a bar on a terminal, and a line every few seconds elsewhere."""
    said = time.monotonic()
    with Progress(console=render.console(sys.stderr), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("reading revisions", total=None)
        while True:
            try:
                at = next(going)
            except StopIteration as end:
                return cast("CheckReport", end.value)
            progress.update(task, description=at.doing, completed=at.done, total=at.total)
            if not sys.stderr.isatty() and time.monotonic() - said > LOG_EVERY:
                said = time.monotonic()
                click.echo(f"{at.doing}: {at.done:,} of {at.total:,}", err=True)
