"""Whether a revision's ``downgrade()`` names the keys whose rows its ``upgrade()`` archives; it is never executed."""

from __future__ import annotations

import inspect
import logging
import textwrap
from ast import AST, Attribute, Call, Name, literal_eval, parse, walk
from collections.abc import Iterator
from typing import Any

from dupe_audit.directives.effects import effect
from dupe_audit.directives.execution import Execution
from dupe_audit.directives.operations import ArchiveDuplicatesOp
from dupe_audit.directives.recording import PlainStatement, Recording
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import Finding, finding
from dupe_audit.model import UniqueKey

log = logging.getLogger("alembic.dupe_audit")

_RESTORE = "restore_duplicates"


def refusals(execution: Execution) -> list[str]:
    """Return, at the first directive of an upgrade, why its downgrade could not restore; log what is accepted."""
    if not (execution.upgrading and execution.recording and len(execution.begun) == 1):
        return []
    findings = mismatches(execution.recording, execution.downgrade, str(execution.revision))
    lines = [f"  [{finding.id}] {finding.message}\n      {finding.help}" for finding in findings]
    if "restore-mismatch" not in execution.options.accept:
        return lines
    for line in lines:
        log.warning("%s", line.strip())
    return []


def mismatches(recording: Recording, downgrade: object, revision: str) -> list[Finding]:
    """Return a finding for each key that *downgrade* restores instead of one that the upgrade archives.

    Without a key of the upgrade that is not restored, or if the revision changes the table's definition, restoring
    another key is not judged.

    Args:
        recording: of the upgrade.
        downgrade: the function of the same revision, or None; its source is read.
        revision: whose functions these are.
    """
    if recording.obstacle:
        return []
    archived = {_identity(item.key): item.key for item in recording.directives if isinstance(item, ArchiveDuplicatesOp)}
    try:
        restored = list(_restored_keys(downgrade)) if archived else []
    except (TypeError, ValueError):
        return []  # a key that is not written out could be any
    names = {_identity(key) for key in restored}
    missed = [str(key) for identity, key in archived.items() if identity not in names]
    return [
        finding("restore-mismatch", f"{revision} restores {key}, but upgrade() archives {' and '.join(missed)}")
        for key in restored
        if missed and _identity(key) not in archived and not _changes(recording, key)
    ]


def _identity(key: UniqueKey) -> tuple[str | None, str, frozenset[str]]:
    return key.schema, key.table, frozenset(key.columns)


def _changes(recording: Recording, key: UniqueKey) -> bool:
    """Return whether the upgrade can rename what the key names: the downgrade may name it as it was or as it is."""
    effects = [effect(item.construct) for item in recording.items if isinstance(item, PlainStatement)]
    return any(change.definition and change.concerns(key.schema, key.table) for change in effects)


def _restored_keys(downgrade: Any) -> Iterator[UniqueKey]:
    """Yield the keys of the calls of ``op.restore_duplicates()`` in the source of a function.

    Raises:
        TypeError, ValueError: a call does not write its key out.
    """
    try:
        tree = parse(textwrap.dedent(inspect.getsource(downgrade)))
    except (OSError, TypeError, SyntaxError):
        return
    for node in walk(tree):
        if isinstance(node, Call) and isinstance(node.func, Attribute) and node.func.attr == _RESTORE:
            yield _key(node, getattr(downgrade, "__globals__", {}))


def _key(call: Call, names: dict[str, Any]) -> UniqueKey:
    values = dict(zip(("table", "columns"), call.args, strict=False))
    values.update({str(keyword.arg): keyword.value for keyword in call.keywords})
    arguments = {name: _value(node, names) for name, node in values.items()}
    if not isinstance(arguments.get("columns"), (list, tuple)):
        raise TypeError(_RESTORE)
    try:
        return UniqueKey(**{**arguments, "columns": tuple(arguments["columns"])})
    except (TypeError, WrongUsage) as error:
        raise ValueError(_RESTORE) from error


def _value(node: AST, names: dict[str, Any]) -> Any:
    """Return the value of a literal, or of a name of the module.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(node, Name):
        if node.id not in names:
            raise ValueError(node.id)
        return names[node.id]
    return literal_eval(node)
