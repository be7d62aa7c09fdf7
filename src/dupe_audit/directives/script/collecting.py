"""A script that judges a revision in many schemas, and reports all refusals together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from alembic.operations import MigrateOperation, Operations

from dupe_audit.directives.recording import Item
from dupe_audit.directives.script.parts import Script
from dupe_audit.directives.subjects import subject
from dupe_audit.postgres.sqlstates import ABOUT_THE_SERVER
from dupe_audit.statements import literal, statement, text_array

#: beginnings of the statements that can stop a script; the others define what these use
_JUDGEMENTS = ("DO $judge$", "CALL ")


class CollectingScript(Script):
    """The script of judgements; a judgement of a directive with ``schemas`` notes a refusal instead of stopping."""

    def __init__(self, operations: Operations) -> None:
        super().__init__(operations)
        self._directive: MigrateOperation | None = None

    @contextmanager
    def judging_directive(self, item: MigrateOperation) -> Iterator[None]:
        """Treat the statements that the block writes as the judgement of a directive."""
        self._directive = item if is_for_schema(item) else None
        yield
        self._directive = None

    def write(self, sql: str) -> None:
        """Write a statement; if it could stop the script, wrap it so that it notes the refusal instead."""
        if self._directive is not None and sql.startswith(_JUDGEMENTS):
            schema = literal(self._directive.key.schema)  # type: ignore[attr-defined]
            holes = {"schema": schema, "subject": literal(subject(self._directive)), "judgement": literal(sql)}
            sql = statement("offline_collect", **holes, about_the_server=text_array(ABOUT_THE_SERVER))
        super().write(sql)


def is_for_schema(item: Item) -> bool:
    """Return whether an item is the form for one schema of a directive with ``schemas``."""
    return hasattr(item, "origin")


def before(items: Sequence[Item], number: int) -> list[Item]:
    """Return what a revision does before an item, except for what it does in other schemas of the same directives."""
    item = items[number]
    return [
        earlier
        for earlier in items[:number]
        if not (is_for_schema(item) and is_for_schema(earlier) and earlier.key.schema != item.key.schema)  # type: ignore[union-attr]
    ]
