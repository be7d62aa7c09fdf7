"""alembic and dupe-audit as processes, on the reference project."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from alembic_project import LONGER_WINDOW, Project
from launch import Launcher

ROOT = Path(__file__).parents[2]
KEY = "correlation_id, action_name, created_at"
NAME = "unique_action_per_correlation_timestamp"

#: fixtures that need the reference project at a revision
BEGINS_AT = {"agent_actions": "014", "large": "014", "migrated": "015", "seeded": "016", "deliver": "head"}

#: the URL that `alembic init` writes
PLACEHOLDER = "driver://user:pass@localhost/dbname"

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """The environment of a process that uses the test's database."""
    return {**os.environ, "DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """The reference project, whose writers may be held longer, so that a busy machine is fast enough for it."""
    project = shutil.copytree(ROOT / "alembic", tmp_path / "alembic").parent
    shutil.copy(ROOT / "alembic.ini", project)
    revision = project / "alembic" / "versions" / "015_unique_action.py"
    text = revision.read_text()
    assert "        KEY,\n        comment=" in text
    revision.write_text(text.replace("        KEY,\n", "        KEY,\n        lock_timeout='20s',\n") + LONGER_WINDOW)
    return project


@pytest.fixture
def alembic(environment: dict[str, str], launcher: Launcher) -> Run:
    """Run alembic on the reference project."""

    def run(*arguments: str, code: int = 0, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        done = launcher.run("alembic", *arguments, cwd=cwd, env=environment)
        assert done.returncode == code, done.stderr
        return done

    return run


@pytest.fixture
def dupe_audit(environment: dict[str, str], launcher: Launcher) -> Run:
    """Run dupe-audit in the repository's root, which contains alembic.ini."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = launcher.run("dupe_audit.cli", *arguments, cwd=ROOT, env=environment)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    return run


class AlembicProject:
    """A project that `alembic init` has made, in a directory of its own."""

    def __init__(self, directory: Path, environment: dict[str, str], launcher: Launcher) -> None:
        self.directory, self.environment, self._launcher = directory, environment, launcher
        self.scripts = directory / "migrations"
        self._last: str | None = None

    def alembic(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run alembic in the project's directory."""
        return self._run("alembic", arguments, code)

    def dupe_audit(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run dupe-audit in the project's directory."""
        done = self._run("dupe_audit.cli", arguments, code)
        assert "Traceback" not in done.stderr
        assert "Unexpected" not in done.stderr
        return done

    def _run(self, module: str, arguments: tuple[str, ...], code: int) -> subprocess.CompletedProcess[str]:
        done = self._launcher.run(module, *arguments, cwd=self.directory, env=self.environment)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done

    def init(self, template: str = "generic") -> None:
        """Create the project with the URL of the test's database; its env.py imports the directives."""
        self.alembic("init", "-t", template, "migrations")
        self.edit_env("from alembic import context\n", "from alembic import context\n\nimport dupe_audit.ops\n")
        self.configure()

    def configure(self) -> None:
        """Write the URL of the test's database into the config."""
        ini = self.directory / "alembic.ini"
        url = self.environment["DATABASE_URL"].replace("%", "%%")
        ini.write_text(ini.read_text().replace(PLACEHOLDER, url))

    def edit_env(self, old: str, new: str) -> None:
        """Replace a text in env.py."""
        env = self.scripts / "env.py"
        text = env.read_text()
        assert old in text
        env.write_text(text.replace(old, new))

    def revision(self, id_: str, *upgrade: str, down: str | None = "", header: str = "") -> Path:
        """Write a revision after the last one, whose upgrade() has these lines."""
        parent = self._last if down == "" else down
        self._last = id_
        lines = "\n".join(f"    {line}" for line in upgrade or ("pass",))
        file = self.scripts / "versions" / f"{id_}.py"
        file.write_text(
            f"import sqlalchemy as sa\nfrom alembic import context, op\n{header}\n"
            f"revision = {id_!r}\ndown_revision = {parent!r}\n\n\n"
            f"def upgrade():\n{lines}\n\n\ndef downgrade():\n"
            # An error says that the way back is no subject of the test, so preflight does not miss a restore.
            "    if context.is_offline_mode():\n        raise NotImplementedError('not under test')\n"
        )
        return file

    def reports(self, command: str, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
        """Return the JSON of preflight or verify."""
        return json.loads(self.dupe_audit(command, *arguments, "--format", "json", code=code).stdout)


@pytest.fixture
def project(tmp_path: Path, environment: dict[str, str], launcher: Launcher) -> AlembicProject:
    """A directory for an Alembic project, with the test's database in DATABASE_URL."""
    return AlembicProject(tmp_path, environment, launcher)


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Path:
    """A directory in which `alembic init` was executed, to be copied."""
    project = AlembicProject(tmp_path_factory.mktemp("project"), {**os.environ, "DATABASE_URL": PLACEHOLDER}, launcher)
    project.init()
    return project.directory


@pytest.fixture
def generic(project: AlembicProject, initialised: Path) -> AlembicProject:
    """A project of the generic template."""
    shutil.copytree(initialised, project.directory, dirs_exist_ok=True)
    project.configure()
    return project


@pytest.fixture
def original(request: pytest.FixtureRequest, template: str, prepared, launcher: Launcher) -> str:
    """A database with the reference project at the revision that the test's fixtures need."""
    for revision in (BEGINS_AT[name] for name in request.fixturenames if name in BEGINS_AT):

        def upgrade(url: str, revision: str = revision) -> None:
            environment = {**os.environ, "DATABASE_URL": url}
            done = launcher.run("alembic", "upgrade", revision, cwd=ROOT, env=environment)
            assert done.returncode == 0, done.stderr

        return prepared(revision, upgrade)
    return template


@pytest.fixture
def small_project(tmp_path: Path, database_url: str, launcher: Launcher) -> Project:
    """A small project of one empty revision, 0001, to which the test adds others."""
    return Project(tmp_path, database_url, launcher)


@pytest.fixture
def agent_actions(sql) -> None:
    """The table of revision 014 with 1,000 keys, 60 of them twice, one of those with different data."""
    sql(
        """
        INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at)
        SELECT md5(i::text)::uuid, 'agent', 'tool_call', 'Read', timestamptz '2026-01-01' + i * interval '1 s'
        FROM generate_series(1, 1000) AS i;
        INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at, duration_ms)
        SELECT correlation_id, agent_name, action_type, action_name, created_at,
               CASE WHEN correlation_id = md5('60')::uuid THEN 7 END
        FROM agent_actions WHERE correlation_id IN (SELECT md5(i::text)::uuid FROM generate_series(1, 60) AS i)
        """
    )


@pytest.fixture
def psql(database_url, server, tmp_path):
    """Execute a script with psql as the documentation says; return the process."""
    program = Path(server.bin_dir) / "psql"
    if not program.exists():
        pytest.skip("no psql beside the server's programs")

    def run(script, *, stop="1"):
        path = tmp_path / "script.sql"
        path.write_text(script)
        url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        return subprocess.run(
            [program, "-X", "-q", "-v", f"ON_ERROR_STOP={stop}", "-f", str(path), url],
            capture_output=True,
            text=True,
            check=False,
        )

    return run


CHECKSUM = "SELECT count(*), md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM agent_actions t"
