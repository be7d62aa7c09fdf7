"""Judge, as PostgreSQL's planner does, which unique index can be the arbiter of an ``ON CONFLICT``.

If the planner would have to prove something, such as that one predicate implies another, the answer is *unsure*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from dupe_audit.checks.code.sql_text import is_hole, is_node, parse, walk
from dupe_audit.postgres.sqlstates import (
    INVALID_COLUMN_REFERENCE,
    OBJECT_NOT_IN_STATE,
    SYNTAX_ERROR,
    UNDEFINED_OBJECT,
    WRONG_OBJECT_TYPE,
)
from dupe_audit.schema.facts import Index

Match = Literal["yes", "unsure", "no"]
Problem = Literal["missing", "unfit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What PostgreSQL will do with one ``ON CONFLICT``."""

    problem: Problem | None = None  #: no index has the target's key, or the index is deferrable or invalid
    target: str = ""  #: the conflict target as people write it, and what is wrong with it
    covers: frozenset[int] = field(default_factory=frozenset)  #: oids of the indexes whose conflicts it handles
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of a key: a column or the normal form of an expression, and how it is ordered."""

    column: str | None
    expression: Any
    columns: frozenset[str]
    collation: str | None
    opclass: str | None


def judge(conflict: Any, indexes: Iterable[Index]) -> Judgement:
    """Judge a parsed ``ON CONFLICT`` clause against all indexes of its table."""
    from pglast.enums import OnConflictAction

    update = conflict.action == OnConflictAction.ONCONFLICT_UPDATE
    infer, unique = conflict.infer, [index for index in indexes if index.unique]
    if infer is None:
        return _without_target(unique, update=update)
    if infer.conname is not None:
        return by_name(infer.conname, indexes, update=update)
    wanted = [_element(node) for node in infer.indexElems]
    if any(is_hole(name) for element in wanted for name in element.columns):
        return Judgement(unsure=True)
    key = ", ".join(
        element.column or _written(element, node) for element, node in zip(wanted, infer.indexElems, strict=True)
    )
    where = None if infer.whereClause is None else frozenset(_conjuncts(infer.whereClause))
    return by_columns(f"ON CONFLICT ({key})", [(index, match(index, wanted, where)) for index in unique])


def _without_target(unique: list[Index], *, update: bool) -> Judgement:
    if update:
        return Judgement(problem="missing", target=f"ON CONFLICT DO UPDATE without a conflict target [{SYNTAX_ERROR}]")
    if deferrable := next((index for index in unique if index.deferrable), None):
        reason = f"index {deferrable.name} is deferrable [{OBJECT_NOT_IN_STATE}]"
        return Judgement(problem="unfit", target=f"ON CONFLICT DO NOTHING, which uses every unique index: {reason}")
    return Judgement(covers=frozenset(index.oid for index in unique))


def by_name(name: str, indexes: Iterable[Index], *, update: bool = False) -> Judgement:
    """Judge ``ON CONFLICT ON CONSTRAINT name``."""
    if is_hole(name):
        return Judgement(unsure=True)
    target = f"ON CONFLICT ON CONSTRAINT {name}"
    owned = [index for index in indexes if index.constraint == name]
    if not owned:
        plain = any(index.name == name for index in indexes)
        why = ": that is an index, and no constraint owns it" if plain else ""
        return Judgement(problem="missing", target=f"{target}{why} [{UNDEFINED_OBJECT}]")
    usable = [index for index in owned if index.valid and not index.deferrable]
    if not usable:
        return unfit(target, owned[0])
    if update and all(_excludes(index) for index in usable):
        why = f"that is an exclusion constraint [{WRONG_OBJECT_TYPE}]"
        return Judgement(problem="missing", target=f"{target} DO UPDATE: {why}")
    return Judgement(covers=frozenset(index.oid for index in usable))


def by_columns(target: str, matches: list[tuple[Index, Match]]) -> Judgement:
    """Judge a conflict target of columns, given how each unique index matches it."""
    matching = [index for index, matched in matches if matched == "yes"]
    valid = [index for index in matching if index.valid]
    # PostgreSQL uses every index that matches, and refuses if one of them is deferrable.
    if deferrable := next((index for index in valid if index.deferrable), None):
        return unfit(target, deferrable)
    if valid:
        return Judgement(covers=frozenset(index.oid for index, matched in matches if matched != "no"))
    if any(matched == "unsure" for _index, matched in matches):
        return Judgement(unsure=True)
    return unfit(target, matching[0]) if matching else no_index(target)


def no_index(target: str) -> Judgement:
    """Return that no unique index has the columns of a conflict target."""
    return Judgement(problem="missing", target=f"{target} [{INVALID_COLUMN_REFERENCE}]")


def unfit(target: str, index: Index) -> Judgement:
    """Return that the index which a conflict target means is deferrable or invalid."""
    why = f"deferrable [{OBJECT_NOT_IN_STATE}]" if index.valid else f"invalid [{INVALID_COLUMN_REFERENCE}]"
    return Judgement(problem="unfit", target=f"{target}: index {index.name} is {why}")


def _excludes(index: Index) -> bool:
    """Return whether it belongs to an exclusion constraint; a unique one WITHOUT OVERLAPS is one too."""
    return index.method != "btree"


def match(index: Index, wanted: list[_Element], where: frozenset[Any] | None) -> Match:
    """Return whether an index has exactly the wanted key, in any order, and a predicate that *where* implies."""
    if _excludes(index):
        return "no"
    elements, predicate = _shape(index.definition)
    if _columns(wanted) != _columns(elements):
        return "no"
    verdicts = [_order(element, elements) for element in wanted]
    indexed, inferred = _expressions(elements), _expressions(wanted)
    if indexed != inferred:
        # The planner, which sees types, operators and constants, may take two texts for one expression.
        similar = bool(indexed) and bool(inferred) and _reads(elements) == _reads(wanted)
        verdicts.append("unsure" if similar else "no")
    if predicate:
        verdicts.append("no" if where is None else "yes" if predicate <= where else "unsure")
    return "no" if "no" in verdicts else "unsure" if "unsure" in verdicts else "yes"


def _columns(elements: Iterable[_Element]) -> set[str]:
    return {element.column for element in elements if element.column}


def _expressions(elements: Iterable[_Element]) -> set[Any]:
    return {element.expression for element in elements if element.column is None}


def _reads(elements: Iterable[_Element]) -> frozenset[str]:
    return frozenset(name for element in elements if element.column is None for name in element.columns)


def _order(wanted: _Element, elements: tuple[_Element, ...]) -> Match:
    """Compare collation and operator class, if the wanted element names one of them."""
    if wanted.collation is None and wanted.opclass is None:
        return "yes"
    key = (wanted.column, wanted.expression)
    for element in elements:
        if (element.column, element.expression) != key:
            continue
        pairs = [(wanted.collation, element.collation), (wanted.opclass, element.opclass)]
        if all(wanted_name in (None, index_name) for wanted_name, index_name in pairs):
            return "yes"
        # If the definition names none, it is the default of the column, which the definition does not contain.
        if all(wanted_name in (None, index_name) or index_name is None for wanted_name, index_name in pairs):
            return "unsure"
        return "no" if wanted.opclass is None else "unsure"
    return "unsure"


@lru_cache(maxsize=1024)
def _shape(definition: str) -> tuple[tuple[_Element, ...], frozenset[Any]]:
    """Return the elements and the predicate of an index, from its CREATE INDEX."""
    parsed = parse(definition)
    if parsed is None:
        return (), frozenset()
    node = parsed[0].stmt
    predicate = frozenset(_conjuncts(node.whereClause)) if node.whereClause is not None else frozenset()
    return tuple(_element(parameter) for parameter in node.indexParams), predicate


def _element(node: Any) -> _Element:
    column = node.name
    if column is None and type(node.expr).__name__ == "ColumnRef":
        column = _column(node.expr)  # ((a)) is the column a
    return _Element(
        column=column,
        expression=None if column else normal(node.expr),
        columns=frozenset([column]) if column else frozenset(columns(node.expr)),
        collation=_last(node.collation),
        opclass=_last(node.opclass),
    )


def _last(names: Any) -> str | None:
    return names[-1].sval if names else None


def _column(node: Any) -> str:
    return getattr(node.fields[-1], "sval", "*")


def columns(expression: Any) -> Iterator[str]:
    """Yield the name of every column that an expression reads."""
    return (_column(node) for node in walk(expression) if type(node).__name__ == "ColumnRef")


def _written(element: _Element, node: Any) -> str:
    from pglast.stream import RawStream

    return str(RawStream()(node.expr)) if element.column is None else element.column


def _conjuncts(node: Any) -> Iterator[Any]:
    """Yield the normal form of each condition joined by AND."""
    from pglast.enums import BoolExprType

    if type(node).__name__ == "BoolExpr" and node.boolop == BoolExprType.AND_EXPR:
        for argument in node.args:
            yield from _conjuncts(argument)
    else:
        yield normal(node)


def normal(node: Any) -> Any:
    """Return a form that is equal for expressions that differ only in position, casts, qualifiers or spelling.

    Casts are ignored because PostgreSQL adds casts when it prints an index definition.
    """
    if isinstance(node, tuple):
        return tuple(normal(child) for child in node)
    if not is_node(node):
        return node
    match type(node).__name__:
        case "TypeCast":
            form = normal(node.arg)
        case "ColumnRef":
            form = ("column", _column(node))
        case "FuncCall":
            form = ("call", _last(node.funcname), normal(node.args))
        case kind:
            form = (kind, *(normal(getattr(node, name, None)) for name in node.__slots__ if not _is_position(name)))
    return form


def _is_position(name: str) -> bool:
    return name.endswith(("location", "list_start", "list_end"))
