"""Writers: SQL in the code that the migrated database would refuse, or whose rows the new uniqueness would."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dupe_audit.checks.code.arbiters import Judgement, by_name, judge
from dupe_audit.checks.code.sql_sources import Construct, Source, sources
from dupe_audit.checks.code.sql_text import Insert, inserts, is_hole, missing
from dupe_audit.checks.evidence import Evidence
from dupe_audit.checks.report import Found, Place
from dupe_audit.checks.trial.project import relative
from dupe_audit.findings import CheckId, finding
from dupe_audit.schema.facts import Catalog, Index, Table

__all__ = ["check", "missing"]

#: defaults that give each row a value of its own
_OWN_VALUE = ("nextval(", "uuid", "random(", " IDENTITY ")


def check(evidence: Evidence) -> Iterator[Found]:
    """Find each INSERT of the code paths that has no arbiter, or that may raise where it never did.

    Raises:
        WrongUsage: a code path is not there.
    """
    if evidence.final is None or not evidence.sources:
        return
    added = tuple(_added(evidence))
    for source in sources(evidence.sources, without={one.path.parent for one in evidence.revisions}):
        yield from _Reader(evidence.final, added, source).found()


def _added(evidence: Evidence) -> Iterator[tuple[str, Index]]:
    """Yield each uniqueness that is new to its table, as the last revision left it, and the revision."""
    assert evidence.final is not None  # noqa: S101 - the caller looked
    final = [one for one in evidence.final.indexes if one.unique]
    told = set()
    for step in evidence.steps:
        for new in step.new_unique:
            if any(old.unique and old.valid and _form(old) == _form(new) for old in step.before.indexes):
                continue  # built again, and no more unique than before
            # A later revision may have built it again under another name.
            here = [one for one in final if (one.table, one.name) == (new.table, new.name) or _form(one) == _form(new)]
            for one in here[:1]:
                if one.oid not in told:
                    told.add(one.oid)
                    yield step.revision.id, one


def _form(index: Index) -> tuple[Any, ...]:
    return index.table, frozenset(index.keys), index.predicate, index.nulls_not_distinct, index.method


class _Reader:
    """Judges one file."""

    def __init__(self, final: Catalog, added: tuple[tuple[str, Index], ...], source: Source) -> None:
        self._final = final
        self._added = added
        self._source = source
        self._file = relative(source.path)

    def found(self) -> Iterator[Found]:
        """Yield what is wrong, by line, and then what could not be read."""
        unread = [] if self._source.problem is None else [self._source.problem[0]]
        for piece in self._source.pieces:
            for one in inserts(piece):
                if isinstance(one, Insert):
                    begins = one.line if piece.script else piece.line
                    yield from self._insert(one, begins, unfinished=piece.unfinished)
                else:
                    unread.append(one)
        for construct in self._source.constructs:
            yield from self._construct(construct)
        if unread:
            yield self._say("sql-unreadable", f"{len(unread)}, the first on line {min(unread)}", "", min(unread))

    def _say(
        self,
        id_: CheckId,
        subject: str,
        table: str,
        line: int,
        near: tuple[int, int] | None = None,
        revision: str | None = None,
    ) -> Found:
        first, last = near or (line, line)
        return Found(
            rule="writers",
            finding=finding(id_, subject, table=table),
            place=Place(file=self._file, line=line, revision=revision),
            accepted=id_ in self._source.accepts(first, last),
        )

    def _insert(self, insert: Insert, begins: int, *, unfinished: bool) -> Iterator[Found]:
        table = find_table(self._final, insert.node.relation)
        if table is None:
            return
        indexes = [one for one in self._final.indexes if one.relid == table.oid]
        conflict = insert.node.onConflictClause
        near = (begins, insert.last)
        judged = Judgement() if conflict is None else judge(conflict, indexes)
        if judged.problem is not None:
            yield self._say(judged.problem, judged.target, str(table), insert.line, near)
        elif not judged.unsure and not (conflict is None and unfinished):
            for revision, index in self._added:
                if index.relid == table.oid and index.oid not in judged.covers and self._may_repeat(insert.node, index):
                    subject = f"{index.name} ({', '.join(index.keys)}), which revision {revision} adds"
                    yield self._say("insert-may-raise", subject, str(table), insert.line, near, revision)

    def _may_repeat(self, node: Any, index: Index) -> bool:
        """Tell whether the rows can carry a key that is there; a NULL or a value of each row's own cannot."""
        left_out = _left_out(node)
        for column in filter(None, index.columns):
            told = left_out.get(column, "default" if node.cols and column not in _names(node) else "given")
            if node.selectStmt is None:
                told = "default"
            if told == "given":
                continue
            definition = self._final.objects.get(f"column {index.table}.{column}", " GENERATED")
            null = told == "null" or not any(word in definition for word in (" DEFAULT ", " GENERATED", " IDENTITY "))
            if (null and not index.nulls_not_distinct) or (not null and any(one in definition for one in _OWN_VALUE)):
                return False
        return True

    def _construct(self, construct: Construct) -> Iterator[Found]:
        """Judge what SQLAlchemy is told; its table is not known, so one that fits anywhere is enough."""
        indexes = self._final.indexes
        if construct.constraint is not None:
            judged = by_name(construct.constraint, indexes)
            if judged.problem is not None:
                table = "any table" if judged.problem == "no-arbiter" else "its table"
                yield self._say(judged.problem, judged.target, table, construct.line)
            return
        same = [one for one in indexes if one.unique and set(one.columns) == set(construct.elements)]
        if any(one.valid and not one.deferrable and (one.predicate is None or construct.partial) for one in same):
            return
        target = f"index_elements ({', '.join(construct.elements)})"
        bad = [one for one in same if one.predicate is None or construct.partial]
        if bad:
            why = "deferrable [55000]" if bad[0].valid else "invalid [42P10]"
            yield self._say("arbiter-unfit", f"{target}: index {bad[0].name} is {why}", "its table", construct.line)
        else:
            yield self._say("no-arbiter", f"{target} [42P10]", "any table", construct.line)


def find_table(catalog: Catalog, relation: Any) -> Table | None:
    """Return the table that a statement means: of its schema, else of ``public``, else the only one of that name."""
    if is_hole(relation.relname) or is_hole(relation.schemaname):
        return None
    named = [one for one in catalog.tables if one.name == relation.relname]
    schema = relation.schemaname
    if schema is None and len(named) > 1:
        schema = "public"
    fitting = [one for one in named if schema in (None, one.schema)]
    return fitting[0] if len(fitting) == 1 else None


def _names(node: Any) -> list[str]:
    return [one.name for one in node.cols or ()]


def _left_out(node: Any) -> dict[str, str]:
    """Return the columns for which every row of VALUES says DEFAULT or NULL, and which."""
    rows = getattr(node.selectStmt, "valuesLists", None)
    if not rows or not node.cols:
        return {}
    said: dict[str, str] = {}
    for position, name in enumerate(_names(node)):
        values = {_says(row[position]) if position < len(row) else "given" for row in rows}
        if len(values) == 1:
            said[name] = values.pop()
    return said


def _says(value: Any) -> str:
    if type(value).__name__ == "SetToDefault":
        return "default"
    return "null" if getattr(value, "isnull", False) is True else "given"
