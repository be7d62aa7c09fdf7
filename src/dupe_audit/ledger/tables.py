"""The ledger's tables: their names, who owns them, and how they are created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from sqlalchemy import Connection

from dupe_audit.errors import DupeAuditError
from dupe_audit.ledger.trust import Shape, trusted_shape
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import ledger_transaction
from dupe_audit.statements import fill_known, ident, literal, statement, template


def archive_name(run_id: int) -> str:
    """Return the quoted name of a run's archive."""
    return ident("dupe_audit", f"archive_{run_id}")


def archive_label(run_id: int) -> str:
    """Return the name of a run's archive as messages write it."""
    return f"dupe_audit.archive_{run_id}"


def after_name(run_id: int) -> str:
    """Return the quoted name of the table that has the changed rows as a run left them."""
    return ident("dupe_audit", f"after_{run_id}")


def stage_name(run_id: int) -> str:
    """Return the quoted name of a run's staged list."""
    return ident("dupe_audit", f"stage_{run_id}")


def shard_stage_name(run_id: int, shard_id: int) -> str:
    """Return the quoted name of a run's staged list of one shard, on the shard's node."""
    return ident("dupe_audit", f"stage_{run_id}_{shard_id}")


def locked_name(run_id: int) -> str:
    """Return the quoted name of the list of rows that a batch has locked, on a table that every node has."""
    return ident("dupe_audit", f"stage_{run_id}_locked")


def record_name(run_id: int, number: int) -> str:
    """Return the quoted name of a run's record of moved children, by the number of their foreign key."""
    return ident("dupe_audit", f"children_{run_id}_{number}")


def relation_exists(connection: Connection, name: str) -> bool:
    """Return whether the relation of that quoted name exists."""
    return bool(execute(connection, statement("relation_exists", name=literal(name))).scalar_one())


def exists(connection: Connection, *, relid: int | None = None, reading: bool = False) -> bool:
    """Return whether this database has a ledger; every command comes through here before it reads one.

    Args:
        relid: the table that is worked on; its owner is trusted.
        reading: whether nothing will be written.

    Raises:
        Refused: a role that is not trusted could have prepared it.
        DupeAuditError: an earlier version made it; ignoring it would forget its archived rows.
    """
    return _shape(connection, relid=relid, reading=reading).created


def _shape(connection: Connection, *, relid: int | None, reading: bool = False) -> Shape:
    shape = trusted_shape(connection, relid=relid, reading=reading)
    if shape.created and not shape.current:
        raise DupeAuditError(
            "An earlier version created the ledger of this database. As its owner, execute this, then run the same "
            f"command again: {upgrade_sql()};"
        )
    return shape


def upgrade_sql() -> str:
    """Return the statements that bring the ledger of an earlier version to the form of this one."""
    return statement(
        "upgrade_ledger",
        create_child_table=template("create_child_table"),
        create_leaf_table=template("create_leaf_table"),
    )


def create(connection: Connection, owner: str, *, relid: int | None = None) -> Literal[True]:
    """Create the ledger unless it exists; everything in it belongs to *owner* (a quoted role name).

    Return True: afterwards it exists and is trusted.

    Args:
        owner: of the table that is worked on; if the schema exists, its owner is preferred.
        relid: that table.

    Raises:
        Refused: a role that is not trusted could have prepared the ledger.
        DupeAuditError: an earlier version made it.
    """
    if exists(connection, relid=relid):
        return True
    with ledger_transaction(connection):
        shape = _shape(connection, relid=relid)
        if shape.created:
            return True
        # If another role creates the schema now, this fails; so all that is in it was judged, or is created here.
        if not shape.has_schema:
            execute(connection, statement("create_schema", owner=owner))
            execute(connection, statement("revoke_schema"))
        owner = str(execute(connection, statement("ledger_owner", owner=literal(owner))).scalar_one())
        for table in ("run", "batch", "child", "leaf"):
            execute(connection, statement(f"create_{table}_table"))
            make_private(connection, f"dupe_audit.{table}", owner)
    return True


def keep_images(connection: Connection, run_id: int, owner: str, fragments: Mapping[str, str]) -> None:
    """Prepare a run's tables for rows that it changes and that stay in the table.

    Args:
        fragments: of the table, key and rule.
    """
    execute(connection, statement("add_image_columns", archive=archive_name(run_id)))
    after = after_name(run_id)
    if not relation_exists(connection, after):
        for name in ("create_after", "finish_after"):
            execute(connection, fill_known(template(name), fragments, after=after))
        make_private(connection, after, owner)


def make_private(connection: Connection, name: str, owner: str) -> None:
    """Give an object to *owner*, and revoke what default privileges granted to others.

    A role that may create nothing in the schema can own nothing there: then the object stays with this role, which is
    a member of that one.
    """
    if execute(connection, statement("may_own", owner=literal(owner))).scalar_one():
        execute(connection, statement("give_to_owner", object=name, owner=owner))
    execute(connection, statement("revoke_all", object_name=literal(name)))
