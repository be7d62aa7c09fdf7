"""Read from an Alembic project which keys its revisions enforce, without running them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    recording,
)
from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.driver import execute

_WHERE = (
    "SELECT pg_catalog.format('%s/%s', pg_catalog.current_database(), "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A key that a revision enforces, with the cleanup that goes before it."""

    revision: str
    key: UniqueKey
    rule: CleanupRule | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What the revisions of a project declare, seen from one database."""

    applied: tuple[Declared, ...]
    pending: tuple[Declared, ...]
    unreadable: tuple[str, ...]  #: revisions that cannot be read without a database


def read(config_file: str, connection: Connection, url: str) -> Project:
    """Return the keys that applied and pending revisions declare.

    Raises:
        WrongUsage: there is no such Alembic config.
        DupeAuditError: the project cannot be loaded, or its ``env.py`` connects to another database.
    """
    if not Path(config_file).is_file():
        raise WrongUsage(
            f"There is no Alembic config {config_file!r}. Name it with --config, or name a key with --table."
        )
    config = Config(config_file)
    # ConfigParser takes % for its own.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    unreadable: list[str] = []
    before = logging.root.manager.disable
    logging.disable(logging.INFO)  # what Alembic says while it loads is not about this command
    try:
        script = ScriptDirectory.from_config(config)
        heads = _current_heads(config, script, connection)
        pending = list(reversed(list(script.iterate_revisions("heads", heads or "base"))))
        applied = list(reversed(list(script.iterate_revisions(heads, "base")))) if heads else []
        return Project(
            applied=_declared(applied, unreadable),
            pending=_declared(pending, unreadable),
            unreadable=tuple(unreadable),
        )
    except CommandError as error:
        raise DupeAuditError(f"Alembic cannot read the project: {error}") from error
    finally:
        logging.disable(before)


def _current_heads(config: Config, script: ScriptDirectory, connection: Connection) -> tuple[str, ...]:
    """Ask the project's own ``env.py``, as ``alembic current`` does: it knows the version table's name."""
    seen: list[tuple[str, ...]] = []
    ours = execute(connection, _WHERE).scalar_one()

    def note(heads: tuple[str, ...], context: MigrationContext) -> list[object]:
        theirs = execute(context.connection, _WHERE).scalar_one() if context.connection else ours
        if theirs != ours:
            raise DupeAuditError(
                "The project's env.py connects to another database than this command. "
                "Set DATABASE_URL for both, or give the URL that env.py uses."
            )
        seen.append(tuple(heads))
        return []

    with EnvironmentContext(config, script, fn=note, dont_mutate=True):
        script.run_env()
    return seen[0] if seen else ()


def _declared(revisions: Iterable[Script], unreadable: list[str]) -> tuple[Declared, ...]:
    """Return the keys that stand after these revisions: what one makes, a later one may drop."""
    standing: dict[tuple[str | None, str | None, str], Declared] = {}
    for revision in revisions:
        rules: dict[tuple[str | None, str, frozenset[str]], CleanupRule] = {}
        context = MigrationContext.configure(
            dialect_name="postgresql", opts={"as_sql": True, "output_buffer": io.StringIO()}
        )
        with recording() as asked, Operations.context(context):
            try:
                revision.module.upgrade()
            except Exception:  # noqa: BLE001 - a revision that queries its database can fail in any way here
                unreadable.append(revision.revision)
        for operation in asked:
            if isinstance(operation, ArchiveDuplicatesOp):
                key = operation.key
                rules[key.schema, key.table, frozenset(key.columns)] = operation.rule
            elif isinstance(operation, CreateUniqueConstraintOnlineOp):
                key = operation.key
                rule = rules.get((key.schema, key.table, frozenset(key.columns)))
                standing[key.schema, key.name, key.table] = Declared(revision=revision.revision, key=key, rule=rule)
            elif isinstance(operation, DropUniqueConstraintOnlineOp):
                standing.pop((operation.key.schema, operation.key.name, operation.key.table), None)
    return tuple(standing.values())
