"""Load an Alembic project, and run its ``env.py`` to find out where it would migrate, without migrating."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import dupe_audit
from dupe_audit.config_file import alembic_config
from dupe_audit.connect import Address, describe
from dupe_audit.directives import failures
from dupe_audit.directives.flask_context import application_context
from dupe_audit.directives.loading import isolated, load
from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.urls import same_server_and_database, sqlalchemy_url
from dupe_audit.statements import literal, statement

log = logging.getLogger("alembic.dupe_audit")

_OPS = "dupe_audit.ops"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """What one ``context.configure()`` of ``env.py`` leads to: a database, or one tenant of it."""

    heads: tuple[str, ...]  #: applied
    context: MigrationContext  #: its options; its connection is closed
    schemas: tuple[str, ...]  #: the search path of its connection
    translated: Mapping[str | None, str | None]  #: its ``schema_translate_map``
    has_tables: bool  #: the schemas hold a table other than the version table

    @property
    def default(self) -> str | None:
        """The schema of tables without one."""
        return self.translated.get(None) or next(iter(self.schemas), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """The project while ``env.py`` is set up."""

    script: ScriptDirectory
    tenants: tuple[Tenant, ...]
    imports_ops: bool  #: env.py or a revision imports ``dupe_audit.ops``


@contextmanager
def visited(
    config_file: str, connection: Connection, address: Address, *, section: str = "alembic", x: tuple[str, ...] = ()
) -> Iterator[Visit]:
    """Load the project and run its ``env.py``; within the block its revisions can be recorded.

    Args:
        config_file: path of the Alembic config.
        connection: to the database that the user means.
        address: of that database, for ``env.py``.
        section: of the ini file.
        x: arguments for env.py, as for ``alembic -x``.

    Raises:
        WrongUsage: the Alembic config does not exist or cannot be read, or names no directory of scripts.
        DupeAuditError: the project cannot be loaded, or its ``env.py`` fails or connects to another database.
    """
    config, own = _config(config_file, address, section, x)
    given = address.source == "--database-url"
    database_url = sqlalchemy_url(address.url, os.environ.get("DATABASE_URL")) if given else None
    with isolated(database_url, quiet=logging.INFO), _ops_unimported():
        script = load(config, config_file, instead="name a key with --table")
        _note_other_url(own, config_file, address, script)
        with application_context(Path(script.dir)):
            tenants, environment = list[Tenant](), EnvironmentContext(config, script, dont_mutate=True)
            described: list[tuple[str, bool]] = []

            def observe(heads: tuple[str, ...], context: MigrationContext) -> list[Any]:
                if context.connection is None or context.as_sql:
                    raise DupeAuditError("The project's env.py passes Alembic no connection, so nothing can be read.")
                described.append((describe(context.connection), _same_database(connection, context.connection)))
                tenants.append(_tenant(tuple(heads), context))
                return []

            environment.context_opts["fn"] = observe
            with environment:
                try:
                    script.run_env()
                except (Exception, SystemExit) as error:
                    raise _env_error(error, config, script, address) from error
                _require_one_database(described, describe(connection), address)
                # Code that reads data is skipped where a revision asks context.is_offline_mode() first.
                environment.context_opts["as_sql"] = True
                yield Visit(script=script, tenants=tuple(tenants), imports_ops=_OPS in sys.modules)


def _config(config_file: str, address: Address, section: str, x: tuple[str, ...]) -> tuple[Config, str | None]:
    """Return the config with the address as its URL, and the URL that it had."""
    config = alembic_config(config_file, section=section, x=x)
    own = config.file_config.get(section, "sqlalchemy.url", raw=True, fallback=None)
    config.set_main_option("sqlalchemy.url", sqlalchemy_url(address.url, own).replace("%", "%%"))
    return config, own and own.replace("%%", "%")


#: with one of these in its text, env.py may take its URL from elsewhere than the config
_OWN_URL = ("environ", "getenv", "set_main_option", "create_engine", "create_async_engine", "settings")


def _note_other_url(own: str | None, config_file: str, address: Address, script: ScriptDirectory) -> None:
    """Log that ``alembic`` would use another database, if env.py takes the URL from the config as a template does."""
    env = Path(script.dir) / "env.py"
    if not own or not env.is_file() or same_server_and_database(own, address.url):
        return
    if not any(word in env.read_text("utf-8", errors="replace") for word in _OWN_URL):
        log.warning(
            "sqlalchemy.url in %s names a different database from %s, which this command uses. `alembic` will upgrade "
            "the one in sqlalchemy.url, because env.py takes its URL from there.",
            config_file,
            address.source,
        )


def _tenant(heads: tuple[str, ...], context: MigrationContext) -> Tenant:
    connection = context.connection
    assert connection is not None  # noqa: S101 - for mypy; observe() has refused a context without one
    row = execute(connection, statement("visible_tables", version_table=literal(context.version_table))).one()
    options = connection.get_execution_options()
    return Tenant(
        heads=heads,
        context=context,
        schemas=tuple(row.schemas),
        translated=dict(options.get("schema_translate_map") or {}),
        has_tables=bool(row.has_tables),
    )


def _same_database(connection: Connection, other: Connection) -> bool:
    """Return whether two connections lead to one database; a standby is the same database as its primary."""
    query = statement("database_identity")
    first, second = execute(connection, query).one(), execute(other, query).one()
    if first.database != second.database:
        return False
    return bool(first.started == second.started or first.standby or second.standby)


def _require_one_database(described: list[tuple[str, bool]], own: str, address: Address) -> None:
    """Refuse to report about a database other than that of ``env.py``.

    Raises:
        DupeAuditError: env.py connects to no database, to several, or to another one.
    """
    if not described:
        raise DupeAuditError(
            "The project's env.py never called context.run_migrations(), so it is not known which revisions are "
            "applied. It must call it, as `alembic init` writes it; or name a key with --table."
        )
    names = list(dict.fromkeys(name for name, _ in described))
    if len(names) > 1 and not all(same for _, same in described):
        raise DupeAuditError(
            f"The project's env.py migrates several databases ({'; '.join(names)}), but this command examines one. "
            "Let env.py skip all but one of them, for example with an -x argument, and examine one at a time; or name "
            "a key with --table."
        )
    if not described[0][1]:
        raise DupeAuditError(
            f"The project's env.py connects to a different database from this command. env.py: {names[0]}. "
            f"This command ({address.source}): {own}. Set DATABASE_URL for both, or give the URL that env.py uses."
        )


def _env_error(error: BaseException, config: Config, script: ScriptDirectory, address: Address) -> DupeAuditError:
    if not isinstance(error, DupeAuditError) and (names := config.get_main_option("databases")):
        return DupeAuditError(
            f"The project's env.py migrates several databases ({names}), but this command examines one. Name a key "
            "with --table, or use a config whose env.py migrates one database."
        )
    return failures.env_error(error, Path(script.dir), [address.url])


@contextmanager
def _ops_unimported() -> Iterator[None]:
    """Let an import of ``dupe_audit.ops`` by the project be noticed."""
    before = sys.modules.pop(_OPS, None)
    vars(dupe_audit).pop("ops", None)  # otherwise `from dupe_audit import ops` would import nothing
    try:
        yield
    finally:
        if before is not None:
            sys.modules[_OPS] = before
