"""Read which keys a function of a revision names in its calls of a directive, without executing it."""

from __future__ import annotations

import inspect
import sys
import textwrap
from ast import (
    AST,
    Attribute,
    Call,
    Constant,
    Import,
    ImportFrom,
    List,
    Load,
    Name,
    Raise,
    Starred,
    Subscript,
    Tuple,
    alias,
    arg,
    literal_eval,
    parse,
    walk,
)
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from sqlalchemy import text

from dupe_audit.directives.arguments import elements, many_schemas, predicate
from dupe_audit.directives.operations import UNKNOWN
from dupe_audit.directives.registration import hint
from dupe_audit.directives.schemas import as_written
from dupe_audit.errors import WrongUsage
from dupe_audit.model import UniqueKey

#: of the directives that undo an upgrade: the positional parameters
PARAMETERS = {
    "restore_duplicates": ("table", "columns"),
    "drop_unique_constraint_online": ("name", "table"),
    "drop_unique_index_online": ("name", "table"),
}

#: packages whose functions declare and restore nothing by themselves
KNOWN_PACKAGES = {"alembic", "sqlalchemy", "dupe_audit", *sys.stdlib_module_names}


class CallSite(NamedTuple):
    """Where a function of a revision calls a directive."""

    file: str
    line: int

    def __str__(self) -> str:
        return f" ({self.file}, line {self.line})"


class _Source(NamedTuple):
    tree: AST
    file: str
    first: int  #: line of the function in its file

    def place(self, node: Call) -> CallSite:
        return CallSite(self.file, self.first + node.lineno - 1)


def file_to_undo(function: Any) -> str | None:
    """Return the name of the file of a downgrade; None if it has no source, or raises its own error."""
    source = _source(function)
    return None if source is None or any(isinstance(node, Raise) for node in walk(source.tree)) else source.file


def written_calls(function: Any, directive: str) -> list[tuple[UniqueKey, CallSite]] | None:
    """Return the key of each call of a directive in the source of a function, with its place.

    Returns None if the function can name others too: a call does not write its key out, the directive has another
    name, or a function of the project is called.
    """
    if (source := _source(function)) is None:
        return []
    tree = source.tree
    names = dict(getattr(inspect.unwrap(function), "__globals__", {}))
    for name, module in _bound(tree):
        names[name] = _Local(module)  # it hides that of the module
    calls = [node for node in walk(tree) if isinstance(node, Call)]
    if [_name(node) for node in walk(tree)].count(directive) > [_name(call.func) for call in calls].count(directive):
        return None
    keys = []
    for node in calls:
        if _name(node.func) == directive:
            try:
                own = _keys(node, PARAMETERS[directive], names)
            except (TypeError, ValueError, WrongUsage):
                return None
            keys += [(key, source.place(node)) for key in own]
        elif (origin := _origin(node.func, names)) and origin.partition(".")[0] not in KNOWN_PACKAGES:
            return None
    return keys


def misused(function: Any, signatures: Mapping[str, inspect.Signature]) -> list[str]:
    """Return, as text, each call in the source of a function that passes a directive arguments it does not accept.

    Args:
        signatures: of the directives, by name; the first parameter is ``self``.
    """
    result = []
    for node, place in _calls_with_places(function):
        of_op = isinstance(node.func, Attribute) and _name(node.func.value) == "op"
        signature = signatures.get(_name(node.func)) if of_op else None
        starred = any(isinstance(argument, Starred) for argument in node.args) or None in (k.arg for k in node.keywords)
        if signature is None or starred:
            continue
        options = {str(keyword.arg): keyword.value for keyword in node.keywords}
        try:
            signature.bind(None, *node.args, **options)
        except TypeError as error:
            better = hint(_name(node.func), signature, node.args, options).removesuffix(".")
            result.append(f"{place} would fail: op.{_name(node.func)}(): {error}{better and '.'}{better}")
    return result


def _calls_with_places(function: Any) -> list[tuple[Call, CallSite]]:
    """Return the calls in the source of a function, each with its place; none if it has no source."""
    source = _source(function)
    nodes = walk(source.tree) if source else ()
    return [(node, source.place(node)) for node in nodes if source and isinstance(node, Call)]


def _source(function: Any) -> _Source | None:
    try:
        unwrapped = inspect.unwrap(function)
        lines, first = inspect.getsourcelines(unwrapped)
        return _Source(parse(textwrap.dedent("".join(lines))), Path(inspect.getfile(unwrapped)).name, first)
    except (OSError, TypeError, SyntaxError):
        return None


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


def _keys(call: Call, parameters: tuple[str, ...], names: dict[str, Any]) -> list[UniqueKey]:
    """Return the key that a call names, once for each of its schemas.

    Raises:
        TypeError, ValueError, WrongUsage: it is not written out, or it is not a valid key.
    """
    nodes = dict(zip(parameters, call.args, strict=False))
    nodes.update({str(keyword.arg): keyword.value for keyword in call.keywords})
    if any(keyword.arg is None for keyword in call.keywords) or not nodes.keys() >= set(parameters):
        raise ValueError(call)
    read = (*parameters, "schema", "schemas", "where")
    values = {name: _value(node, names) for name, node in nodes.items() if name in read}
    schemas = many_schemas(values.pop("schemas", None), values.get("schema"))
    where = predicate("where", values.pop("where", None))
    columns = elements("columns", values.pop("columns", UNKNOWN))
    key = UniqueKey(**values, columns=columns, where=where)
    return [replace(key, schema=name) for name in as_written(schemas)] if schemas else [key]


def _value(node: AST, names: dict[str, Any]) -> Any:
    """Return the value of a literal, of a name of the module, of ``op.f()`` or ``sa.text()`` of either, or of a list.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(node, Name):
        if node.id in names and not isinstance(names[node.id], _Local):
            return names[node.id]
        raise ValueError(node.id)
    if isinstance(node, Call) and isinstance(node.func, Attribute) and node.func.attr == "f" and len(node.args) == 1:
        return _value(node.args[0], names)
    if isinstance(node, Call) and _name(node.func) == "text" and len(node.args) == 1 and not node.keywords:
        return text(_value(node.args[0], names))
    if isinstance(node, List | Tuple):
        return [_value(item, names) for item in node.elts]
    return literal_eval(node)
