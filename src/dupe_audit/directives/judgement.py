"""Judge all directives of a revision before the first one acts: whether any of them would be refused, and why."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from alembic.operations import MigrateOperation
from sqlalchemy import Connection

from dupe_audit import children
from dupe_audit.constraint import is_absent
from dupe_audit.directives.effects import NOTHING, Effect, effect
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.recording import Item, PlainStatement
from dupe_audit.directives.schemas import Elsewhere
from dupe_audit.directives.subjects import subject
from dupe_audit.directives.verdict import Examiner, Verdict
from dupe_audit.findings import finding
from dupe_audit.model import UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.session import require_valid

log = logging.getLogger("alembic.dupe_audit")

#: findings that a change of another table can resolve
ABOUT_OTHER_TABLES = {"name-taken", "foreign-key-unindexed", "constraint-in-use", "not-a-constraint"}


class Judge:
    """Judges the directives of a revision together.

    Args:
        examiner: of its single directives.
        items: of the revision, in order.
    """

    def __init__(self, connection: Connection, examiner: Examiner, items: Sequence[Item]) -> None:
        self._connection = connection
        self._examiner = examiner
        self._items = items

    def verdicts(self, first: MigrateOperation) -> list[Verdict]:
        """Return the verdicts on all directives, before the first of them acts.

        Args:
            first: the directive that acts first; its own staging counts its rows.
        """
        require_valid(self._connection, self._examiner.options.settings())
        verdicts = []
        between: list[Effect] = []
        begun = False
        for number, item in enumerate(self._items):
            if isinstance(item, PlainStatement):
                # Statements before the first directive have been executed already.
                if begun:
                    between.append(effect(item.construct))
                continue
            begun = True
            if isinstance(item, Elsewhere):
                continue
            # Its schema is not translated, and neither is that of a plain statement.
            key = item.key  # type: ignore[attr-defined]
            if self._is_unknown(key, between):
                log.info(
                    "%s is judged when it is executed: a statement before it can change what it needs", subject(item)
                )
                continue
            rows_known = not any(change.concerns(key.schema, key.table) for change in between if change is not NOTHING)
            counted = rows_known and item is not first and self._countable(number)
            verdict = self._examiner.examine(item, measure_width=rows_known and self._measures(number), count=counted)
            verdicts.append(self._without_the_undecided(verdict, number, between))
        return [*verdicts, *self._collisions()]

    def _is_unknown(self, key: UniqueKey, between: Sequence[Effect]) -> bool:
        return any(change.definition and change.concerns(key.schema, key.table) for change in between)

    def _without_the_undecided(self, verdict: Verdict, number: int, between: Sequence[Effect]) -> Verdict:
        """Leave out findings that an earlier statement or directive could resolve."""
        undecided: set[str] = set()
        if any(change.definition for change in between):
            undecided |= ABOUT_OTHER_TABLES
        if any(change.tables is None or change.tables for change in between):
            undecided |= {"foreign-key-references", "repoint-collision", "cannot-repoint"}
        key = self._examiner.locate(verdict.operation.key)  # type: ignore[attr-defined]
        for earlier in self._items[:number]:
            if isinstance(earlier, ArchiveDuplicatesOp):
                if self._references(earlier.key, key):
                    undecided |= {"foreign-key-references", "repoint-collision"}
            elif not isinstance(earlier, PlainStatement | Elsewhere) and earlier.key.name == key.name:  # type: ignore[attr-defined]
                undecided.add("not-a-constraint")
                # By then, the name can be free; not if the earlier directive's table does not have it now.
                if not is_absent(self._connection, self._examiner.locate(earlier.key)):  # type: ignore[attr-defined]
                    undecided.add("name-taken")
        findings = tuple(item for item in verdict.findings if item.id not in undecided)
        return replace(verdict, findings=findings)

    def _references(self, child: UniqueKey, parent: UniqueKey) -> bool:
        """Return whether archiving rows of a table can remove references to the other one, through cascades too."""
        tables = [catalog.find(self._connection, self._examiner.locate(key)) for key in (child, parent)]
        if not all(tables):
            return False
        first, last = (match[1] for match in tables if match)
        pending, reached = [last.relid], {last.relid}
        while pending:
            for foreign_key in children.foreign_keys(self._connection, pending.pop()):
                if (relid := int(foreign_key.holes["child_relid"])) not in reached:
                    reached.add(relid)
                    pending.append(relid)
        return first.relid in reached and first.relid != last.relid

    def _countable(self, number: int) -> bool:
        """Return whether no earlier directive changes the rows of this one's table."""
        item = self._items[number]
        if not isinstance(item, ArchiveDuplicatesOp | CreateUniqueConstraintOnlineOp):
            return False
        return rows_are_known(self._examiner.locate(item.key), self._items[:number])

    def _measures(self, number: int) -> bool:
        """Return whether the width of the keys has to be measured: once for a cleanup and its create."""
        item = self._items[number]
        if isinstance(item, CreateUniqueConstraintOnlineOp) and not item.key.include:
            return not any(
                isinstance(earlier, ArchiveDuplicatesOp)
                and earlier.key.table == item.key.table
                and earlier.key.scope == item.key.scope
                for earlier in self._items[:number]
            )
        return True

    def _collisions(self) -> list[Verdict]:
        """Return a verdict for each create whose name another create of the revision takes, on another table."""
        names: dict[tuple[str | None, str | None], str] = {}
        verdicts = []
        for item in self._items:
            if isinstance(item, PlainStatement):
                if effect(item.construct).definition:
                    names.clear()  # it can drop a constraint
            elif isinstance(item, CreateUniqueConstraintOnlineOp | DropUniqueConstraintOnlineOp):
                key = self._examiner.locate(item.key)
                match = catalog.find(self._connection, key)
                schema = match[1].schema if match else key.schema
                if isinstance(item, DropUniqueConstraintOnlineOp):
                    names.pop((schema, key.name), None)
                elif names.setdefault((schema, key.name), key.table) != key.table:
                    taken = finding("name-taken", f"{key.name} (by another directive of this revision)")
                    verdicts.append(Verdict(operation=item, subject=subject(item, key), findings=(taken,)))
        return verdicts


def rows_are_known(key: UniqueKey, earlier: Sequence[Item]) -> bool:
    """Return whether no earlier directive changes the rows of a key's table.

    A cleanup of another key does not count, because it need not remove the duplicates of this one.
    """
    for item in earlier:
        if not isinstance(item, ArchiveDuplicatesOp | RestoreDuplicatesOp):
            continue
        if item.key.table == key.table and not (isinstance(item, ArchiveDuplicatesOp) and is_of_another(item.key, key)):
            return False
        if isinstance(item, ArchiveDuplicatesOp) and item.rule.references == "repoint":
            return False  # its children change, and this table can be one of them
    return True


def is_of_another(cleaned: UniqueKey, created: UniqueKey) -> bool:
    """Return whether a cleanup can leave duplicates of a key: it compares more elements, or covers other rows."""
    covers_all = cleaned.where is None or cleaned.where == created.where
    return not (covers_all and set(cleaned.columns) <= set(created.columns))
