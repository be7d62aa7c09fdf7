"""What has the name of a constraint that is to be dropped, and whether it may be dropped."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from dupe_audit import ledger
from dupe_audit.constraint.work import ConstraintWork
from dupe_audit.errors import Refused
from dupe_audit.findings import Finding, finding
from dupe_audit.model import Run
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement

log = logging.getLogger("alembic.dupe_audit")

#: kinds of constraints that a unique constraint is mistaken for, by ``pg_constraint.contype``
KINDS = {
    "c": "a check constraint",
    "f": "a foreign key",
    "n": "a NOT NULL constraint",
    "p": "the primary key",
    "t": "a constraint trigger",
    "x": "an exclusion constraint",
}


def name_owner(connection: Connection, relation: catalog.Relation, name: str) -> Row[Any]:
    """Return what has the name of a constraint that is to be dropped."""
    return execute(connection, name_owner_sql(str(relation.relid), name)).one()


def name_owner_sql(relid: str, name: str) -> str:
    """Return the query for what has the name of a constraint that is to be dropped.

    Args:
        relid: SQL for the oid of the table.
    """
    whole = statement("whole_index", part="coalesce(nullif(con.conindid, 0::pg_catalog.oid), i.indexrelid)")
    return statement("name_owner", relid=relid, name=literal(name), whole=whole)


def is_mistaken(connection: Connection, owner: Row[Any], run: Run | None) -> str:
    """Return in words what has the name and must not be dropped as a unique constraint; empty if nothing has.

    Args:
        run: of the constraint, if the ledger has one; an index can be what it has left.
    """
    if owner.kind:
        return KINDS.get(owner.kind, "")
    left_by_run = run and (run.building or ledger.has_adopted(connection, run.id))
    return "an index" if owner.is_index and not left_by_run else ""


def is_mistaken_index(owner: Row[Any]) -> str:
    """Describe what has the name and must not be dropped as a unique index; empty if nothing does."""
    if owner.kind:
        return KINDS.get(owner.kind, "a unique constraint")
    return "an index that is not unique" if owner.is_index and not owner.is_unique else ""


def require_index(work: ConstraintWork, owner: Row[Any]) -> None:
    """Refuse a name that belongs to a constraint, or to an index that is not unique.

    Raises:
        Refused: it does.
    """
    if mistaken := is_mistaken_index(owner):
        subject = f"{work.name} is {mistaken}"
        raise Refused([finding("not-a-unique-index", subject, table=work.relation.name)], lead="Nothing was dropped.")


def has_constraint(work: ConstraintWork, run: Run | None) -> bool:
    """Return whether the table has a unique constraint of that name.

    Raises:
        Refused: the name belongs to something that must not be dropped as a unique constraint.
    """
    owner = name_owner(work.connection, work.relation, work.name)
    if mistaken := is_mistaken(work.connection, owner, run):
        subject = f"{work.name} is {mistaken}"
        raise Refused([finding("not-a-constraint", subject, table=work.relation.name)], lead="Nothing was dropped.")
    if owner.kind is None and owner.other_table:
        message = "%s has no constraint %s, but %s has an index of that name"
        log.warning(message, work.relation.name, work.name, owner.other_table)
    return bool(owner.kind)


def inherited(owner: Row[Any], relation: catalog.Relation) -> list[Finding]:
    """Return a finding if the object of this name is part of a constraint or index of a partitioned table."""
    if owner.whole is None:
        return []
    in_use = finding("constraint-in-use", f"{owner.whole} of {owner.whole_table}", table=relation.name)
    return [replace(in_use, help=ledger.leave_whole(owner.whole, owner.whole_table, relation))]
