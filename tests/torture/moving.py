"""Move a world to another database of its server by dump and restore, as an operator does."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from psycopg import sql as pgsql
from sqlalchemy import make_url

from dupe_audit.embedded import EmbeddedServerError, wheel_binaries
from torture.world import World

PLAIN, CUSTOM = "pg_dump, psql", "pg_dump -Fc, pg_restore"
FORMATS = (PLAIN, CUSTOM)

PROGRAMS = ("pg_dump", "pg_restore", "psql")

#: a child that came without a lock on its parent may have none, and then its foreign key cannot be restored
PARENTLESS = """
WITH gone AS (DELETE FROM child c WHERE NOT EXISTS (SELECT FROM tt WHERE tt.id = c.parent) RETURNING id)
INSERT INTO childlog (op, id) SELECT 'delete', id FROM gone
"""

ORPHANS = r"pid FROM pg_stat_activity WHERE datname = current_database() AND application_name ~ '^torture \d+$'"


def dump_programs(major: int, beside: Path | None = None) -> Path | None:
    """Return a directory with the programs of a server's major version, or None if this machine has none.

    Args:
        beside: the directory of the server's programs, which some distributions of servers ship without these.
    """
    directories = [beside] if beside else []
    with suppress(EmbeddedServerError):
        directories.append(wheel_binaries())
    directories.append(Path(f"/usr/lib/postgresql/{major}/bin"))
    if program := shutil.which("pg_dump"):
        directories.append(Path(program).parent)
    return next((directory for directory in directories if _fits(directory, major)), None)


def _fits(directory: Path, major: int) -> bool:
    if not all((directory / program).is_file() for program in PROGRAMS):
        return False
    try:
        answer = _run(directory / "pg_dump", "--version")
    except (OSError, subprocess.CalledProcessError):
        return False
    version = re.search(r"\d+", answer)
    return bool(version) and int(version[0]) == major


def _run(program: Path, *arguments: str) -> str:
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, program.name, done.stdout, done.stderr[-2000:])
    return done.stdout


def copy(programs: Path, source: str, target: str, form: str) -> None:
    """Dump the database of one URL, and restore it into the empty database of another.

    Raises:
        RuntimeError: a program failed; the message has the end of its output.
    """
    old, new = (
        make_url(url).set(drivername="postgresql").render_as_string(hide_password=False) for url in (source, target)
    )
    with tempfile.NamedTemporaryFile(prefix="dupe-audit-dump-") as dump:
        try:
            if form == PLAIN:
                _run(programs / "pg_dump", "--dbname", old, "--file", dump.name)
                _run(programs / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--dbname", new, "--file", dump.name)
            else:
                _run(programs / "pg_dump", "-Fc", "--dbname", old, "--file", dump.name)
                _run(programs / "pg_restore", "--exit-on-error", "--dbname", new, dump.name)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(f"{error.cmd} failed: {error.stderr}") from error


def move(world: World, programs: Path, form: str) -> None:
    """Move the world to a new database, and drop the old one; no transaction of the application is open meanwhile."""
    _end_orphans(world)
    world.run("SELECT note_moments()", PARENTLESS)
    source = make_url(world.url)
    old = str(source.database)
    base, number = re.fullmatch(r"(.*?)(?:_moved(\d+))?", old).groups(default="0")  # type: ignore[union-attr]
    name = f"{base}_moved{int(number) + 1}"
    server = World(source.set(database="postgres").render_as_string(hide_password=False))
    with server.connect() as connection:
        connection.execute(pgsql.SQL("CREATE DATABASE {} TEMPLATE template0").format(pgsql.Identifier(name)))
        target = source.set(database=name).render_as_string(hide_password=False)
        copy(programs, world.url, target, form)
        world.url = target
        world.run("ANALYZE")
        connection.execute(pgsql.SQL("DROP DATABASE {} WITH (FORCE)").format(pgsql.Identifier(old)))


def _end_orphans(world: World) -> None:
    """End what a killed program left; it could archive a parent after its children have been looked at."""
    until = time.monotonic() + 60
    with world.connect() as connection:
        while connection.execute(f"SELECT pg_terminate_backend(pid), {ORPHANS}".encode()).rowcount:
            if time.monotonic() > until:
                raise TimeoutError("a backend of a killed program does not end")
            time.sleep(0.01)
