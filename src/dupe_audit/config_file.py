"""The config of an Alembic project, read as Alembic reads it, and what makes it unreadable."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from configparser import Error as ConfigError
from contextlib import contextmanager
from pathlib import Path
from tomllib import TOMLDecodeError

from alembic.config import Config
from alembic.util import CommandError

from dupe_audit.errors import WrongUsage

#: Alembic 1.16 and later also read their configuration from this file
PYPROJECT = "pyproject.toml"


@contextmanager
def report_unreadable_config(config_file: str) -> Iterator[None]:
    """Describe what makes an Alembic config unreadable, without its text, which can contain a password.

    Raises:
        WrongUsage: the block could not read the config.
    """
    try:
        yield
    except (TOMLDecodeError, CommandError) as error:
        file = config_file if Path(config_file).suffix == ".toml" else PYPROJECT
        raise WrongUsage(f"{file} cannot be read: {error}. Correct it: Alembic reads [tool.alembic] in it.") from None
    except (ConfigError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise WrongUsage(
            f"{config_file} cannot be read: {type(error).__name__}{where}. Name the Alembic config with --config: an "
            "ini file or a pyproject.toml."
        ) from None


def alembic_config(file: str, *, section: str = "alembic", x: Sequence[str] = ()) -> Config:
    """Return the Alembic config of a file as Alembic reads it, with a ``pyproject.toml`` if there is one.

    Args:
        file: an ini file or a ``pyproject.toml``; it need not exist.
        section: of the ini file.
        x: arguments for env.py, as for ``alembic -x``.

    Raises:
        WrongUsage: the ini file cannot be parsed, or lacks the section.
    """
    is_toml = Path(file).suffix == ".toml"
    ini = Path(file).with_name("alembic.ini") if is_toml else Path(file)
    toml = Path(file) if is_toml else Path(PYPROJECT)
    config = Config(
        str(ini) if ini.is_file() else None,
        toml_file=toml if toml.is_file() else None,
        ini_section=section,
        cmd_opts=Namespace(x=list(x) or None),
    )
    if ini.is_file():
        _require_readable(config, file, section)
    if ini.is_file() and ini.with_name("env.py").is_file() and not _has_location(config, section):
        # Flask-Migrate keeps its config beside env.py and passes the location itself.
        config.set_main_option("script_location", str(ini.absolute().parent).replace("%", "%%"))
    return config


def _require_readable(config: Config, file: str, section: str) -> None:
    """Parse the ini file of a config.

    Raises:
        WrongUsage: it cannot be parsed, or lacks the section; without [alembic], pyproject.toml may suffice.
    """
    with report_unreadable_config(file):
        has_section = config.file_config.has_section(section)
    if not has_section and section != "alembic":
        raise WrongUsage(f"{file} has no section [{section}]. Name one that it has with -n.")


def _has_location(config: Config, section: str) -> bool:
    location = "script_location"
    return config.file_config.has_option(section, location) or location in config.toml_alembic_config
