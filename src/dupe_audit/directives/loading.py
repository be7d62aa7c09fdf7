"""Load the files of an Alembic project, which are its own code, and keep what they print and log off our output."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from dupe_audit.config_file import report_unreadable_config
from dupe_audit.directives import failures
from dupe_audit.errors import WrongUsage


def load(config: Config, config_file: str, *, instead: str) -> ScriptDirectory:
    """Load the revisions of a project; no database is needed.

    Args:
        config: as Alembic reads it.
        config_file: its path, for messages.
        instead: what the user can do instead of naming another config, for the message that it does not exist.

    Raises:
        WrongUsage: the config does not exist or cannot be read, or names no directory of scripts.
        DupeAuditError: a revision's file cannot be loaded, or the revisions are not in order.
    """
    with report_unreadable_config(config_file):
        exists = config.toml_alembic_config or config.config_file_name or Path(config_file).is_file()
        config.file_config.sections()  # reads it
    if not exists:
        raise WrongUsage(
            f"The Alembic config {config_file!r} does not exist. Give its path with --config, or {instead}."
        )
    try:
        script = ScriptDirectory.from_config(config)
    except Exception as error:
        reason = str(error).split(".  Please")[0].rstrip(".")
        remedy = "Correct its script_location."
        if reason.startswith("No 'script_location'"):
            section = "tool.alembic" if Path(config_file).suffix == ".toml" else config.config_ini_section
            remedy = f"Add script_location to its section [{section}]."
        raise WrongUsage(f"Alembic cannot read the project of {config_file}: {reason}. {remedy}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what Alembic warns about is an error below
            script.get_heads()
    except (Exception, SystemExit) as error:
        raise failures.revisions_error(error, script) from error
    if failure := failures.repeated(script):
        raise failure
    return script


@contextmanager
def isolated(database_url: str | None, *, quiet: int) -> Iterator[None]:
    """Keep the output and the logging of a project's files off ours, and let ``env.py`` read a URL.

    Everything is restored at the end.

    Args:
        database_url: the value of ``DATABASE_URL``, or None to leave it as it is.
        quiet: log messages up to this level are not about the command, such as Alembic's own while it loads.
    """
    root, before = logging.root, os.environ.get("DATABASE_URL")
    disabled, handlers, level = root.manager.disable, list(root.handlers), root.level
    logging.disable(quiet)
    if database_url is not None:
        os.environ["DATABASE_URL"] = database_url
    try:
        with redirect_stdout(sys.stderr):  # reports are written to standard output
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers  # fileConfig() of env.py replaces them
        root.setLevel(level)
        if before is not None:
            os.environ["DATABASE_URL"] = before
        elif database_url is not None:
            del os.environ["DATABASE_URL"]
