"""Models: the uniqueness that SQLAlchemy models declare is the uniqueness of the migrated database."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dupe_audit.checks.evidence import Evidence, table_named
from dupe_audit.checks.models.filters import Included
from dupe_audit.checks.models.keys import ModelKey, keys_of
from dupe_audit.checks.report import Place, ReportedFinding
from dupe_audit.findings import CheckId, finding
from dupe_audit.model import MAX_IDENTIFIER
from dupe_audit.postgres.names import truncate_name
from dupe_audit.schema.facts import Catalog, Index, Table

RULE = "models"

_NULL_TEST = re.compile(r"(\w+) is( not)? null")


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Compare each table that both the models and the database have.

    Raises:
        DupeAuditError: include_name or include_object of env.py raised an error.
    """
    if evidence.final_schema is None:
        return
    included = Included(evidence.include_object, evidence.include_name)
    declared: dict[int, list[ModelKey]] = {}
    for metadata in evidence.metadata:
        for model in metadata.tables.values():
            table = table_named(evidence.final_schema, model.schema, truncate_name(str(model.name), MAX_IDENTIFIER))
            if table is not None and table.name != evidence.version_table and included.table(model, table.schema):
                declared.setdefault(table.oid, []).extend(keys_of(model))
    for table in evidence.final_schema.tables:
        if table.oid in declared:
            yield from _compare(evidence, table, list(dict.fromkeys(declared[table.oid])), included)


def _compare(
    evidence: Evidence, table: Table, declared: list[ModelKey], included: Included
) -> Iterator[ReportedFinding]:
    assert evidence.final_schema is not None  # noqa: S101 - the caller checked it
    # Only a btree index is unique in the sense of the models: WITHOUT OVERLAPS is an exclusion.
    indexes = [
        index
        for index in evidence.final_schema.indexes
        if index.relid == table.oid and index.unique and index.method == "btree"
    ]
    pairs = _pairs(declared, indexes)
    for key, index in pairs:
        if (differences := tuple(_differences(key, index))) and included.key(key, index, table.name):
            subject = f"{_described(index)}: {'; '.join(differences)}"
            yield _result(evidence, "unique-differs", subject, table, index)
    paired_keys = [key for key, _index in pairs]
    for key in declared:
        # The same key in another index, such as that of the primary key, makes the same rows unique.
        if key in paired_keys or key.optional or any(_same_rows(key, index) for index in indexes):
            continue
        if included.key(key, None, table.name):
            yield _result(evidence, "unique-missing-in-database", str(key), table, None)
    paired_oids = {index.oid for _key, index in pairs}
    for index in indexes:
        if index.oid not in paired_oids and included.key(None, index, table.name):
            yield _result(evidence, "unique-missing-in-models", _described(index), table, index)


def _result(evidence: Evidence, id_: CheckId, subject: str, table: Table, index: Index | None) -> ReportedFinding:
    place = Place() if index is None else _place(evidence, index)
    return ReportedFinding(rule=RULE, finding=finding(id_, subject, table=str(table)), place=place)


def _place(evidence: Evidence, index: Index) -> Place:
    """Return the last checked revision that created an index of that name."""

    def has(catalog: Catalog | None) -> bool:
        return catalog is not None and any(
            (candidate.schema, candidate.name) == (index.schema, index.name) for candidate in catalog.indexes
        )

    creators = [trip.revision for trip in evidence.empty_trips if has(trip.after) and not has(trip.before)]
    return creators[-1].place() if creators else Place()


def _described(index: Index) -> str:
    return f"{index.kind} {index.constraint or index.name} ({', '.join(index.elements)})"


