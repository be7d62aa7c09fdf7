"""Models: the uniqueness that SQLAlchemy declares and the one that the migrated database has are the same."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from dupe_audit.checks.evidence import Evidence
from dupe_audit.checks.models.declared import Declared, cut, declared
from dupe_audit.checks.models.included import Included
from dupe_audit.checks.report import Found, Place
from dupe_audit.findings import CheckId, finding
from dupe_audit.schema.facts import Catalog, Index, Table

_NULL_TEST = re.compile(r"(\w+) is( not)? null")


def check(evidence: Evidence) -> Iterator[Found]:
    """Compare each table that the models and the database both have."""
    if evidence.final is None:
        return
    included = Included(evidence.include_object, evidence.include_name)
    wanted: dict[int, list[Declared]] = {}
    for metadata in evidence.metadata:
        for model in metadata.tables.values():
            table = _table(evidence.final, model.schema, str(model.name))
            if table is not None and table.name != evidence.version_table and included.table(model, table.schema):
                wanted.setdefault(table.oid, []).extend(one for one in declared(model))
    for table in evidence.final.tables:
        if table.oid in wanted:
            yield from _compare(evidence, table, list(dict.fromkeys(wanted[table.oid])), included)


def _table(catalog: Catalog, schema: str | None, name: str) -> Table | None:
    """Return the table of a model; without a schema it is in ``public``, else the only one of that name."""
    named = [one for one in catalog.tables if one.name == cut(name)]
    if schema is None and len(named) > 1:
        schema = "public"
    fitting = [one for one in named if schema in (None, one.schema)]
    return fitting[0] if len(fitting) == 1 else None


def _compare(evidence: Evidence, table: Table, wanted: list[Declared], included: Included) -> Iterator[Found]:
    assert evidence.final is not None  # noqa: S101 - the caller looked
    # Only a btree is unique as models mean it: what is WITHOUT OVERLAPS is an exclusion.
    there = [one for one in evidence.final.indexes if one.relid == table.oid and one.unique and one.method == "btree"]
    pairs = _pairs(wanted, there)
    for one, index in pairs:
        if (differs := tuple(_differences(one, index))) and included.pair(one, index, table.name):
            yield _say(evidence, "unique-differs", f"{_named(index)}: {'; '.join(differs)}", table, index)
    met = [one for one, _index in pairs]
    for one in wanted:
        # The same key in another index, such as that of the primary key, makes the same rows unique.
        if one in met or one.optional or any(_same_rows(one, index) for index in there):
            continue
        if included.pair(one, None, table.name):
            yield _say(evidence, "unique-missing-in-database", str(one), table, None)
    known = {index.oid for _one, index in pairs}
    for index in there:
        if index.oid not in known and included.pair(None, index, table.name):
            yield _say(evidence, "unique-missing-in-models", _named(index), table, index)


def _say(evidence: Evidence, id_: CheckId, subject: str, table: Table, index: Index | None) -> Found:
    place = Place() if index is None else _place(evidence, index)
    return Found(rule="models", finding=finding(id_, subject, table=str(table)), place=place)


def _place(evidence: Evidence, index: Index) -> Place:
    """Return the last checked revision that made an index of that name."""

    def has(catalog: Catalog | None) -> bool:
        return catalog is not None and any(
            (one.schema, one.name) == (index.schema, index.name) for one in catalog.indexes
        )

    made = [step.revision for step in evidence.steps if has(step.after) and not has(step.before)]
    return made[-1].place() if made else Place()


def _named(index: Index) -> str:
    kind = "primary key" if index.primary else "constraint" if index.constraint else "index"
    return f"{kind} {index.constraint or index.name} ({', '.join(index.keys)})"


def _pairs(wanted: Iterable[Declared], there: Iterable[Index]) -> list[tuple[Declared, Index]]:
    """Pair each declared uniqueness with its index: the same key before the same name, and the most alike first."""
    likely: list[tuple[tuple[Any, ...], Declared, Index]] = []
    for one in wanted:
        for index in there:
            named = _is_named(one, index)
            if _same_key(one, index):
                likely.append(((0 if named else 1, len(tuple(_differences(one, index)))), one, index))
            elif named and one.names:
                likely.append(((2, 0), one, index))
    pairs: list[tuple[Declared, Index]] = []
    for _rank, one, index in sorted(likely, key=lambda each: each[0]):
        if not any(one is other or index is taken for other, taken in pairs):
            pairs.append((one, index))
    return pairs


def _is_named(one: Declared, index: Index) -> bool:
    return not one.names or (index.constraint or index.name) in one.names


def _same_key(one: Declared, index: Index) -> bool:
    """Tell whether the columns are the same in any order; of expressions, only how many and what they read."""
    mine, theirs = set(filter(None, one.columns)), set(filter(None, index.columns))
    if mine != theirs or one.columns.count(None) != index.columns.count(None):
        return False
    return one.reads is None or one.reads <= set(index.uses)


def _same_rows(one: Declared, index: Index) -> bool:
    alike = _same_key(one, index) and one.nulls_not_distinct == index.nulls_not_distinct
    return alike and index.valid and None not in one.columns and index.predicate is None and one.predicate is None


def _differences(one: Declared, index: Index) -> Iterator[str]:
    """Yield in what the database differs from the models."""
    if not index.valid:
        yield "its index is INVALID"
    if not _same_key(one, index):
        yield f"the models have {one}"
    elif None not in one.columns and one.columns != index.columns:
        yield f"the models have its columns in another order ({', '.join(map(str, one.columns))})"
    if one.include != frozenset(index.include):
        yield f"INCLUDE is {_list(index.include)}, and in the models {_list(one.include)}"
    if one.nulls_not_distinct != index.nulls_not_distinct:
        yield f"it is {_nulls(index.nulls_not_distinct)}, and in the models {_nulls(one.nulls_not_distinct)}"
    if (one.deferrable, one.deferred) != (index.deferrable, index.deferred):
        mine, theirs = _when(one.deferrable, one.deferred), _when(index.deferrable, index.deferred)
        yield f"it is {theirs}, and in the models {mine}"
    if _other_predicate(one, index):
        yield f"it holds {_where(index.predicate)}, and in the models {_where(one.predicate)}"
    kind = "primary key" if index.primary else "constraint" if index.constraint else "index"
    if one.kind != kind:
        yield f"in the models it is {_article(one.kind)}"
    if not _is_named(one, index):
        yield f"in the models its name is {min(one.names)}"


def _list(columns: Iterable[str]) -> str:
    return ", ".join(sorted(columns)) or "empty"


def _nulls(nulls_not_distinct: bool) -> str:
    return "NULLS NOT DISTINCT" if nulls_not_distinct else "NULLS DISTINCT"


def _when(deferrable: bool, deferred: bool) -> str:
    return "DEFERRABLE INITIALLY DEFERRED" if deferred else "DEFERRABLE" if deferrable else "NOT DEFERRABLE"


def _where(predicate: str | None) -> str:
    return "for all rows" if predicate is None else f"WHERE {predicate}"


def _article(kind: str) -> str:
    return {"primary key": "the primary key", "constraint": "a constraint", "index": "an index of no constraint"}[kind]


def _other_predicate(one: Declared, index: Index) -> bool:
    """Tell whether predicates surely differ; PostgreSQL writes them in its own words."""
    if one.predicate is None or index.predicate is None:
        return (one.predicate is None) != (index.predicate is None)
    mine, theirs = _light(one.predicate), _light(index.predicate)
    if _NULL_TEST.fullmatch(mine) and _NULL_TEST.fullmatch(theirs):
        return mine != theirs
    return not all(re.search(rf"\b{re.escape(name.lower())}\b", theirs) for name in one.predicate_reads)


def _light(predicate: str) -> str:
    """Return a predicate in small letters, without qualifiers, quotes and parentheses."""
    return " ".join(re.sub(r'\b\w+\.(?=["\w])|["()]', "", predicate.lower()).split())
