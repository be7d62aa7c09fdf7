"""What to do about a unique index that enforces the key already: advice that works, whatever the index looks like."""

from __future__ import annotations

from typing import Any

from dupe_audit.model import UniqueKey
from dupe_audit.postgres.catalog import Relation
from dupe_audit.statements import ident

AGAIN = "then run the upgrade again"


def advice(key: UniqueKey, relation: Relation, index: Any) -> str:
    """Return what to do about an index that enforces the same key under another name.

    Args:
        index: a row of ``other_indexes.sql``.
    """
    if index.is_primary:
        return "The primary key enforces the key: leave the new constraint out of the revision."
    new = ident(str(key.name))
    if not index.standard:
        return (
            "Because of its sort order, collation or operator class it cannot become a constraint. Leave the new "
            f"constraint out of the revision, or drop the index first: {_drop(relation, index)}; {AGAIN}."
        )
    deferrable, initially = not index.immediate, "DEFERRED" if index.deferred else "IMMEDIATE"
    if index.constraint_name and (deferrable, initially) != (key.deferrable, key.initially):
        return f"It has another deferrability. Drop it first: {_drop(relation, index)}; {AGAIN}."
    old = ident(str(index.constraint_name or index.name))
    if index.constraint_name:
        rename = f"ALTER TABLE {relation.name} RENAME CONSTRAINT {old} TO {new};"
    else:
        rename = f"ALTER INDEX {ident(relation.schema, index.name)} RENAME TO {new};"
    declare = _declaration(key, index)
    result = "which finds it" if index.constraint_name else "which adopts it"
    return f"{declare}{rename} {AGAIN}, {result}."


def advice_if_stricter(relation: Relation, index: Any) -> str:
    """Return what to do about an index that forbids more than the key."""
    if index.is_primary:
        return "The primary key makes every such key unique: leave the new constraint out of the revision."
    if not index.immediate:
        return (
            "It is deferrable, so ON CONFLICT cannot use it. Leave the new constraint out of the revision, or drop the "
            f"existing one after the upgrade: {_drop(relation, index)};"
        )
    return (
        "Leave the new constraint out of the revision. If the existing one is too strict, drop it after the upgrade: "
        f"{_drop(relation, index)};"
    )


def advice_if_partial(key: UniqueKey, relation: Relation, name: str, *, adoptable: bool) -> str:
    """Return what to do about an index with expressions or a predicate that enforces the same key under another name.

    Args:
        adoptable: whether its definition is exactly what the key needs.
    """
    old = ident(relation.schema, name)
    if adoptable:
        return f"ALTER INDEX {old} RENAME TO {ident(str(key.name))}; {AGAIN}, which adopts it."
    return (
        "It differs in the order of its elements, their sort order or the INCLUDE columns, so it is not adopted. Leave "
        "the new index out of the revision, or drop the existing one first: "
        f"DROP INDEX CONCURRENTLY {old}; {AGAIN}."
    )


def _drop(relation: Relation, index: Any) -> str:
    if index.constraint_name:
        return f"ALTER TABLE {relation.name} DROP CONSTRAINT {ident(index.constraint_name)}"
    return f"DROP INDEX CONCURRENTLY {ident(relation.schema, index.name)}"


def _declaration(key: UniqueKey, index: Any) -> str:
    """Return how the revision has to declare the key, if it declares it otherwise than the index has it."""
    changes = []
    if tuple(index.in_order) != key.columns:
        changes.append(f"columns {list(index.in_order)!r} in this order")
    if tuple(index.included) != key.include:
        changes.append(f"include={list(index.included)!r}" if index.included else "no include")
    return f"In the revision, declare {' and '.join(changes)}, as the index has them. Then: " if changes else ""