def _pairs(declared: Iterable[ModelKey], indexes: Iterable[Index]) -> list[tuple[ModelKey, Index]]:
    """Pair each declared key with its index: same columns before same name, and fewest differences first."""
    candidates: list[tuple[tuple[int, int], ModelKey, Index]] = []
    for key in declared:
        for index in indexes:
            same_name = _same_name(key, index)
            if _same_columns(key, index):
                rank = (0 if same_name else 1, len(tuple(_differences(key, index))))
                candidates.append((rank, key, index))
            elif same_name and key.names:
                candidates.append(((2, 0), key, index))
    pairs: list[tuple[ModelKey, Index]] = []
    for _rank, key, index in sorted(candidates, key=lambda candidate: candidate[0]):
        if not any(key is paired_key or index is paired_index for paired_key, paired_index in pairs):
            pairs.append((key, index))
    return pairs


def _same_name(key: ModelKey, index: Index) -> bool:
    return not key.names or (index.constraint or index.name) in key.names


def _same_columns(key: ModelKey, index: Index) -> bool:
    """Return whether the columns are the same in any order; expressions only by their number and what they read."""
    if set(filter(None, key.columns)) != set(filter(None, index.columns)):
        return False
    if key.columns.count(None) != index.columns.count(None):
        return False
    return key.reads is None or key.reads <= set(index.reads)


def _same_rows(key: ModelKey, index: Index) -> bool:
    if not (_same_columns(key, index) and key.nulls_not_distinct == index.nulls_not_distinct and index.valid):
        return False
    return None not in key.columns and index.predicate is None and key.predicate is None


def _differences(key: ModelKey, index: Index) -> Iterator[str]:
    """Yield how the database differs from the models."""
    if not index.valid:
        yield "its index is INVALID"
    if not _same_columns(key, index):
        yield f"the models have {key}"
    elif None not in key.columns and key.columns != index.columns:
        yield f"the models have its columns in another order ({', '.join(map(str, key.columns))})"
    if key.include != frozenset(index.include):
        yield f"INCLUDE is {_list(index.include)}, but {_list(key.include)} in the models"
    if key.nulls_not_distinct != index.nulls_not_distinct:
        yield f"it is {_nulls(index.nulls_not_distinct)}, but {_nulls(key.nulls_not_distinct)} in the models"
    if (key.deferrable, key.deferred) != (index.deferrable, index.deferred):
        existing, declared = _timing(index.deferrable, index.deferred), _timing(key.deferrable, key.deferred)
        yield f"it is {existing}, but {declared} in the models"
    if _other_predicate(key, index):
        yield f"it covers {_rows(index.predicate)}, but {_rows(key.predicate)} in the models"
    if key.kind != index.kind:
        yield f"in the models it is {_with_article(key.kind)}"
    if not _same_name(key, index):
        yield f"in the models its name is {min(key.names)}"


def _list(columns: Iterable[str]) -> str:
    return ", ".join(sorted(columns)) or "empty"


def _nulls(nulls_not_distinct: bool) -> str:
    return "NULLS NOT DISTINCT" if nulls_not_distinct else "NULLS DISTINCT"


def _timing(deferrable: bool, deferred: bool) -> str:
    return "DEFERRABLE INITIALLY DEFERRED" if deferred else "DEFERRABLE" if deferrable else "NOT DEFERRABLE"


def _rows(predicate: str | None) -> str:
    return "all rows" if predicate is None else f"rows WHERE {predicate}"


def _with_article(kind: str) -> str:
    articles = {
        "primary key": "the primary key",
        "constraint": "a constraint",
        "index": "an index without a constraint",
    }
    return articles[kind]


def _other_predicate(key: ModelKey, index: Index) -> bool:
    """Return whether the predicates certainly differ; PostgreSQL rewrites a predicate, so texts may differ anyway."""
    if key.predicate is None or index.predicate is None:
        return (key.predicate is None) != (index.predicate is None)
    declared, existing = _normalized(key.predicate), _normalized(index.predicate)
    if _NULL_TEST.fullmatch(declared) and _NULL_TEST.fullmatch(existing):
        return declared != existing
    return not all(re.search(rf"\b{re.escape(name.lower())}\b", existing) for name in key.predicate_reads)


def _normalized(predicate: str) -> str:
    """Return a predicate in lower case, without qualifiers, quotes and parentheses."""
    return " ".join(re.sub(r'\b\w+\.(?=["\w])|["()]', "", predicate.lower()).split())
