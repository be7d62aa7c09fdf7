"""A directive with ``schemas``: the same operation once per schema, and the answer of a query for schemas."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.directives.effects import NOTHING, effect
from dupe_audit.directives.recording import Item, Recording
from dupe_audit.errors import DupeAuditError
from dupe_audit.model import READ_LOCK_TIMEOUT, Schemas, check_identifier
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import reason, sqlstate
from dupe_audit.statements import statement, text_array

log = logging.getLogger("alembic.dupe_audit")

#: in a key that was read without a database: the schemas are the answer of a query
ANY_SCHEMA = "*"


class Elsewhere(MigrateOperation):
    """In the items of one table's work: a directive that is about other tables, and is judged with them."""

    def __init__(self, operation: MigrateOperation) -> None:
        self.operation = operation


def schemas_of(item: object) -> Schemas | None:
    """Return the schemas of a directive; None if it is about a single table, or is no directive."""
    schemas = getattr(item, "schemas", None)
    return schemas if isinstance(schemas, Schemas) else None


def in_schema(operation: MigrateOperation, schema: str) -> MigrateOperation:
    """Return a directive with ``schemas`` as the one for a single schema."""
    single: Any = copy.copy(operation)
    single.key, single.schemas = replace(single.key, schema=schema), None
    single.origin = schemas_of(operation)
    return single  # type: ignore[no-any-return]


def without_schemas(recording: Recording) -> Recording:
    """Return a recording in which only the directives for single tables are left."""
    items = [
        Elsewhere(item) if isinstance(item, MigrateOperation) and schemas_of(item) else item for item in recording.items
    ]
    return replace(recording, items=tuple(items))


def schema_recording(recording: Recording, schema: str, resolved: Callable[[Schemas], Sequence[str]]) -> Recording:
    """Return a recording as it is for one schema; positions of directives stay the same.

    Args:
        resolved: returns the names of ``schemas``.
    """

    def single(item: Item) -> Item:
        if not isinstance(item, MigrateOperation):
            return item
        schemas = schemas_of(item)
        return in_schema(item, schema) if schemas and schema in resolved(schemas) else Elsewhere(item)

    return replace(recording, items=tuple(map(single, recording.items)))


def spread(recording: Recording, resolved: Callable[[Schemas], Sequence[str]]) -> Recording:
    """Return a recording in which each directive with ``schemas`` is repeated for each of them."""
    items: list[Item] = []
    for item in recording.items:
        schemas = schemas_of(item)
        if schemas and isinstance(item, MigrateOperation):
            items += [in_schema(item, schema) for schema in resolved(schemas)]
        else:
            items.append(item)
    return replace(recording, items=tuple(items))


def known_at_once(recording: Recording) -> Iterator[MigrateOperation]:
    """Yield the directives whose schemas query no statement after the first directive can change."""
    begun = False
    for item in recording.items:
        if isinstance(item, MigrateOperation):
            begun = True
            if schemas_of(item):
                yield item
        elif begun and effect(item.construct) != NOTHING:
            return


def as_written(schemas: Schemas) -> tuple[str, ...]:
    """Return the names as a revision writes them; for a query, a placeholder."""
    return schemas.names or (ANY_SCHEMA,)


def resolve_schemas(connection: Connection, schemas: Schemas) -> tuple[str, ...]:
    """Return the names of the schemas; a query is executed in a transaction that cannot write.

    Args:
        connection: in autocommit.

    Raises:
        DupeAuditError: the query failed, or returned something else than one column of names.
    """
    if schemas.query is None:
        return schemas.names
    try:
        with transaction(connection, lock_timeout=READ_LOCK_TIMEOUT, read_only=True):
            result = execute(connection, statement("schemas", query=schemas.query))
            rows = result.fetchall()
    except DBAPIError as error:
        raise DupeAuditError(
            f"The schemas query failed: {reason(error)} (SQLSTATE {sqlstate(error) or 'unknown'}). It was: "
            f"{schemas.query}. It must be one SELECT that returns one column, the names of schemas."
        ) from error
    if rows and len(rows[0]) != 1:
        raise DupeAuditError(f"The schemas query returns {len(rows[0])} columns, not one: {schemas.query}.")
    return tuple(dict.fromkeys(_names((row[0] for row in rows), schemas.query)))


def existing_schemas(connection: Connection, names: Iterable[str]) -> set[str]:
    """Return which of some schemas exist."""
    return set(execute(connection, statement("existing_schemas", schemas=text_array(names))).scalars())


def require_untranslated(operations: Operations, names: Iterable[str]) -> None:
    """Refuse names that the connection would translate: the directive's schemas are those of the catalog.

    Raises:
        DupeAuditError: the connection's ``schema_translate_map`` has one of them.
    """
    mapping = operations.get_bind().get_execution_options().get("schema_translate_map") or {}
    if translated := [name for name in names if mapping.get(name, name) != name]:
        raise DupeAuditError(
            f"schemas names {', '.join(translated)}, and schema_translate_map of this connection puts another schema "
            "in its place. Use either schemas in the revision, or a schema_translate_map in env.py."
        )


def answered(connection: Connection, recording: Recording, revision: str) -> tuple[Recording, str]:
    """Return a recording with its directives repeated for each schema, and why a schemas query was not answered.

    Args:
        connection: in autocommit.
    """
    answers: dict[Schemas, tuple[str, ...]] = {}
    problem = ""
    for schemas in filter(None, map(schemas_of, recording.items)):
        if schemas not in answers:
            try:
                answers[schemas] = resolve_schemas(connection, schemas)
                if not answers[schemas]:
                    log.warning("revision %s: the schemas query returns no schema now: %s", revision, schemas.query)
            except DupeAuditError as error:
                answers[schemas], problem = (), str(error)
    return spread(recording, answers.__getitem__), problem


def _names(values: Iterable[object], query: str) -> Iterable[str]:
    for value in values:
        if not isinstance(value, str):
            kind = "NULL" if value is None else f"a value of type {type(value).__name__}"
            raise DupeAuditError(f"The schemas query returns {kind} instead of a name: {query}.")
        yield check_identifier("schema", value)
