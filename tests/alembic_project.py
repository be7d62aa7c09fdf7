"""A small Alembic project in a temporary folder, whose revisions a test writes as text."""

import os
import subprocess
import textwrap
import uuid
from pathlib import Path

from launch import Launcher, ended
from waiting import PATIENCE

ENVIRONMENT = """
import logging
import os
import dupe_audit.ops
from alembic import context
from sqlalchemy import create_engine, pool

logging.basicConfig(level=logging.INFO)
if context.is_offline_mode():
    context.configure(url=os.environ["DATABASE_URL"], target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect() as connection:
        context.configure(connection=connection, target_metadata=None)
        with context.begin_transaction():
            context.run_migrations()
"""

#: Python that lets the server keep a silent client longer than a busy machine takes between two statements
LONGER_WINDOW = """
from dupe_audit.constraint import window
window.HELD_IDLE_LIMIT = "1min"
"""

REVISION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = {revision!r}, {below!r}


def upgrade():
{up}


def downgrade():
{down}
"""


class Project:
    """An Alembic project in a folder of its own, whose revisions are given as text."""

    def __init__(self, folder: Path, database_url: str, launcher: Launcher) -> None:
        self.folder, self.launcher = folder, launcher
        self.environment = {**os.environ, "DATABASE_URL": database_url}
        (folder / "migrations" / "versions").mkdir(parents=True)
        (folder / "alembic.ini").write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
        self.env(ENVIRONMENT)
        self.revision("0001", None, "pass", "op.execute('DROP TABLE IF EXISTS application')")

    def env(self, text: str) -> None:
        """Write another env.py."""
        (self.folder / "migrations" / "env.py").write_text(text)

    def revision(self, name: str, below: str | None, up: str, down: str = "pass") -> None:
        """Write a revision, given the lines of its two functions."""
        indented = {
            key: textwrap.indent(textwrap.dedent(text), "    ") for key, text in {"up": up, "down": down}.items()
        }
        text = REVISION.format(revision=name, below=below, **indented)
        (self.folder / "migrations" / "versions" / f"{name}.py").write_text(text)

    def start(self, *arguments: str, program: str = "alembic") -> tuple[subprocess.Popen[bytes], Path]:
        """Start a program in the folder; return the process and the file of its output."""
        log = self.folder / f"{uuid.uuid4().hex}.log"
        with log.open("w") as out:
            process = self.launcher.start(
                program, *arguments, cwd=self.folder, env=self.environment, stdout=out, stderr=out
            )
        return process, log

    def script(self, *arguments: str) -> str:
        """Return the SQL that alembic prints."""
        done = self.launcher.run("alembic", *arguments, "--sql", cwd=self.folder, env=self.environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *arguments: str, program: str = "alembic") -> tuple[int, str]:
        """Return the exit code and the output, on one line for comparisons."""
        process, log = self.start(*arguments, program=program)
        code = ended(process, PATIENCE)
        output = log.read_text()
        assert "Traceback" not in output, output
        return code, " ".join(output.split())
