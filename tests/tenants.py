"""The same table in many schemas, and a project whose revision 0002 makes it unique in all of them."""

import logging
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, event

from alembic_project import Project

QUERY = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%' ORDER BY nspname"
QUERIED = f"sa.text({QUERY!r})"

UP = """
schemas = {schemas}
op.archive_duplicates('orders', ['k'], order_by=['id'], schemas=schemas)
op.create_unique_constraint_online('uq', 'orders', ['k'], schemas=schemas, give_up_after='1s')
"""
DOWN = """
schemas = {schemas}
op.drop_unique_constraint_online('uq', 'orders', schemas=schemas)
op.restore_duplicates('orders', ['k'], schemas=schemas)
"""

#: ten rows, two of them exact duplicates
ORDERS = (
    "CREATE SCHEMA {0}; CREATE TABLE {0}.orders (id int PRIMARY KEY, k int, v text); "
    "INSERT INTO {0}.orders SELECT n, n % 8, 'v' FROM generate_series(0, 9) AS n"
)


class Tenants:
    """Schemas with the table, and the project that migrates them in this process.

    Args:
        sql: executes statements in the database.
        project: of one empty revision, 0001.
    """

    def __init__(self, sql: Callable[[str], Any], project: Project) -> None:
        self.sql, self.project = sql, project

    def create(self, *names: str) -> list[str]:
        """Create schemas with the table."""
        self.sql("; ".join(ORDERS.format(f'"{name}"') for name in names))
        return list(names)

    def numbered(self, count: int) -> list[str]:
        """Create schemas with the table, named by numbers."""
        return self.create(*(f"tenant_{number:02}" for number in range(count)))

    def revision(self, schemas: object = QUERIED, *, up: str = UP, down: str = DOWN) -> None:
        """Write revision 0002."""
        self.project.revision("0002", "0001", up.format(schemas=schemas), down.format(schemas=schemas))

    def migrate(self, revision: str) -> str:
        """Upgrade or downgrade in this process; return the error, without line breaks, or nothing."""
        config = Config(str(self.project.folder / "alembic.ini"))
        try:
            (command.downgrade if revision == "0001" else command.upgrade)(config, revision)
        except CommandError as error:
            return " ".join(str(error).split())
        return ""

    def dupe_audit(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Execute a command of dupe-audit in the project's folder."""
        project = self.project
        done = project.launcher.run("dupe_audit.cli", *arguments, cwd=project.folder, env=project.environment)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    @property
    def enforced(self) -> list[str]:
        """The schemas that have the constraint."""
        rows = self.sql("SELECT connamespace::regnamespace::text FROM pg_constraint WHERE conname = 'uq' ORDER BY 1")
        return [name for (name,) in rows]

    def rows(self, *names: str) -> list[int]:
        """How many rows each schema's table has."""
        return [self.sql(f'SELECT count(*) FROM "{name}".orders')[0][0] for name in names]

    @property
    def states(self) -> list[tuple[str, str]]:
        """The runs, by schema."""
        return self.sql("SELECT schema_name, state FROM dupe_audit.run ORDER BY id")  # type: ignore[no-any-return]

    @property
    def stamped(self) -> str | None:
        """The revision of the database."""
        rows = self.sql("SELECT version_num FROM alembic_version")
        return rows[0][0] if rows else None


@contextmanager
def at_statement(part: str, action: Callable[[], object]) -> Iterator[None]:
    """Do something once, before the first statement that contains a text is executed."""
    done = False

    def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal done
        if not done and part in statement:
            done = True
            action()

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", before)
    assert done, f"no statement contained {part}"


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the statements that are executed."""
    statements: list[str] = []

    def before(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", before)


def warnings(caplog: Any) -> list[str]:
    """Return the warnings that were logged."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
