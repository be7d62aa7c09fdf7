"""Read the schema at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.schema.facts import Catalog, Index, Table
from dupe_audit.statements import statement


def snapshot(connection: Connection, *, version_table: str = "alembic_version", objects: bool = True) -> Catalog:
    """Return tables, indexes and, if asked for, a line for every other object, all without Alembic's own table.

    Raises:
        sqlalchemy.exc.DBAPIError: as the driver reports.
    """
    every = [Table(**_frozen(row)) for row in execute(connection, statement("scratch/check_tables")).mappings()]
    relids = f"ARRAY[{', '.join(str(table.oid) for table in every)}]"
    rows = execute(connection, statement("scratch/check_indexes", relids=relids)).mappings()
    indexes = [Index(**_frozen(row)) for row in rows]
    alembics = {table.oid for table in every if table.name == version_table}
    own = tuple(f"{table}" for table in every if table.oid in alembics)
    own += tuple(f"{index.schema}.{index.name}" for index in indexes if index.relid in alembics)
    return Catalog(
        tables=tuple(table for table in every if table.oid not in alembics),
        indexes=tuple(index for index in indexes if index.relid not in alembics),
        objects=_objects(connection, own) if objects else {},
    )


def _objects(connection: Connection, without: tuple[str, ...]) -> dict[str, str]:
    lines = {row.object: row.definition for row in execute(connection, statement("scratch/check_objects"))}
    ours = [one for one in lines if any(one.endswith(f" {name}") or f" {name}." in one for name in without)]
    for one in ours:
        del lines[one]
    return lines


def _frozen(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def differences(before: Catalog, after: Catalog) -> tuple[str, ...]:
    """Return what differs, such as ``enum public.color is left`` or ``column public.t.a has changed``."""
    gone = [f"{one} is gone" for one in before.objects if one not in after.objects]
    left = [f"{one} is left" for one in after.objects if one not in before.objects]
    changed = [f"{one} has changed" for one, what in before.objects.items() if after.objects.get(one, what) != what]
    return tuple(sorted([*gone, *left, *changed]))
