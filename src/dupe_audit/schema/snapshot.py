"""Read the schema at one moment, and compare two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.schema.facts import Catalog, GeneratedColumn, Index, Table
from dupe_audit.statements import statement


def snapshot(connection: Connection, *, version_table: str = "alembic_version", objects: bool = True) -> Catalog:
    """Return the tables and indexes, and, with *objects*, one line per object; Alembic's own table is left out.

    Raises:
        sqlalchemy.exc.DBAPIError: as the driver reports.
    """
    tables = [_table(_frozen(row)) for row in execute(connection, statement("scratch/check_tables")).mappings()]
    relids = f"ARRAY[{', '.join(str(table.oid) for table in tables)}]"
    rows = execute(connection, statement("scratch/check_indexes", relids=relids)).mappings()
    indexes = [Index(**_frozen(row)) for row in rows]
    alembic = {table.oid for table in tables if table.name == version_table}
    names = tuple(str(table) for table in tables if table.oid in alembic)
    names += tuple(f"{index.schema}.{index.name}" for index in indexes if index.relid in alembic)
    return Catalog(
        tables=tuple(table for table in tables if table.oid not in alembic),
        indexes=tuple(index for index in indexes if index.relid not in alembic),
        objects=_objects(connection, without=names) if objects else {},
    )


def _table(facts: dict[str, Any]) -> Table:
    generated = [GeneratedColumn(name, expression, tuple(columns)) for name, expression, columns in facts["generated"]]
    return Table(**{**facts, "generated": tuple(generated)})


def _objects(connection: Connection, *, without: tuple[str, ...]) -> dict[str, str]:
    """Return the definitions of all objects, except those with the names *without* and their parts."""
    rows = execute(connection, statement("scratch/check_objects"))
    return {
        row.object: row.definition
        for row in rows
        if not any(row.object.endswith(f" {name}") or f" {name}." in row.object for name in without)
    }


def _frozen(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def differences(before: Catalog, after: Catalog) -> tuple[str, ...]:
    """Return what differs, such as ``enum public.color is left over`` or ``column public.t.a has changed``."""
    missing = [f"{name} is missing" for name in before.objects if name not in after.objects]
    added = [f"{name} is left over" for name in after.objects if name not in before.objects]
    common = before.objects.keys() & after.objects.keys()
    changed = [f"{name} has changed" for name in common if before.objects[name] != after.objects[name]]
    return tuple(sorted([*missing, *added, *changed]))
