"""Check the migrations in CI."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO, cast

import click

from dupe_audit.checks import Options, Seeding, examine, render, render_ci
from dupe_audit.checks.report import CheckProgress, CheckReport
from dupe_audit.cli.options import accept_option, or_before_the_command, x_option
from dupe_audit.cli.progress import progress
from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.findings import CHECK
from dupe_audit.postgres.interrupt import signal_handler

ACCEPTABLE = tuple(id_ for id_, entry in CHECK.items() if entry.acceptable)

FORMATS: dict[str, Callable[[CheckReport, IO[str]], None]] = {
    "text": render.text,
    "json": render.json,
    "junit": render_ci.junit,
    "sarif": render_ci.sarif,
    "github": render_ci.github,
}


#: what --against means without a URL
CONFIGURED = "configured"


def _require_value(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty. Give a URL, or --against alone for the configured database.")
    return value


def _files(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, Path], ...]:
    reports = []
    for value in values:
        style, equals, file = value.partition("=")
        if style not in FORMATS or not equals or not file:
            raise click.BadParameter(f"{value!r} is not FORMAT=FILE; formats are {', '.join(FORMATS)}.")
        reports.append((style, Path(file)))
    return tuple(reports)


@click.command("check")
@click.option("--config", metavar="FILE", help="Alembic config file.")
@click.option(
    "--from", "from_", metavar="REV", default="base", show_default=True, help="Last revision that is not checked."
)
@click.option("--to", metavar="REV", default="heads", show_default=True, help="Last revision that is checked.")
@click.option(
    "--rows", type=click.IntRange(20, 1_000_000), default=1000, show_default=True, help="Rows per table that is filled."
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Random seed; changes which rows become duplicates."
)
@click.option(
    "--seed-sql", metavar="DIR", type=click.Path(path_type=Path), help="Directory of your own rows: DIR/REVISION.sql."
)
@click.option(
    "--server", metavar="embedded|URL", default="embedded", show_default=True, help="Server for the scratch databases."
)
@click.option(
    "--against",
    is_flag=False,
    flag_value=CONFIGURED,
    metavar="[URL]",
    callback=_require_value,
    help="Also report what is pending in a database: that of URL, or the configured one.",
)
@click.option(
    "--writers",
    multiple=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="File or directory of code whose INSERTs are checked; repeatable.",
)
@click.option("--squawk", is_flag=True, help="Also lint the SQL of the revisions with squawk.")
@accept_option(ACCEPTABLE, metavar="FINDING")
@x_option
@click.option(
    "--format", "style", type=click.Choice(tuple(FORMATS)), default="text", show_default=True, help="Output format."
)
@click.option(
    "--report",
    "reports",
    multiple=True,
    metavar="FORMAT=FILE",
    callback=_files,
    help="Also write the report to FILE in this format; repeatable.",
)
def check_command(
    config: str | None,
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
    """Test the revisions on a scratch PostgreSQL whose tables hold duplicates.

    Each revision goes up, down and up again; schema and rows are compared in between. The configured database is
    not touched: every connection of env.py is redirected to the scratch database.

    \b
    Needs: pip install 'dupe-audit[embedded]', or --server
    Example: dupe-audit check --from 2f1c8a --format github
    """
    database_url, config_file = or_before_the_command(None, config)
    if click.get_current_context().obj["section"] != "alembic":
        raise WrongUsage("check reads the section [alembic] of the config only; it does not take -n.")
    options = Options(
        config=config_file,
        from_=from_,
        to=to,
        server=server,
        seeding=Seeding(rows=rows, seed=seed, directory=seed_sql),
        writers=writers,
        squawk=squawk,
        against=database_url or "" if against == CONFIGURED else against,
        accept=accept,
        x=x,
    )
    # CI ends a job with SIGTERM: as Ctrl-C, so that scratch databases are dropped and servers stopped.
    with signal_handler(signal.default_int_handler, signal.SIGTERM):
        report = _examined(options)
    for format_, path in reports:
        try:
            with path.open("w", encoding="utf-8") as file:
                FORMATS[format_](report, file)
        except OSError as error:
            raise DupeAuditError(f"--report: {path} cannot be written: {error.strerror}.") from error
    FORMATS[style](report, sys.stdout)
    if not report.ok:
        raise click.exceptions.Exit(1)


def _examined(options: Options) -> CheckReport:
    """Return the report of a check, and display its progress meanwhile."""
    stages: Generator[CheckProgress, None, CheckReport] = examine(options)
    with progress("reading revisions") as display:
        while True:
            try:
                at = next(stages)
            except StopIteration as end:
                return cast("CheckReport", end.value)
            display.show(at.doing, at.done, at.total)
