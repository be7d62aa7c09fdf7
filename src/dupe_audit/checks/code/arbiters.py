"""Judge as PostgreSQL's planner does which unique index can be the arbiter of an ``ON CONFLICT``.

Where the planner would have to prove something, such as that one predicate implies another, the answer is *unsure*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from dupe_audit.checks.code.sql_text import is_hole, is_node, parse, walk
from dupe_audit.findings import CheckId
from dupe_audit.schema.facts import Index

Match = Literal["yes", "unsure", "no"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What PostgreSQL will make of one ``ON CONFLICT``."""

    problem: CheckId | None = None  #: the finding
    target: str = ""  #: the target as people write it, with what is wrong
    covers: frozenset[int] = field(default_factory=frozenset)  #: oids of the indexes whose conflicts it handles
    unsure: bool = False


@dataclass(frozen=True, slots=True)
class _Element:
    """One part of a key: a column or a normal form of an expression, and what it says about order."""

    column: str | None
    expression: Any
    columns: frozenset[str]
    collation: str | None
    opclass: str | None


def judge(conflict: Any, indexes: Iterable[Index]) -> Judgement:
    """Judge the parsed clause against all indexes of its table."""
    from pglast.enums import OnConflictAction

    update = conflict.action == OnConflictAction.ONCONFLICT_UPDATE
    infer, unique = conflict.infer, [one for one in indexes if one.unique]
    if infer is None:
        return _without_target(unique, update=update)
    if infer.conname is not None:
        return by_name(infer.conname, indexes, update=update)
    wanted = [_element(one) for one in infer.indexElems]
    if any(is_hole(name) for one in wanted for name in one.columns):
        return Judgement(unsure=True)
    named = ", ".join(one.column or _written(one, raw) for one, raw in zip(wanted, infer.indexElems, strict=True))
    where = None if infer.whereClause is None else frozenset(_conjuncts(infer.whereClause))
    return by_columns(f"ON CONFLICT ({named})", [(one, match(one, wanted, where)) for one in unique])


def _without_target(unique: list[Index], *, update: bool) -> Judgement:
    if update:
        return Judgement(problem="no-arbiter", target="ON CONFLICT DO UPDATE, which has to name one [42601]")
    if late := next((one for one in unique if one.deferrable), None):
        target = f"ON CONFLICT DO NOTHING, which looks at every index: {late.name} is deferrable [55000]"
        return Judgement(problem="arbiter-unfit", target=target)
    return Judgement(covers=frozenset(one.oid for one in unique))


def by_name(name: str, indexes: Iterable[Index], *, update: bool = False) -> Judgement:
    """Judge ``ON CONFLICT ON CONSTRAINT name``."""
    if is_hole(name):
        return Judgement(unsure=True)
    target = f"ON CONFLICT ON CONSTRAINT {name}"
    found = [one for one in indexes if one.constraint == name]
    if not found:
        plain = any(one.name == name for one in indexes)
        why = ": that is an index, and no constraint owns it" if plain else ""
        return Judgement(problem="no-arbiter", target=f"{target}{why} [42704]")
    good = [one for one in found if one.valid and not one.deferrable]
    if not good:
        return _unfit(target, found[0])
    if update and all(_excludes(one) for one in good):
        return Judgement(problem="no-arbiter", target=f"{target} DO UPDATE: it is an exclusion constraint [42809]")
    return Judgement(covers=frozenset(one.oid for one in good))


def by_columns(target: str, matches: list[tuple[Index, Match]]) -> Judgement:
    """Judge an inference, given how each unique index matches it."""
    yes = [one for one, how in matches if how == "yes"]
    valid = [one for one in yes if one.valid]
    # PostgreSQL takes every index that matches, and stops at one that is checked too late.
    if late := next((one for one in valid if one.deferrable), None):
        return _unfit(target, late)
    if valid:
        return Judgement(covers=frozenset(one.oid for one, how in matches if how != "no"))
    if any(how == "unsure" for _one, how in matches):
        return Judgement(unsure=True)
    return _unfit(target, yes[0]) if yes else Judgement(problem="no-arbiter", target=f"{target} [42P10]")


