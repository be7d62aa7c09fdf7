"""Writers: INSERTs in the code that the migrated database refuses, or whose rows the new uniqueness refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dupe_audit.checks.code.arbiters import Judgement, Problem, by_name, judge, no_index, unfit
from dupe_audit.checks.code.sql_sources import ArbiterCall, SourceFile, source_files
from dupe_audit.checks.code.sql_text import Insert, inserts, is_hole, missing
from dupe_audit.checks.evidence import Evidence, table_named
from dupe_audit.checks.report import Place, ReportedFinding
from dupe_audit.checks.trial.project import relative
from dupe_audit.findings import CheckId, finding
from dupe_audit.schema.facts import Catalog, Index, Table

RULE = "writers"

__all__ = ["check", "missing"]

#: problem of an arbiter → finding
_FINDINGS: dict[Problem, CheckId] = {"missing": "no-arbiter", "unfit": "arbiter-unfit"}

#: words in the definition of a column whose default differs from row to row
_DIFFERS_BY_ROW = ("nextval(", "uuid", "random(", " IDENTITY ")


def check(evidence: Evidence) -> Iterator[ReportedFinding]:
    """Report each INSERT of the code that has no arbiter, or that may start to raise with a new uniqueness.

    Raises:
        WrongUsage: a path of --writers does not exist.
    """
    if evidence.final_schema is None or not evidence.writer_paths:
        return
    added = tuple(_added(evidence))
    versions = {revision.path.parent for revision in evidence.revisions}
    for file in source_files(evidence.writer_paths, exclude=versions):
        yield from _FileJudge(evidence.final_schema, added, file).results()


def _added(evidence: Evidence) -> Iterator[tuple[str, Index]]:
    """Yield the revision and, as the last revision left it, each unique index that makes its table more unique."""
    assert evidence.final_schema is not None  # noqa: S101 - the caller checked it
    unique = [index for index in evidence.final_schema.indexes if index.unique]
    yielded = set()
    for trip in evidence.empty_trips:
        for new in trip.new_unique:
            if any(old.unique and old.valid and _form(old) == _form(new) for old in trip.before.indexes):
                continue  # built again, and no more unique than before
            # A later revision may have built it again under another name.
            matches = (
                index
                for index in unique
                if (index.table, index.name) == (new.table, new.name) or _form(index) == _form(new)
            )
            index = next(matches, None)
            if index is not None and index.oid not in yielded:
                yielded.add(index.oid)
                yield trip.revision.id, index


def _form(index: Index) -> tuple[Any, ...]:
    return index.table, frozenset(index.elements), index.predicate, index.nulls_not_distinct, index.method


class _FileJudge:
    """Judges the INSERTs of one file."""

    def __init__(self, schema: Catalog, added: tuple[tuple[str, Index], ...], source: SourceFile) -> None:
        self._schema = schema
        self._added = added
        self._source = source
        self._file = relative(source.path)

    def results(self) -> Iterator[ReportedFinding]:
        """Yield the findings about INSERTs, by line, and then one about what could not be parsed."""
        unparsed = [] if self._source.problem is None else [self._source.problem[0]]
        for snippet in self._source.snippets:
            for insert in inserts(snippet):
                if isinstance(insert, Insert):
                    begins = insert.line if snippet.script else snippet.line
                    yield from self._insert(insert, begins, unfinished=snippet.unfinished)
                else:
                    unparsed.append(insert)
        for call in self._source.arbiter_calls:
            yield from self._arbiter_call(call)
        if unparsed:
            first = min(unparsed)
            yield self._result("sql-unreadable", f"{len(unparsed):,}, the first on line {first}", "", first)

    def _result(
        self,
        id_: CheckId,
        subject: str,
        table: str,
        line: int,
        lines: tuple[int, int] | None = None,
        revision: str | None = None,
    ) -> ReportedFinding:
        """Return a finding; a comment on or above *lines*, the first and the last of its statement, can accept it."""
        first, last = lines or (line, line)
        return ReportedFinding(
            rule=RULE,
            finding=finding(id_, subject, table=table),
            place=Place(file=self._file, line=line, revision=revision),
            accepted=id_ in self._source.accepts(first, last),
        )

    def _insert(self, insert: Insert, begins: int, *, unfinished: bool) -> Iterator[ReportedFinding]:
        table = _table(self._schema, insert.node.relation)
        if table is None:
            return
        indexes = [index for index in self._schema.indexes if index.relid == table.oid]
        conflict = insert.node.onConflictClause
        lines = (begins, insert.last)
        judged = Judgement() if conflict is None else judge(conflict, indexes)
        if judged.problem is not None:
            yield self._result(_FINDINGS[judged.problem], judged.target, str(table), insert.line, lines)
        elif not judged.unsure and not (conflict is None and unfinished):
            for revision, index in self._added:
                if index.relid == table.oid and index.oid not in judged.covers and self._may_repeat(insert.node, index):
                    subject = f"{index.name} ({', '.join(index.elements)}), which revision {revision} adds"
                    yield self._result("insert-may-raise", subject, str(table), insert.line, lines, revision)

    def _may_repeat(self, node: Any, index: Index) -> bool:
        """Return whether the rows can carry an existing key; NULLs and defaults that differ by row cannot."""
        fixed = _fixed_values(node)
        for column in filter(None, index.columns):
            value = fixed.get(column, "default" if node.cols and column not in _names(node) else "given")
            if node.selectStmt is None:
                value = "default"
            if value == "given":
                continue
            definition = self._schema.objects.get(f"column {index.table}.{column}", " GENERATED")
            null = value == "null" or not any(word in definition for word in (" DEFAULT ", " GENERATED", " IDENTITY "))
            differs = not null and any(word in definition for word in _DIFFERS_BY_ROW)
            if differs or (null and not index.nulls_not_distinct):
                return False
        return True

    def _arbiter_call(self, call: ArbiterCall) -> Iterator[ReportedFinding]:
        """Judge a call of SQLAlchemy's; its table is unknown, so a suitable index of any table is enough."""
        judged = self._judged_call(call)
        if judged.problem is not None:
            table = "any table" if judged.problem == "missing" else "its table"
            yield self._result(_FINDINGS[judged.problem], judged.target, table, call.line)

    def _judged_call(self, call: ArbiterCall) -> Judgement:
        indexes = self._schema.indexes
        if call.constraint is not None:
            return by_name(call.constraint, indexes)
        target = f"index_elements ({', '.join(call.elements)})"
        candidates = [
            index
            for index in indexes
            if index.unique and set(index.columns) == set(call.elements) and (index.predicate is None or call.partial)
        ]
        if any(index.valid and not index.deferrable for index in candidates):
            return Judgement()
        return unfit(target, candidates[0]) if candidates else no_index(target)


def _table(schema: Catalog, relation: Any) -> Table | None:
    """Return the table that a statement names; None if its name is known only at run time."""
    if is_hole(relation.relname) or is_hole(relation.schemaname):
        return None
    return table_named(schema, relation.schemaname, relation.relname)


def _names(node: Any) -> list[str]:
    return [target.name for target in node.cols or ()]


def _fixed_values(node: Any) -> dict[str, str]:
    """Return ``default`` or ``null`` for the columns that have it in every row of VALUES."""
    rows = getattr(node.selectStmt, "valuesLists", None)
    if not rows or not node.cols:
        return {}
    fixed: dict[str, str] = {}
    for position, name in enumerate(_names(node)):
        values = {_value_kind(row[position]) if position < len(row) else "given" for row in rows}
        if len(values) == 1:
            fixed[name] = values.pop()
    return fixed


def _value_kind(value: Any) -> str:
    if type(value).__name__ == "SetToDefault":
        return "default"
    return "null" if getattr(value, "isnull", False) is True else "given"
