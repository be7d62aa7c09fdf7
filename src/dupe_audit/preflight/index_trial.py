"""Build the index on a temporary copy of the table, so that what PostgreSQL refuses is known before a row moves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from dupe_audit.findings import Finding, finding
from dupe_audit.model import READ_LOCK_TIMEOUT, Expression, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import current_setting, step, transaction
from dupe_audit.postgres.sqlstates import (
    CLASS_DATA,
    CLASS_FEATURE,
    CLASS_LIMIT,
    CLASS_SYNTAX,
    INVALID_SCHEMA_NAME,
    UNDEFINED_FUNCTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
)
from dupe_audit.preflight.search_path import builds_are_restricted, path_finding, reason_of
from dupe_audit.statements import ident, literal, statement, text_array

#: name of the index on the copy
NAME = "dupe_audit_trial"
#: SQLSTATEs of errors about the index, not about the copy or the session
OF_THE_INDEX = (CLASS_SYNTAX, CLASS_FEATURE, CLASS_LIMIT, CLASS_DATA, INVALID_SCHEMA_NAME)
#: SQLSTATEs of errors about the index, not about one of the copied rows
OF_ANY_ROW = (CLASS_SYNTAX, CLASS_FEATURE, INVALID_SCHEMA_NAME)
#: SQLSTATEs of names that were not found
OF_THE_PATH = (UNDEFINED_FUNCTION, UNDEFINED_TABLE, UNDEFINED_OBJECT, INVALID_SCHEMA_NAME)


def try_index(connection: Connection, key: UniqueKey, *, unless: Sequence[Finding] = ()) -> list[Finding]:
    """Build the index of a key that is not plain on a temporary copy, roll it back, and return why that failed.

    The copy is empty at first, and then has up to three rows, for which functions are called with the rights of the
    table's owner. It takes no lock on the table that a writer waits for.

    Args:
        connection: in autocommit, read-write.
        key: of an existing table.
        unless: the findings so far; nothing is built if one is an error or says that the index exists.

    Raises:
        sqlalchemy.exc.DBAPIError: the connection failed.
    """
    needless = any(finding.severity == "error" or finding.id == "already-enforced" for finding in unless)
    if needless or (key.is_plain and not key.include):
        return []
    with step(connection):
        key, relation = catalog.require(connection, key)
        table = ident("pg_temp", relation.table)
        parts = _parts(key)
        builds = [catalog.build_index_sql(replace(part, name=NAME), table, held=True) for part in parts.values()]
        holes = {"relid": str(relation.relid), "builds": text_array(builds), "predicate": literal(key.where)}
        with transaction(connection, lock_timeout=READ_LOCK_TIMEOUT):
            execute(connection, statement("try_index", **holes))
            failure = json.loads(current_setting(connection, "dupe_audit.tried"))
        return [_failure_finding(connection, relation, list(parts), failure)] if failure else []


def _parts(key: UniqueKey) -> dict[str, UniqueKey]:
    """Return, by its text, the whole key and then each of its parts that the server could refuse alone."""
    alone = replace(key, where=None, include=(), form="index")
    parts = {str(key): replace(key, form="index")}
    for element in key.columns:
        parts[str(element)] = replace(alone, columns=(element,))
    if key.where:
        parts[key.where] = replace(alone, columns=(Expression("1"),), where=key.where)
    if key.include:
        parts[f"INCLUDE ({', '.join(key.include)})"] = replace(alone, columns=(Expression("1"),), include=key.include)
    return parts


def _failure_finding(connection: Connection, relation: Relation, parts: list[str], failure: dict[str, Any]) -> Finding:
    part, code, message = parts[failure["number"] - 1], str(failure["code"]), str(failure["message"])
    empty = failure["on"] == "empty"
    if failure["on"] == "copy" or not code.startswith(OF_THE_INDEX if empty else OF_ANY_ROW):
        return finding("index-not-tried", f"SQLSTATE {code}", table=relation.name)
    # On an empty table, an object that was not found is the operator class of the values.
    of_path = code in OF_THE_PATH and not (empty and code == UNDEFINED_OBJECT)
    if of_path and builds_are_restricted(connection):
        # The session finds everything that the expression itself names, or it would have been refused before.
        return path_finding(reason_of(part, code, message), relation, restricted=True)
    # On an empty table, the message cannot contain a value of a row.
    reason = f"{part}: {message} (SQLSTATE {code})" if empty else reason_of(part, code, message)
    return finding("index-refused", reason, table=relation.name)
