"""The application context that the ``env.py`` of Flask-Migrate needs, as ``flask db`` provides it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from dupe_audit.errors import DupeAuditError

_USES_FLASK = re.compile(r"^\s*(?:from|import)\s+flask\b", re.MULTILINE)


@contextmanager
def application_context(directory: Path) -> Iterator[None]:
    """Load the Flask application that ``FLASK_APP`` names, and push its context, if ``env.py`` needs one.

    Args:
        directory: of the project's scripts.

    Raises:
        DupeAuditError: Flask finds no application.
    """
    env = directory / "env.py"
    uses_flask = env.is_file() and _USES_FLASK.search(env.read_text("utf-8", errors="replace"))
    if find_spec("flask") is None or not (uses_flask or "FLASK_APP" in os.environ):
        yield
        return
    # By name, because Flask is a dependency of the project, not of this package.
    flask, cli = import_module("flask"), import_module("flask.cli")
    if flask.has_app_context():
        yield
        return
    cli.load_dotenv()
    try:
        app = cli.ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()
    except cli.NoAppException as error:
        raise DupeAuditError(
            f"env.py needs a Flask application, and none was found: {str(error).splitlines()[0]} "
            "Set FLASK_APP as for `flask db`, and run the command in the same directory."
        ) from error
    with app.app_context():
        yield
