"""Whether a revision's ``downgrade()`` names the keys and constraints of its ``upgrade()``; it is never executed."""

from __future__ import annotations

import inspect
import logging
import textwrap
from ast import AST, Attribute, Call, Name, literal_eval, parse, walk
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from dupe_audit.directives.effects import effect
from dupe_audit.directives.execution import Execution
from dupe_audit.directives.operations import UNKNOWN, ArchiveDuplicatesOp, CreateUniqueConstraintOnlineOp
from dupe_audit.directives.recording import PlainStatement, Recording
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import Finding, finding
from dupe_audit.model import UniqueKey

log = logging.getLogger("alembic.dupe_audit")

SchemaOf = Callable[[UniqueKey], str | None]

#: of the directives that undo an upgrade: the positional parameters
PARAMETERS = {"restore_duplicates": ("table", "columns"), "drop_unique_constraint_online": ("name", "table")}


def _as_written(key: UniqueKey) -> str | None:
    return key.schema


def refusals(execution: Execution, schema_of: SchemaOf = _as_written) -> list[Finding]:
    """Return, at the first directive of an upgrade, why its downgrade could not undo it; log what is accepted."""
    if not (execution.upgrading and execution.recording and len(execution.begun) == 1):
        return []
    findings = mismatches(execution.recording, execution.downgrade, str(execution.revision), schema_of)
    if "restore-mismatch" not in execution.options.accept:
        return findings
    for accepted in findings:
        log.warning("[%s] %s %s", accepted.id, accepted.message, accepted.help)
    return []


def mismatches(
    recording: Recording, downgrade: object, revision: str, schema_of: SchemaOf = _as_written
) -> list[Finding]:
    """Return a finding for each key or constraint that *downgrade* names instead of the upgrade's.

    Nothing is judged if the upgrade cannot be read to its end, or of a table whose definition other statements of it
    change.

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
    for key, place, missed in _strangers(_calls(downgrade, "restore_duplicates"), archived, recording, same):
        kept = f"upgrade() archives {' and '.join(map(str, missed))}, so a downgrade would be refused"
        subjects.append(f"{revision}{place} restores {key}, but {kept}")
    for key, place, missed in _strangers(_calls(downgrade, "drop_unique_constraint_online"), created, recording, same):
        names = " and ".join(f"{other.name} on {_table(other)}" for other in missed)
        kept = f"upgrade() creates {names}, which a downgrade would leave in place"
        subjects.append(f"{revision}{place} drops constraint {key.name} on {_table(key)}, but {kept}")
    return [finding("restore-mismatch", subject) for subject in subjects]


def _strangers(
    calls: list[tuple[UniqueKey, str]] | None,
    expected: list[UniqueKey],
    recording: Recording,
    same: Callable[[UniqueKey, UniqueKey], bool],
) -> Iterator[tuple[UniqueKey, str, list[UniqueKey]]]:
    """Yield each key that a downgrade names and its upgrade does not, with its place and the keys that it could mean.

    Args:
        calls: the keys that the downgrade names; None if one of them is not written out.
        expected: the keys that the upgrade names.
    """
    missed = [key for key in expected if not any(same(key, other) for other, _ in calls or ())]
    for key, place in calls or ():
        if missed and not any(same(key, other) for other in expected) and not _changes(recording, key):
            yield key, place, missed


def _can_be(key: UniqueKey, other: UniqueKey, schema_of: SchemaOf) -> bool:
    """Return whether two keys can be the same, or constraints, where one has a name alone."""
    if key.table != other.table or len({schema_of(key), schema_of(other)} - {None}) > 1:
        return False
    if (UNKNOWN,) in (key.columns, other.columns):
        return key.name == other.name
    return set(key.columns) == set(other.columns)


def _table(key: UniqueKey) -> str:
    return f"{key.schema}.{key.table}" if key.schema else key.table


def _changes(recording: Recording, key: UniqueKey) -> bool:
    """Return whether the upgrade can rename what the key names: the downgrade may name it as it was or as it is."""
    effects = [effect(item.construct) for item in recording.items if isinstance(item, PlainStatement)]
    return any(change.definition and change.concerns(key.schema, key.table) for change in effects)


def _calls(function: Any, directive: str) -> list[tuple[UniqueKey, str]] | None:
    """Return the keys of the calls of a directive in the source of a function, each with its place.

    Returns None if a call does not write its key out: it could be any.
    """
    try:
        lines, first = inspect.getsourcelines(function)
        tree = parse(textwrap.dedent("".join(lines)))
        file = Path(inspect.getfile(function)).name
    except (OSError, TypeError, SyntaxError):
        return []
    calls = []
    for node in walk(tree):
        if isinstance(node, Call) and isinstance(node.func, Attribute) and node.func.attr == directive:
            try:
                key = _key(node, PARAMETERS[directive], getattr(function, "__globals__", {}))
            except (TypeError, ValueError, WrongUsage):
                return None
            calls.append((key, f" ({file}, line {first + node.lineno - 1})"))
    return calls


def _key(call: Call, parameters: tuple[str, ...], names: dict[str, Any]) -> UniqueKey:
    """Return the key that a call names.

    Raises:
        TypeError, ValueError, WrongUsage: it is not written out, or it is not a valid key.
    """
    nodes = dict(zip(parameters, call.args, strict=False))
    nodes.update({str(keyword.arg): keyword.value for keyword in call.keywords})
    if any(keyword.arg is None for keyword in call.keywords) or not nodes.keys() >= set(parameters):
        raise ValueError(call)
    values = {name: _value(node, names) for name, node in nodes.items() if name in (*parameters, "schema")}
    columns = values.pop("columns", UNKNOWN)
    return UniqueKey(**values, columns=(columns,) if isinstance(columns, str) else tuple(columns))


def _value(node: AST, names: dict[str, Any]) -> Any:
    """Return the value of a literal, of a name of the module, or of ``op.f()`` of either.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(node, Name):
        if node.id not in names:
            raise ValueError(node.id)
        return names[node.id]
    if isinstance(node, Call) and isinstance(node.func, Attribute) and node.func.attr == "f" and len(node.args) == 1:
        return _value(node.args[0], names)
    return literal_eval(node)
