"""Choose which of a table's runs a step continues or undoes, online and in a script.

Several constraints can enforce one key, at the same time or one after the other, and one name can belong to several
keys. Each has its own run, so that none takes over what another one has adopted or archived.
"""

from __future__ import annotations

from typing import NamedTuple

from dupe_audit.ledger.keys import key_condition
from dupe_audit.model import UniqueKey
from dupe_audit.statements import literal, text_array

#: a run that can be continued
_CONTINUABLE = "r.state <> 'restored' AND r.purged_at IS NULL"


class Choice(NamedTuple):
    """SQL that finds a run among those of a table."""

    condition: str  #: about the run ``r``
    order: str  #: the run to use comes first
    key: UniqueKey | None = None  #: the key that the condition looks for


def table_condition(relid: str) -> str:
    """Return the condition that a run ``r`` is of the table ``live``; its first part excludes other runs quickly.

    Args:
        relid: SQL for the oid of the table.
    """
    oid = f"{relid}::pg_catalog.oid"
    return f"coalesce(r.relation::pg_catalog.oid, r.relid) = {oid} AND live.oid = {oid}"


def to_clean(relid: str, key: UniqueKey, *, name: str | None, revision: str | None) -> Choice:
    """Choose the run that a cleanup continues.

    Args:
        relid: SQL for the oid of the table.
        name: the constraint that will enforce the key after the cleanup; None if it is not known.
        revision: the Alembic revision that cleans.
    """
    condition = f"{key_condition(relid, key)} AND {_CONTINUABLE}"
    if name is not None:
        # An attempt that was interrupted can have given its constraint the final name.
        own = f"r.keep IS NOT NULL AND r.revision = {literal(revision)}"
        condition += f" AND (r.constraint_name IS NULL OR r.constraint_name = {literal(name)} OR ({own}))"
    return Choice(condition, "r.id DESC", key)


def to_enforce(relid: str, key: UniqueKey, *, revision: str | None) -> Choice:
    """Choose the run of a constraint that is created.

    If a run adopted an index and a later revision dropped it, the run is left to the downgrade of that revision.
    """
    name, own = literal(key.name), literal(revision)
    left = f"r.adopted_index IS NOT NULL AND r.state = 'dropped' AND r.revision <> {own}"
    named = f"(r.constraint_name IS NULL OR r.constraint_name = {name})"
    return Choice(
        f"{key_condition(relid, key)} AND {_CONTINUABLE} AND {named} AND ({left}) IS NOT TRUE", "r.id DESC", key
    )


def to_enforce_again(relid: str, key: UniqueKey, *, revision: str | None, final: str | None = None) -> Choice:
    """Choose the run of a constraint that a downgrade creates again: an earlier revision has opened it.

    Args:
        revision: the one that is undone.
        final: the name that the constraint gets in the end, if it is built under another one.
    """
    names = text_array(dict.fromkeys(filter(None, (key.name, final))))
    named = f"(r.constraint_name IS NULL OR r.constraint_name = ANY ({names}))"
    # A purged run has no rows to restore, but it records what it adopted.
    condition = f"{key_condition(relid, key)} AND r.state <> 'restored' AND {named}"
    order = (
        "r.constraint_name IS NULL",
        f"r.revision IS NOT DISTINCT FROM {literal(revision)}",
        "r.adopted_index IS NULL",
        "r.id DESC",
    )
    return Choice(condition, ", ".join(order), key)


def choose_by_name(name: str | None) -> Choice:
    """Choose the run of the constraint or index that has the name now, or had it last.

    If no run is recorded as enforcing it, an index of that name is the one that was adopted and left in place.
    """
    order = "r.state IN ('dropped', 'restored'), r.adopted_index IS NULL, r.id DESC"
    return Choice(f"r.constraint_name = {literal(name)}", order)


def choose_by_key(relid: str, key: UniqueKey) -> Choice:
    """Choose the run to report about a key: that of its constraint, or without a name, the newest."""
    named = f"(r.constraint_name = {literal(key.name)}) IS NOT TRUE"
    order = f"{named}, {choose_by_name(key.name).order}" if key.name else "r.id DESC"
    return Choice(key_condition(relid, key), order, key)


def to_restore(relid: str, key: UniqueKey, *, revision: str | None) -> Choice:
    """Choose the run whose rows are put back.

    Args:
        revision: the one that is undone; the rows of an earlier one are left to its own downgrade.
    """
    own, outstanding = f"r.revision = {literal(revision)}", _CONTINUABLE
    # If a later revision removed the key, its downgrade archived rows again; this downgrade restores those.
    newest = f"SELECT pg_catalog.max(o.id) FROM dupe_audit.run o WHERE o.revision = {literal(revision)}"
    order = (
        f"({own} AND {outstanding}) IS NOT TRUE",
        f"({outstanding} AND r.id > coalesce(({newest}), 0)) IS NOT TRUE",
        f"({own}) IS NOT TRUE",
        "r.keep IS NULL",
        "r.id DESC",
    )
    return Choice(key_condition(relid, key), ", ".join(order), key)
