"""The runs of the ledger that a directive is about, and findings about a run or a cleanup that does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.constraint import is_absent
from dupe_audit.directives.operations import UNKNOWN, CreateUniqueConstraintOnlineOp, DropUniqueConstraintOnlineOp
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.ledger import RecordedRun
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.index_key import named_key

#: why the ledger must have a run
NO_RUN = "the upgrade of this revision always opens one, even for a table without duplicates"


def latest_run(connection: Connection, key: UniqueKey) -> RecordedRun | None:
    """Return the newest run of the key; None if the table does not exist or was never cleaned by it."""
    match = catalog.find(connection, key)
    return ledger.find_latest(connection, match[1].relid, key) if match else None


def as_renamed(connection: Connection, key: UniqueKey) -> UniqueKey:
    """Return a key of an applied revision as it is written now, after columns in its expressions were renamed.

    What its index compares now is that key only if the recorded text means the same under the names of that time.
    """
    match = None if key.is_plain else catalog.find(connection, key)
    if match is None:
        return key
    located, relation = match
    state = catalog.index_state(connection, relation.relid, located)
    run = ledger.find_by_constraint(connection, relation.relid, str(key.name))
    existing = named_key(connection, relation, located)
    if run is None or state is None or state.same_definition or existing is None:
        return key
    own, recorded = existing[0], replace(key, columns=run.key_columns, where=run.where)
    is_recorded = (_expressions(key), key.where) == (_expressions(recorded), recorded.where)
    # The names of columns outside expressions may have been followed through the revisions already.
    is_recorded = is_recorded and key.names in (own.names, recorded.names)
    if not is_recorded or not ledger.means(connection, relation.relid, run, own):
        return key
    return replace(key, columns=own.columns, where=own.where)


def _expressions(key: UniqueKey) -> list[str]:
    return sorted(filter(None, key.expressions))


def missing_run(connection: Connection, relation: Relation, revision: str | None = None) -> Finding:
    """Return the finding for a table of which the ledger lacks the run that a downgrade needs.

    Args:
        revision: whose upgrade opened the run; None for the one that is executed now.
    """
    reason = NO_RUN if revision is None else NO_RUN.replace("this revision", f"revision {revision}")
    missing = finding("run-missing", reason, table=relation.name)
    runs = ledger.runs_of_table(connection, relation)
    if not runs:
        return missing
    keys = ", ".join(dict.fromkeys(f"({', '.join(map(str, run.key_columns))})" for run in runs))
    hint = f"The runs of {relation.name} are of other keys: {keys}. Check the columns that the directive names."
    return replace(missing, help=f"{hint} Or: {missing.help[:1].lower()}{missing.help[1:]}")


def kept_constraints(
    connection: Connection, relation: Relation, name: str, revision: str, directives: Sequence[object]
) -> list[str]:
    """Return, if the table never had a constraint *name*, which of the revision a downgrade would not drop, as text.

    Args:
        revision: the revision that is undone.
        directives: of its downgrade.
    """
    # A name that the downgrade creates can be the dropped constraint's new one.
    named = {
        item.key.name
        for item in directives
        if isinstance(item, CreateUniqueConstraintOnlineOp | DropUniqueConstraintOnlineOp)
    }
    runs = ledger.runs_of_table(connection, relation)
    if any(run.constraint_name == name for run in runs) or _exists(connection, relation, name):
        return []  # it exists, or an attempt that was interrupted has dropped it
    return [
        f"{relation.name} has no constraint {name}. Run {run.id} of this revision enforces {run.constraint_name}, "
        f"which downgrade() does not drop. Name {run.constraint_name} in op.drop_unique_constraint_online()."
        for run in runs
        if run.state == "enforced"
        and run.revision == revision
        and run.constraint_name not in named
        and _exists(connection, relation, str(run.constraint_name))
    ]


def _exists(connection: Connection, relation: Relation, name: str) -> bool:
    return not is_absent(
        connection, UniqueKey(table=relation.table, schema=relation.schema, columns=(UNKNOWN,), name=name)
    )


def left_duplicates(key: UniqueKey, extras: int, cleaned: Sequence[UniqueKey]) -> Finding:
    """Return the error that a create would meet duplicates, because its revision does not clean up that key.

    Args:
        cleaned: the keys of the same table that the revision cleans up.
    """
    lead = f"Duplicates found in {key} ({quantity(extras, 'extra')})"
    if not cleaned:
        text = f"{lead}, and no op.archive_duplicates() of this revision archives them"
        return replace(finding("duplicates", text), severity="error")
    others = " and ".join(dict.fromkeys(map(str, cleaned)))
    text = f"{lead}, and this revision cleans up another key: {others}"
    advice = f"Give the cleanup and op.create_unique_{key.form}_online() the same columns and the same where."
    return replace(finding("duplicates", text), severity="error", help=advice)