def _unfit(target: str, index: Index) -> Judgement:
    why = "deferrable [55000]" if index.valid else "invalid [42P10]"
    return Judgement(problem="arbiter-unfit", target=f"{target}: index {index.name} is {why}")


def _excludes(index: Index) -> bool:
    """Tell an exclusion constraint, or a unique one WITHOUT OVERLAPS, which is one, too."""
    return index.method != "btree"


def match(index: Index, wanted: list[_Element], where: frozenset[Any] | None) -> Match:
    """Tell whether an index has exactly the wanted key, in any order, and a predicate that *where* implies."""
    if _excludes(index):
        return "no"
    elements, predicate = _shape(index.definition)
    if {one.column for one in wanted if one.column} != {one.column for one in elements if one.column}:
        return "no"
    answers = [_order(one, elements) for one in wanted]
    mine = {one.expression for one in elements if one.column is None}
    theirs = {one.expression for one in wanted if one.column is None}
    if mine != theirs:
        # Two texts can be one expression to the planner, which sees types, operators and constants.
        alike = bool(mine) and bool(theirs) and _reads(elements) == _reads(wanted)
        answers.append("unsure" if alike else "no")
    if predicate:
        answers.append("no" if where is None else "yes" if predicate <= where else "unsure")
    return "no" if "no" in answers else "unsure" if "unsure" in answers else "yes"


def _reads(elements: Iterable[_Element]) -> frozenset[str]:
    return frozenset(name for one in elements if one.column is None for name in one.columns)


def _order(wanted: _Element, elements: tuple[_Element, ...]) -> Match:
    """Compare a collation and an operator class, if the wanted element names any."""
    if wanted.collation is None and wanted.opclass is None:
        return "yes"
    key = (wanted.column, wanted.expression)
    for one in elements:
        if (one.column, one.expression) != key:
            continue
        pairs = [(wanted.collation, one.collation), (wanted.opclass, one.opclass)]
        if all(asked in (None, given) for asked, given in pairs):
            return "yes"
        # What a definition leaves out is the column's own, whose name is not in it.
        if all(asked in (None, given) or given is None for asked, given in pairs):
            return "unsure"
        return "no" if wanted.opclass is None else "unsure"
    return "unsure"


@lru_cache(maxsize=1024)
def _shape(definition: str) -> tuple[tuple[_Element, ...], frozenset[Any]]:
    """Return the key and the predicate of an index, from its CREATE INDEX."""
    parsed = parse(definition)
    if parsed is None:
        return (), frozenset()
    node = parsed[0].stmt
    predicate = frozenset(_conjuncts(node.whereClause)) if node.whereClause is not None else frozenset()
    return tuple(_element(one) for one in node.indexParams), predicate


def _element(node: Any) -> _Element:
    column = node.name
    if column is None and type(node.expr).__name__ == "ColumnRef":
        column = _column(node.expr)  # ((a)) is a
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
    """Yield the normal form of each condition that an AND joins."""
    from pglast.enums import BoolExprType

    if type(node).__name__ == "BoolExpr" and node.boolop == BoolExprType.AND_EXPR:
        for one in node.args:
            yield from _conjuncts(one)
    else:
        yield normal(node)


def normal(node: Any) -> Any:
    """Return a form that is equal for expressions that differ in place, casts, qualifiers or spelling only.

    PostgreSQL shows an index with casts that nobody wrote, so casts say nothing.
    """
    if isinstance(node, tuple):
        return tuple(normal(one) for one in node)
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
            form = (kind, *(normal(getattr(node, name, None)) for name in node.__slots__ if not _is_place(name)))
    return form


def _is_place(name: str) -> bool:
    return name.endswith(("location", "list_start", "list_end"))
