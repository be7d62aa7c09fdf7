"""Read from an Alembic project which keys its revisions enforce, without executing their directives."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.operations import MigrateOperation
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
)
from dupe_audit.directives.recording import record
from dupe_audit.errors import DupeAuditError, WrongUsage
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import statement


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredKey:
    """A key that a revision enforces, with the rule of the cleanup before it."""

    revision: str
    key: UniqueKey
    rule: CleanupRule | None  #: None if the revision does not clean the key first


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionKeys:
    """What the revisions of a project declare, divided by what one database has applied."""

    applied: tuple[DeclaredKey, ...]
    pending: tuple[DeclaredKey, ...]
    unreadable: tuple[str, ...]  #: ids of revisions that cannot be read without a database


def read(config_file: str, connection: Connection, url: str) -> RevisionKeys:
    """Return the keys that applied and pending revisions declare.

    Args:
        config_file: path of the Alembic config.
        connection: to the database whose applied revisions count.
        url: of that database, for the project's ``env.py``.

    Raises:
        WrongUsage: the Alembic config does not exist.
        DupeAuditError: the project cannot be loaded, or its ``env.py`` connects to another database.
    """
    if not Path(config_file).is_file():
        raise WrongUsage(
            f"Alembic config {config_file!r} does not exist. Give its path with --config, or a key with --table."
        )
    config = Config(config_file)
    # ConfigParser interpolates %.
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    previous_level = logging.root.manager.disable
    logging.disable(logging.INFO)  # Alembic's own lines while it loads are not about this command
    try:
        script = ScriptDirectory.from_config(config)
        heads = _current_heads(config, script, connection)
        unreadable: list[str] = []
        return RevisionKeys(
            applied=_declared_keys(_oldest_first(script, heads, "base") if heads else [], unreadable),
            pending=_declared_keys(_oldest_first(script, "heads", heads or "base"), unreadable),
            unreadable=tuple(unreadable),
        )
    except CommandError as error:
        raise DupeAuditError(f"Alembic cannot read the project: {error}") from error
    finally:
        logging.disable(previous_level)


def _oldest_first(script: ScriptDirectory, upper: str | tuple[str, ...], lower: str | tuple[str, ...]) -> list[Script]:
    return list(reversed(list(script.iterate_revisions(upper, lower))))


def _current_heads(config: Config, script: ScriptDirectory, connection: Connection) -> tuple[str, ...]:
    """Return the applied heads as the project's own ``env.py`` reads them; it knows the version table's name (H188)."""
    observed: list[tuple[str, ...]] = []
    query = statement("database_identity")
    database = execute(connection, query).scalar_one()

    def observe(heads: tuple[str, ...], context: MigrationContext) -> list[object]:
        if context.connection and execute(context.connection, query).scalar_one() != database:
            raise DupeAuditError(
                "The project's env.py connects to another database than this command. "
                "Set DATABASE_URL for both, or give the URL that env.py uses."
            )
        observed.append(tuple(heads))
        return []

    with EnvironmentContext(config, script, fn=observe, dont_mutate=True):
        script.run_env()
    return observed[0] if observed else ()


def _declared_keys(revisions: Iterable[Script], unreadable: list[str]) -> tuple[DeclaredKey, ...]:
    """Return the keys that are enforced after these revisions: a later one may drop what an earlier one created.

    Args:
        revisions: oldest first.
        unreadable: receives the ids of revisions that cannot be read without a database.
    """
    enforced: dict[tuple[str | None, str | None, str], DeclaredKey] = {}
    for revision in revisions:
        rules: dict[tuple[str | None, str, frozenset[str]], CleanupRule] = {}
        for operation in _recorded(revision, unreadable):
            if isinstance(operation, ArchiveDuplicatesOp):
                key = operation.key
                rules[key.schema, key.table, frozenset(key.columns)] = operation.rule
            elif isinstance(operation, CreateUniqueConstraintOnlineOp):
                key = operation.key
                rule = rules.get((key.schema, key.table, frozenset(key.columns)))
                enforced[key.schema, key.name, key.table] = DeclaredKey(revision=revision.revision, key=key, rule=rule)
            elif isinstance(operation, DropUniqueConstraintOnlineOp):
                enforced.pop((operation.key.schema, operation.key.name, operation.key.table), None)
    return tuple(enforced.values())


def _recorded(revision: Script, unreadable: list[str]) -> tuple[MigrateOperation, ...]:
    """Return the directives that ``upgrade()`` calls, up to the point where it needs a database."""
    recording = record(revision.module.upgrade)
    if recording.obstacle:
        unreadable.append(revision.revision)
    return recording.directives
