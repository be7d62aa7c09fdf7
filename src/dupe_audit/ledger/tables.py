"""The ledger's tables: their names, who owns them, and how they are created."""

from __future__ import annotations

from sqlalchemy import Connection

from dupe_audit.errors import DupeAuditError
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import LOCK_NAMESPACE
from dupe_audit.postgres.session import transaction
from dupe_audit.statements import ident, literal, statement


def archive_name(run_id: int) -> str:
    """Return the quoted name of a run's archive."""
    return ident("dupe_audit", f"archive_{run_id}")


def stage_name(run_id: int) -> str:
    """Return the quoted name of a run's staged list."""
    return ident("dupe_audit", f"stage_{run_id}")


def record_name(run_id: int, number: int) -> str:
    """Return the quoted name of a run's record of moved children, by the number of their foreign key."""
    return ident("dupe_audit", f"children_{run_id}_{number}")


def relation_exists(connection: Connection, name: str) -> bool:
    """Return whether the relation of that quoted name exists."""
    return bool(execute(connection, statement("relation_exists", name=literal(name))).scalar_one())


def exists(connection: Connection) -> bool:
    """Return whether this database has a ledger.

    Raises:
        DupeAuditError: an earlier version made it; ignoring it would forget its archived rows.
    """
    has_batches, has_children = (relation_exists(connection, f"dupe_audit.{table}") for table in ("batch", "child"))
    if has_batches and not has_children:
        raise DupeAuditError(
            "An earlier version created the ledger of this database. As its owner, execute this, then run the same "
            "command again: ALTER TABLE dupe_audit.run ADD COLUMN on_reference text; "
            f"{statement('create_child_table')};"
        )
    return has_batches


def create(connection: Connection, owner: str) -> None:
    """Create the ledger unless it exists; everything in it belongs to *owner* (a quoted role name)."""
    if exists(connection):
        return
    with transaction(connection, lock_timeout="10s"):
        execute(connection, statement("lock_ledger", namespace=str(LOCK_NAMESPACE)))
        if exists(connection):
            return
        execute(connection, statement("create_schema", owner=owner))
        for table in ("run", "batch", "child"):
            execute(connection, statement(f"create_{table}_table"))
            make_private(connection, f"dupe_audit.{table}", owner)


def make_private(connection: Connection, name: str, owner: str) -> None:
    """Give an object to *owner*, and revoke what default privileges granted to others."""
    execute(connection, statement("give_to_owner", object=name, owner=owner))
    execute(connection, statement("revoke_all", object_name=literal(name)))
