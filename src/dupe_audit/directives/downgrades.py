"""Whether a revision's ``downgrade()`` names the keys whose rows its ``upgrade()`` archives; it is never executed."""

from __future__ import annotations

import inspect
import logging
import sys
import textwrap
from ast import (
    AST,
    Attribute,
    Call,
    Constant,
    Import,
    ImportFrom,
    Load,
    Name,
    Subscript,
    alias,
    arg,
    literal_eval,
    parse,
    walk,
)
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from dupe_audit.directives.effects import effect
from dupe_audit.directives.execution import Execution
from dupe_audit.directives.operations import ArchiveDuplicatesOp
from dupe_audit.directives.recording import PlainStatement, Recording
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import Finding, finding
from dupe_audit.model import UniqueKey

log = logging.getLogger("alembic.dupe_audit")

_RESTORE = "restore_duplicates"

#: packages whose functions declare and restore nothing by themselves
KNOWN_PACKAGES = {"alembic", "sqlalchemy", "dupe_audit", *sys.stdlib_module_names}


def refusals(execution: Execution, schema_of: Callable[[UniqueKey], str | None]) -> list[str]:
    """Return, at the first directive of an upgrade, why its downgrade could not restore; log what is accepted.

    Args:
        schema_of: returns the schema of a key's table, whether or not the key names it.
    """
    if not (execution.upgrading and execution.recording and len(execution.begun) == 1):
        return []
    findings = mismatches(execution.recording, execution.downgrade, str(execution.revision), schema_of)
    lines = [f"  [{finding.id}] {finding.message}\n      {finding.help}" for finding in findings]
    if "restore-mismatch" not in execution.options.accept:
        return lines
    for line in lines:
        log.warning("%s", line.strip())
    return []


def mismatches(
    recording: Recording, downgrade: object, revision: str, schema_of: Callable[[UniqueKey], str | None]
) -> list[Finding]:
    """Return a finding for each key that *downgrade* restores instead of one that the upgrade archives.

    Without a key of the upgrade that is not restored, or if the revision changes the table's definition, restoring
    another key is not judged. Nor is a downgrade that calls a function of the project: it can restore any key.

    Args:
        recording: of the upgrade.
        downgrade: the function of the same revision, or None; its source is read.
        revision: whose functions these are.
        schema_of: returns the schema of a key's table, whether or not the key names it.
    """
    if recording.obstacle:
        return []
    archived = [item.key for item in recording.directives if isinstance(item, ArchiveDuplicatesOp)]
    try:
        restored = list(_restored_keys(downgrade)) if archived else []
    except (TypeError, ValueError):
        return []  # a key that is not written out could be any

    def is_among(key: UniqueKey, keys: list[UniqueKey]) -> bool:
        return any(_is_same(key, other, schema_of) for other in keys)

    missed = list(dict.fromkeys(str(key) for key in archived if not is_among(key, restored)))
    return [
        finding("restore-mismatch", f"{revision} restores {key}, but upgrade() archives {' and '.join(missed)}")
        for key in restored
        if missed and not is_among(key, archived) and not _changes(recording, key)
    ]


def _is_same(key: UniqueKey, other: UniqueKey, schema_of: Callable[[UniqueKey], str | None]) -> bool:
    if key.table != other.table or set(key.columns) != set(other.columns):
        return False
    return key.schema == other.schema or (None in (key.schema, other.schema) and schema_of(key) == schema_of(other))


def _changes(recording: Recording, key: UniqueKey) -> bool:
    """Return whether the upgrade can rename what the key names: the downgrade may name it as it was or as it is."""
    effects = [effect(item.construct) for item in recording.items if isinstance(item, PlainStatement)]
    return any(change.definition and change.concerns(key.schema, key.table) for change in effects)


def _restored_keys(downgrade: Any) -> Iterator[UniqueKey]:
    """Yield the keys of the calls of ``op.restore_duplicates()`` in the source of a function.

    Raises:
        TypeError, ValueError: a call does not write its key out, or is one of a function that could restore any.
    """
    try:
        function = inspect.unwrap(downgrade)
        tree = parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return
    names = dict(getattr(function, "__globals__", {}))
    for name, module in _bound(tree):
        names[name] = _Local(module)  # it hides that of the module
    calls = [node for node in walk(tree) if isinstance(node, Call)]
    if [_name(node) for node in walk(tree)].count(_RESTORE) > [_name(call.func) for call in calls].count(_RESTORE):
        raise ValueError(_RESTORE)  # it is called under another name too
    for node in calls:
        if _name(node.func) == _RESTORE:
            yield _key(node, names)
        elif (origin := _origin(node.func, names)) and origin.partition(".")[0] not in KNOWN_PACKAGES:
            raise ValueError(origin)


class _Local(NamedTuple):
    """What a function binds to a name; the value is not known."""

    module: str  #: that it is imported from; empty if it is not imported


def _bound(tree: AST) -> Iterator[tuple[str, str]]:
    """Yield the names that a function binds anywhere, nested functions included, each with what it is imported from."""
    for node in walk(tree):
        if isinstance(node, Name) and not isinstance(node.ctx, Load):
            yield node.id, ""
        elif isinstance(node, arg):
            yield node.arg, ""
        elif isinstance(node, Import | ImportFrom):
            for item in node.names:
                package = "." if getattr(node, "level", 0) else getattr(node, "module", item.name)
                yield (item.asname or item.name).partition(".")[0], str(package)
        elif isinstance(name := getattr(node, "name", None), str) and not isinstance(node, alias):
            yield name, ""  # of a function, an error, or a pattern


def _name(node: AST) -> str:
    """Return the last part of a name, also of one in quotes; empty if the node is none."""
    if isinstance(node, Constant):
        return str(node.value)
    return node.attr if isinstance(node, Attribute) else node.id if isinstance(node, Name) else ""


def _origin(function: AST, names: dict[str, Any]) -> str:
    """Return the module that a called function comes from; empty if it is of the caller or of the language."""
    while isinstance(function, Attribute | Call | Subscript):
        function = function.func if isinstance(function, Call) else function.value
    value = names.get(function.id, "") if isinstance(function, Name) else ""
    if isinstance(value, _Local):
        return value.module
    if isinstance(value, ModuleType):
        return value.__name__
    return str(getattr(value, "__module__", type(value).__module__))


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
        if node.id in names and not isinstance(names[node.id], _Local):
            return names[node.id]
        raise ValueError(node.id)
    return literal_eval(node)
