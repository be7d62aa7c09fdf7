"""Whether a revision's ``downgrade()`` undoes the keys and constraints of its ``upgrade()``; it is never executed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from dupe_audit.directives.calls import CallSite, file_to_undo, misused, written_calls
from dupe_audit.directives.effects import effect
from dupe_audit.directives.execution import Execution
from dupe_audit.directives.operations import UNKNOWN, ArchiveDuplicatesOp, CreateUniqueConstraintOnlineOp
from dupe_audit.directives.recording import PlainStatement, Recording
from dupe_audit.directives.registration import signatures
from dupe_audit.directives.schemas import ANY_SCHEMA, as_written, spread
from dupe_audit.findings import Finding, finding
from dupe_audit.model import Expression, UniqueKey

log = logging.getLogger("alembic.dupe_audit")

SchemaOf = Callable[[UniqueKey], str | None]


def _as_written(key: UniqueKey) -> str | None:
    return key.schema


def refusals(execution: Execution, schema_of: SchemaOf = _as_written) -> list[Finding]:
    """Return, at the first directive of an upgrade, why its downgrade could not undo it; log what does not stop it."""
    if not (execution.upgrading and execution.recording and len(execution.begun) == 1):
        return []
    whole = spread(execution.whole or execution.recording, as_written)
    findings = mismatches(whole, execution.downgrade, str(execution.revision), schema_of)
    accept = execution.options.accept
    errors = [each for each in findings if each.severity == "error" and each.id not in accept]
    for noted in findings:
        if noted not in errors and (noted.severity == "error" or noted.id not in accept):
            log.warning("[%s] %s %s", noted.id, noted.message, noted.help)
    return errors


def mismatches(
    recording: Recording, downgrade: object, revision: str, schema_of: SchemaOf = _as_written
) -> list[Finding]:
    """Return a finding for each key or constraint of the upgrade that *downgrade* does not undo.

    Nothing is judged if the upgrade cannot be read to its end, or of a table whose definition other statements of it
    change, or if the downgrade calls a function of the project, which can name any.

    Args:
        recording: of the upgrade.
        downgrade: the function of the same revision, or None; its source is read.
        revision: whose functions these are.
        schema_of: finds the schema of a key's table; without a database, a schema that is not named could be any.
    """
    if recording.obstacle:
        return []
    archived = [item.key for item in recording.directives if isinstance(item, ArchiveDuplicatesOp)]
    created = [item.key for item in recording.directives if isinstance(item, CreateUniqueConstraintOnlineOp)]
    same = partial(_can_be, schema_of=schema_of)
    subjects = []
    restored, dropped = written_calls(downgrade, "restore_duplicates"), _dropped(downgrade)
    for key, place, missed in _strangers(restored, archived, recording, same):
        kept = f"upgrade() cleans up {' and '.join(map(str, missed))}, so a downgrade would be refused"
        subjects.append(f"{revision}{place} restores {key}, but {kept}")
    missing = [] if subjects else _not_restored(restored, archived, downgrade, revision, same)
    for key, place, missed in _strangers(dropped, created, recording, same):
        names = " and ".join(f"{other.form} {other.name} on {_table(other)}" for other in missed)
        kept = f"upgrade() creates {names}, which a downgrade would leave in place"
        subjects.append(f"{revision}{place} drops {key.form} {key.name} on {_table(key)}, but {kept}")
    subjects += [f"{revision}{problem}" for problem in _too_early(restored, dropped, created)]
    subjects += [f"{revision}{problem}" for problem in misused(downgrade, signatures())]
    return [*(finding("restore-mismatch", subject) for subject in subjects), *missing]


def _not_restored(
    restored: list[tuple[UniqueKey, CallSite]] | None,
    archived: list[UniqueKey],
    downgrade: object,
    revision: str,
    same: Callable[[UniqueKey, UniqueKey], bool],
) -> list[Finding]:
    """Return a warning for each key that the upgrade cleans up and the downgrade does not restore."""
    file = file_to_undo(downgrade)
    if restored is None or file is None:
        return []
    missed = [key for key in dict.fromkeys(archived) if not any(same(key, other) for other, _ in restored)]
    warnings = [finding("restore-missing", f"{revision} ({file}) does not restore {key}") for key in missed]
    return [
        replace(warning, help=warning.help.replace("op.restore_duplicates(…)", _restore(key)))
        for warning, key in zip(warnings, missed, strict=True)
    ]


def _restore(key: UniqueKey) -> str:
    """Return the directive that restores a key, as a revision calls it."""
    columns = [f"sa.text({part.sql!r})" if isinstance(part, Expression) else repr(part) for part in key.columns]
    options = [f"{name}={value!r}" for name, value in (("schema", key.schema), ("where", key.where)) if value]
    arguments = [repr(key.table), f"[{', '.join(columns)}]", *options]
    return f"op.restore_duplicates({', '.join(arguments)})"


def _too_early(
    restored: list[tuple[UniqueKey, CallSite]] | None,
    dropped: list[tuple[UniqueKey, CallSite]] | None,
    created: list[UniqueKey],
) -> Iterator[str]:
    """Yield each restore that is written before the drop of what the upgrade creates for its key."""
    for key, place in restored or ():
        for other, drop in dropped or ():
            of_key = any(
                (new.name, new.form, new.table, new.scope) == (other.name, other.form, key.table, key.scope)
                for new in created
            )
            if of_key and (other.schema, other.table) == (key.schema, key.table) and place.line < drop.line:
                what = f"{other.form} {other.name}"
                yield f"{place} restores {key} before it drops {what}, which would reject the restored rows"


def _dropped(downgrade: object) -> list[tuple[UniqueKey, CallSite]] | None:
    """Return what a downgrade drops, as ``written_calls`` does, whether constraint or index."""
    dropped: list[tuple[UniqueKey, CallSite]] = []
    for form in ("constraint", "index"):
        calls = written_calls(downgrade, f"drop_unique_{form}_online")
        if calls is None:
            return None
        dropped += [(replace(key, form=form), place) for key, place in calls]
    return dropped


def _strangers(
    calls: list[tuple[UniqueKey, CallSite]] | None,
    expected: list[UniqueKey],
    recording: Recording,
    same: Callable[[UniqueKey, UniqueKey], bool],
) -> Iterator[tuple[UniqueKey, CallSite, list[UniqueKey]]]:
    """Yield each key that a downgrade names and its upgrade does not, with its place and the keys that it could mean.

    Args:
        calls: the keys that the downgrade names; None if it can name others too.
        expected: the keys that the upgrade names.
    """
    missed = [key for key in expected if not any(same(key, other) for other, _ in calls or ())]
    for key, place in calls or ():
        if missed and not any(same(key, other) for other in expected) and not _changes(recording, key):
            yield key, place, missed


def _can_be(key: UniqueKey, other: UniqueKey, schema_of: SchemaOf) -> bool:
    """Return whether two keys can be the same, or constraints, where one has a name alone."""
    if key.table != other.table:
        return False
    if ANY_SCHEMA not in (key.schema, other.schema) and len({schema_of(key), schema_of(other)} - {None}) > 1:
        return False
    if (UNKNOWN,) in (key.columns, other.columns):
        return (key.name, key.form) == (other.name, other.form)
    return key.scope == other.scope


def _table(key: UniqueKey) -> str:
    return f"{key.schema}.{key.table}" if key.schema else key.table


def _changes(recording: Recording, key: UniqueKey) -> bool:
    """Return whether the upgrade can rename what the key names: the downgrade may name it as it was or as it is."""
    effects = [effect(item.construct) for item in recording.items if isinstance(item, PlainStatement)]
    return any(change.definition and change.concerns(key.schema, key.table) for change in effects)
