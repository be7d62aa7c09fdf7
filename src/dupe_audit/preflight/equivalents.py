"""Unique indexes under other names that already enforce a key with expressions or a predicate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding
from dupe_audit.model import Expression, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.elements import aliased, is_same
from dupe_audit.postgres.index_key import named_key
from dupe_audit.preflight.index_advice import advice_if_partial
from dupe_audit.statements import statement


def equivalents(connection: Connection, key: UniqueKey, relation: Relation) -> list[Finding]:
    """Return a finding per index that compares what *key* compares, in any order and however it is written.

    Args:
        key: with an expression or a predicate, which the server can read.
    """
    findings = []
    for index in execute(connection, statement("unique_indexes", relid=str(relation.relid))).all():
        if index.is_plain or index.name == key.name:
            continue
        existing = named_key(connection, relation, replace(key, name=str(index.name)))
        if existing is None or not existing[1] or not _is_same_key(connection, relation, key, existing[0]):
            continue
        if not index.valid:
            findings.append(finding("invalid-index", index.name))
        elif key.name is None:
            findings.append(finding("already-enforced", f"Index {index.name}", table=relation.name))
        else:
            state = catalog.index_state(connection, relation.relid, replace(key, name=str(index.name)))
            adoptable = state is not None and state.same_definition
            same = finding("equivalent-index", f"Index {index.name}", table=relation.name)
            findings.append(replace(same, help=advice_if_partial(key, relation, str(index.name), adoptable=adoptable)))
    return findings


def _is_same_key(connection: Connection, relation: Relation, key: UniqueKey, existing: UniqueKey) -> bool:
    if (len(key.columns), key.where is None) != (len(existing.columns), existing.where is None):
        return False
    if key.nulls_not_distinct != existing.nulls_not_distinct:
        return False
    source, remaining = aliased(relation.table, relation.schema), list(existing.columns)
    for element in key.columns:
        same = next(_matches(connection, source, element, remaining), None)
        if same is None:
            return False
        remaining.remove(same)
    return key.where is None or is_same(connection, source, [(key.where, str(existing.where))])


def _matches(
    connection: Connection, source: str, element: str | Expression, others: list[str | Expression]
) -> Iterator[str | Expression]:
    for other in others:
        if is_same(connection, source, [(catalog.element_sql(element), catalog.element_sql(other))]):
            yield other
