"""Options that several commands share, and the connection that most of them open."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from sqlalchemy import Connection

from dupe_audit.config_file import alembic_config
from dupe_audit.connect import Address, connect, describe, locate
from dupe_audit.directives import revisions
from dupe_audit.directives.options import size
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import CATALOGUE, Finding, similar
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.render import FORMATS

#: Alembic's own default
DEFAULT_CONFIG = "alembic.ini"
#: where `flask db init` puts it
FLASK_CONFIG = "migrations/alembic.ini"

F = TypeVar("F", bound=Callable[..., Any])

format_option = click.option(
    "--format", "style", type=click.Choice(FORMATS), default="text", show_default=True, help="Output format."
)


def _size(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return value if value is None else size(value)
    except WrongUsage as error:
        raise click.BadParameter(f"{error}.") from None


work_mem_option = click.option(
    "--work-mem", metavar="SIZE", callback=_size, help="Memory for each sort, such as 256MB."
)


class _Acceptable(click.Choice):  # type: ignore[type-arg]  # generic only from click 8.4 on
    """The id of a finding that can be accepted."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the id.

        Raises:
            click.BadParameter: it is not the id of a finding, or the command does not accept this finding.
        """
        if value in self.choices:
            return value
        ids = f"Those that can be accepted: {', '.join(self.choices)}."
        if value in CATALOGUE:
            here = " here" if CATALOGUE[value].acceptable else ""
            self.fail(f"{value!r} cannot be accepted{here}. {ids}", param, ctx)
        return self.fail(f"{value!r} is not the id of a finding. {similar(value, self.choices)}{ids}", param, ctx)


def accept_option(findings: Iterable[str], *, metavar: str | None = None) -> Callable[[F], F]:
    """Take the ids of findings that do not fail the command; without *metavar*, the help lists them."""
    return click.option(
        "--accept",
        multiple=True,
        type=_Acceptable(tuple(findings)),
        metavar=metavar,
        help="Finding to accept; repeatable.",
    )


x_option = click.option(
    "-x", "x", multiple=True, metavar="NAME=VALUE", help="Argument for env.py, as with alembic -x; repeatable."
)


def database_options(command: F) -> F:
    """Take the connection's options after the command's name, too."""
    command = click.option("--config", metavar="FILE", help="Alembic config file. Default: alembic.ini.")(command)
    return click.option(
        "--database-url", metavar="URL", help="PostgreSQL URL. Default: DATABASE_URL, then the Alembic config."
    )(command)


def or_before_the_command(database_url: str | None, config: str | None) -> tuple[str | None, str]:
    """Return URL and config file as given after the command's name, else as given before it.

    Raises:
        WrongUsage: an option is empty, or a config file was given and does not exist.
    """
    before = click.get_current_context().obj
    url = before["database_url"] if database_url is None else database_url
    file = before["config"] if config is None else config
    for option, value in (("--database-url", url), ("--config", file)):
        # An unset variable in a shell script must not select a different database from the intended one.
        if value is not None and not value.strip():
            raise WrongUsage(f"{option} is empty. Give a value, or leave the option out.")
    if file is not None and not Path(file).is_file():
        raise WrongUsage(
            f"The Alembic config {file!r} does not exist. Name it with --config, or change to the project's directory."
        )
    return url, _default_config() if file is None else file


def _default_config() -> str:
    """Return the config that is used if none is given: Alembic's default, or else that of Flask-Migrate."""
    if Path(DEFAULT_CONFIG).is_file() or not Path(FLASK_CONFIG).is_file():
        return DEFAULT_CONFIG
    return DEFAULT_CONFIG if alembic_config(DEFAULT_CONFIG).toml_alembic_config else FLASK_CONFIG


@dataclass(frozen=True, slots=True)
class Opened:
    """An open database, and where it was found."""

    connection: Connection
    address: Address
    config: str  #: file
    section: str  #: of the config file


def located_url(database_url: str | None) -> str:
    """Return the URL of the database, from the options or their defaults."""
    database_url, config = or_before_the_command(database_url, None)
    return locate(database_url, config, section=click.get_current_context().obj["section"]).url


@contextmanager
def opened(database_url: str | None, config: str | None) -> Iterator[Opened]:
    """Open the database; print which one it is; yield it."""
    database_url, config = or_before_the_command(database_url, config)
    section = click.get_current_context().obj["section"]
    address = locate(database_url, config, section=section)
    with connect(address.url, source=address.source) as connection, interruptible(connection):
        click.echo(describe(connection), err=True)
        yield Opened(connection, address, config, section)


def read_project(database: Opened, x: tuple[str, ...]) -> revisions.RevisionKeys:
    """Read the keys that the Alembic project declares, and what of it cannot be read."""
    return revisions.read(database.config, database.connection, database.address, section=database.section, x=x)


def exit_by(findings: Iterable[Finding]) -> None:
    """End with 1 if a finding is more than an info.

    Raises:
        click.exceptions.Exit: it is.
    """
    if any(finding.severity != "info" for finding in findings):
        raise click.exceptions.Exit(1)
