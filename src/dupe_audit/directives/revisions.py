"""Read from an Alembic project which keys its revisions enforce, without executing them, and what cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection

from dupe_audit.connect import Address
from dupe_audit.directives.declared import Declarations, DeclaredKey
from dupe_audit.directives.project import Visit, visited
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import finding
from dupe_audit.model import Unseen


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionKeys:
    """What the revisions of a project declare, divided by what one database has applied."""

    applied: tuple[DeclaredKey, ...]
    pending: tuple[DeclaredKey, ...]
    unseen_applied: tuple[Unseen, ...]
    unseen_pending: tuple[Unseen, ...]


def read(
    config_file: str, connection: Connection, address: Address, *, section: str = "alembic", x: tuple[str, ...] = ()
) -> RevisionKeys:
    """Return the keys that applied and pending revisions declare.

    Args:
        config_file: path of the Alembic config.
        connection: to the database whose applied revisions count.
        address: of that database, for the project's ``env.py``.
        section: of the Alembic config.
        x: arguments for ``env.py``.

    Raises:
        WrongUsage: the Alembic config does not exist or cannot be read, or names no directory of scripts.
        DupeAuditError: the project cannot be loaded, or its ``env.py`` fails or connects to another database.
    """
    applied, pending = Declarations(connection), Declarations(connection)
    with visited(config_file, connection, address, section=section, x=x) as visit:
        for tenant in visit.tenants:
            suffix = f", {tenant.default}" if len(visit.tenants) > 1 else ""
            heads = tenant.heads
            applied.read(tenant, _revisions(visit.script, heads, None) if heads else [], suffix)
            pending.read(tenant, _revisions(visit.script, "heads", heads), suffix)
            if not heads and tenant.has_tables:
                schema = tenant.context.version_table_schema or (tenant.default if suffix else None)
                subject = ".".join(filter(None, (schema, tenant.context.version_table)))
                for side in (applied, pending):
                    side.unseen.append(Unseen(findings=(finding("database-not-stamped", subject),)))
        _require_import(visit, pending)
    return RevisionKeys(
        applied=tuple(applied.keys(last=True)),
        pending=tuple(pending.keys(last=False)),
        unseen_applied=tuple(dict.fromkeys(applied.unseen)),
        unseen_pending=tuple(dict.fromkeys([*pending.unseen, *pending.mismatches])),
    )


def _revisions(script: ScriptDirectory, upper: str | tuple[str, ...], lower: tuple[str, ...] | None) -> list[Script]:
    """Return revisions, each after those it depends on, including branches none of whose revisions is applied."""
    try:
        return list(reversed(list(script.iterate_revisions(upper, lower or "base", implicit_base=True))))
    except (CommandError, RevisionError) as error:
        raise DupeAuditError(
            f"Alembic cannot read the project: {error}. If the database is stamped with a revision that the project "
            "lacks, it belongs to another project or to another branch of this one."
        ) from error


def _require_import(visit: Visit, pending: Declarations) -> None:
    if not visit.imports_ops and pending.uses_directives:
        revision = pending.uses_directives
        pending.unseen.append(Unseen(revision=revision, findings=(finding("import-missing", revision),)))
