"""Which keys revisions leave enforced: declared, renamed and dropped by directives and by plain operations."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace

from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
)
from dupe_audit.directives.reading.changes import (
    Gone,
    NewColumn,
    NewEnum,
    NewKey,
    NewName,
    NewRoutine,
    NewRows,
    NewTable,
    Renamed,
    Retyped,
    RoutineCall,
    SchemaChange,
    Unclear,
)
from dupe_audit.directives.reading.constructs import changes_of_construct
from dupe_audit.directives.reading.tables import Enforced, IndexImpact, TrackedColumn, TrackedTable, Unread
from dupe_audit.directives.recording import PlainStatement, Recording
from dupe_audit.model import CleanupRule
from dupe_audit.postgres.names import default_name


class History:
    """The tables as revisions leave them, as far as they could be read.

    Args:
        schemas: what ``schema_translate_map`` makes of the schemas that revisions name.
        default: the first schema of the search path; it and no schema are the same.
    """

    def __init__(self, schemas: Mapping[str | None, str | None], default: str | None) -> None:
        self.tables: dict[tuple[str | None, str], TrackedTable] = {}
        self.unread: list[Unread] = []
        self.impacts: list[IndexImpact] = []
        self.enums: set[str] = set()  #: names of new types that are enums
        self._routines: dict[str, NewRoutine] = {}
        self._dropped: set[str] = set()  # names of constraints and indexes
        self._vacant: set[tuple[str | None, str]] = set()  # names of tables that were dropped or renamed
        self._schemas = schemas
        self._default = default
        self._revision = ""
        self._rules: dict[tuple[str | None, str, Hashable], CleanupRule] = {}

    def apply(self, revision: str, recording: Recording) -> None:
        """Apply what a revision does."""
        self._revision = revision
        self._rules.clear()
        for item in recording.items:
            if isinstance(item, PlainStatement):
                for change in changes_of_construct(item.construct):
                    self._change(change)
            else:
                self._directive(item)
        if recording.obstacle:
            for table in self.tables.values():
                table.unclear = True

    def enforced(self) -> Iterator[tuple[TrackedTable, str, Enforced]]:
        """Yield each key that is left, with its table and the name of its constraint or index."""
        for table in self.tables.values():
            for name, key in table.keys.items():
                yield table, name, key

    def _table(self, schema: str | None, name: str) -> TrackedTable:
        where = (self._schema(schema), name)
        return self.tables.setdefault(where, TrackedTable(schema=where[0], name=name, first=where))

    def _schema(self, schema: str | None) -> str | None:
        translated = self._schemas.get(schema, schema)
        return None if translated == self._default else translated

    def _directive(self, operation: object) -> None:
        if isinstance(operation, ArchiveDuplicatesOp):
            key = operation.key
            self._rules[key.schema, key.table, key.scope] = operation.rule
        elif isinstance(operation, CreateUniqueConstraintOnlineOp):
            key = operation.key
            table = self._table(key.schema, key.table)
            columns = tuple(table.column(name) for name in key.names if name)
            rule, is_for_schema = self._rules.get((key.schema, key.table, key.scope)), hasattr(operation, "origin")
            table.declare(str(key.name), Enforced(self._revision, columns, key, rule, is_for_schema=is_for_schema))
        elif isinstance(operation, DropUniqueConstraintOnlineOp):
            self._table(operation.key.schema, operation.key.table).keys.pop(str(operation.key.name), None)

    def _change(self, change: SchemaChange) -> None:
        if isinstance(change, Unclear):
            self._unclear(change)
        elif isinstance(change, NewEnum):
            self.enums.add(change.name)
        elif isinstance(change, NewRoutine):
            self._routines[change.name] = change
        elif isinstance(change, RoutineCall):
            self._call(change)
        elif isinstance(change, Gone | Renamed) and change.kind == "name":
            self._name(change)
        elif isinstance(change, Gone | Renamed) and change.kind == "table":
            self._move(change)
        elif change.table is not None:
            self._alter(self._table(change.schema, change.table), change)

    def _unclear(self, change: Unclear) -> None:
        if change.declares:
            self.unread.append(Unread(revision=self._revision, text=" ".join(change.text.split())))
        for table in self.tables.values():
            names = [table.name, *table.keys, *([table.schema] if table.schema else [])]
            if re.search(rf"\b(?:{'|'.join(map(re.escape, names))})\b", change.text, re.IGNORECASE):
                table.unclear = True

    def _call(self, call: RoutineCall) -> None:
        """Apply what the functions that these revisions create and call would change."""
        for name in sorted(call.names & self._routines.keys()):
            routine = self._routines.pop(name)  # it may call itself
            for change in routine.changes:
                text = f"{call.sql}: {change.text}" if isinstance(change, Unclear) else ""
                self._change(replace(change, text=text) if isinstance(change, Unclear) else change)
            self._routines[name] = routine

    def _move(self, change: Gone | Renamed) -> None:
        table = self._table(change.schema, str(change.table))
        del self.tables[table.schema, table.name]
        self._vacant.add((table.schema, table.name))
        if isinstance(change, Renamed):
            table.name = change.new
            if change.new_schema:
                table.schema = self._schema(change.new_schema)
            self.tables[table.schema, table.name] = table

    def _name(self, change: Gone | Renamed) -> None:
        """Follow a constraint or an index that is dropped or renamed; its table may not be named."""
        if change.table is not None:
            candidates = [self._table(change.schema, change.table)]
        else:
            schema = self._schema(change.schema)
            candidates = [table for table in self.tables.values() if table.schema == schema]
        self._dropped.add(change.name)
        holders = [table for table in candidates if change.name in table.keys or change.name in table.names]
        for table in holders:
            key = table.keys.pop(change.name, None)
            table.names.discard(change.name)
            if isinstance(change, Renamed):
                if key:
                    table.keys[change.new] = key
                else:
                    table.names.add(change.new)
        if not holders:  # it may be a key under a name that was not seen
            for table in candidates:
                table.unclear = True

    def _alter(self, table: TrackedTable, change: SchemaChange) -> None:
        if isinstance(change, NewTable):
            where = table.schema, table.name
            self.tables[where] = TrackedTable(*where, where, created=self._revision, replaces=where in self._vacant)
        elif isinstance(change, NewColumn):
            name = change.column
            column = TrackedColumn(name, name, self._revision, name in table.vacant, has_values=change.has_default)
            table.columns[name] = column
        elif isinstance(change, Retyped):
            column = table.column(change.column)
            column.retyped = self._revision
            self._extend(table, change, column=column)
        elif isinstance(change, NewRows):
            self._fill(table, change)
        elif isinstance(change, NewKey):
            self._declare(table, change)
        elif isinstance(change, NewName):
            table.names.add(change.name or "")
        elif isinstance(change, Renamed):
            column = table.column(change.name)
            del table.columns[change.name]
            table.vacant.add(change.name)
            column.name = change.new
            table.columns[change.new] = column
        elif isinstance(change, Gone):
            column = table.column(change.name)
            del table.columns[change.name]
            table.vacant.add(change.name)
            # PostgreSQL drops the constraints and indexes of a column with it.
            table.keys = {name: key for name, key in table.keys.items() if not _uses(key, column, change.name)}

    def _fill(self, table: TrackedTable, fill: NewRows) -> None:
        if fill.partition:
            partition = self._table(*fill.partition)
            if partition.created and not partition.fills:
                return  # it has no rows, or some that a revision contains
            self._extend(table, fill, partition=partition)
        table.fill(self._revision, fill)

    def _extend(
        self,
        table: TrackedTable,
        cause: Retyped | NewRows,
        *,
        partition: TrackedTable | None = None,
        column: TrackedColumn | None = None,
    ) -> None:
        dropped = frozenset(self._dropped)
        impact = IndexImpact(
            revision=self._revision, table=table, cause=cause, partition=partition, column=column, dropped=dropped
        )
        self.impacts.append(impact)

    def _declare(self, table: TrackedTable, key: NewKey) -> None:
        columns = tuple(table.column(column) for column in key.columns) if key.columns else None
        rule = self._rules.get((key.schema, str(key.table), (frozenset(key.elements or key.columns or ()), key.where)))
        table.declare(key.name or _default_name(key), Enforced(self._revision, columns, None, rule, key))


def _uses(key: Enforced, column: TrackedColumn, name: str) -> bool:
    """Return whether a key is about a column; an expression is searched for its name."""
    if key.columns is None and key.plain:
        return re.search(rf"\b{re.escape(name)}\b", key.plain.sql) is not None
    return column in (key.columns or ())


def _default_name(key: NewKey) -> str:
    """Return the name that PostgreSQL gives to a constraint without one, if it is not taken."""
    if key.primary:
        return default_name(str(key.table), (), "pkey")
    suffix = "idx" if key.sql.upper().startswith("CREATE UNIQUE INDEX") else "key"
    return default_name(str(key.table), key.columns or ("expr",), suffix)
