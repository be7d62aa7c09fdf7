"""alembic and dupe-audit as processes, on the reference project."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from alembic_project import Project
from launch import Launcher

ROOT = Path(__file__).parents[2]
KEY = "correlation_id, action_name, created_at"
NAME = "unique_action_per_correlation_timestamp"

#: fixtures that need the reference project at a revision
BEGINS_AT = {"agent_actions": "014", "large": "014", "migrated": "015", "seeded": "016", "deliver": "head"}

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(database_url: str) -> dict[str, str]:
    """The environment of a process that uses the test's database."""
    return {**os.environ, "DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1"}


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
