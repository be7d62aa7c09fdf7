"""The keys that the applied or the pending revisions declare, and what of them could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from alembic.script import Script
from sqlalchemy import Connection
from sqlalchemy.exc import NoInspectionAvailable

from dupe_audit.directives.downgrades import mismatches
from dupe_audit.directives.operations import UNKNOWN
from dupe_audit.directives.project import Tenant
from dupe_audit.directives.reading.affected_indexes import indexes_at_risk
from dupe_audit.directives.reading.countable import is_null, uncountable
from dupe_audit.directives.reading.tables import Enforced, IndexImpact, TrackedTable
from dupe_audit.directives.reading.uniqueness import History
from dupe_audit.directives.recording import NoResult, Recording, record
from dupe_audit.directives.schemas import answered
from dupe_audit.directives.source import may_declare, source_of
from dupe_audit.errors import WrongUsage
from dupe_audit.findings import Finding, FindingId, accepted, finding, without_passwords
from dupe_audit.model import CleanupRule, UniqueKey, Unseen
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.statements import literal, statement, text_array

#: errors of code that uses the result of a query: while a revision is read, a query has no result
_NEEDS_DATA = (NoResult, TypeError, AttributeError, NoInspectionAvailable)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredKey:
    """A key that a revision enforces, with the rule of the cleanup before it."""

    revision: str
    key: UniqueKey
    rule: CleanupRule | None  #: None if the revision does not clean the key first
    plain: bool = False  #: declared by an operation of Alembic or by SQL, not by a directive
    primary: bool = False  #: a primary key, which rejects NULL
    concurrent: bool = False  #: an index that is built concurrently, so it blocks nobody
    accepted: frozenset[str] = frozenset()  #: ids of findings that comments in the revision accept
    followed: bool = True  #: every later change of its table could be read
    is_for_schema: bool = False  #: one of the schemas of a directive


class Declarations:
    """The applied revisions, or the pending ones, of all tenants."""

    def __init__(self, connection: Connection) -> None:
        self.unseen: list[Unseen] = []
        self.mismatches: list[Unseen] = []  #: keys that a downgrade restores instead of those of its upgrade
        self.uses_directives: str | None = None  #: the first revision that does
        self._connection = connection
        self._histories: list[tuple[Tenant, History]] = []
        self._accepted: dict[str, frozenset[str]] = {}

    def read(self, tenant: Tenant, revisions: Iterable[Script], suffix: str) -> None:
        """Record revisions, oldest first, and apply them to their own history."""
        history = History(tenant.translated, tenant.default)
        for revision in revisions:
            self._accepted[revision.revision] = accepted(source_of(revision))
            upgrade = getattr(revision.module, "upgrade", None)
            if upgrade is None:
                self._unread(revision, f"has no upgrade() ({Path(revision.path).name}{suffix})")
                continue
            written = record(upgrade, context=tenant.context)
            recording, unanswered = answered(self._connection, written, revision.revision)
            if unanswered:
                self._unread(revision, f"cannot be read: {unanswered.rstrip('.')}{suffix}")
            if written.directives and self.uses_directives is None:
                self.uses_directives = revision.revision
            if recording.obstacle:
                self._obstructed(revision, recording, suffix)
            history.apply(revision.revision, recording)
            downgrade = getattr(revision.module, "downgrade", None)
            for mismatch in mismatches(recording, downgrade, revision.revision, partial(self._schema_of, tenant)):
                noted = with_comment(mismatch, self._accepted[revision.revision])
                self.mismatches.append(Unseen(findings=(noted,), revision=revision.revision))
        self._histories.append((tenant, history))

    def keys(self, *, last: bool) -> Iterator[DeclaredKey]:
        """Yield the keys that are left; note those that cannot be examined.

        Args:
            last: whether tables, columns and keys have the names after the revisions or those before.
        """
        yielded: set[UniqueKey] = set()  # env.py can execute a revision for each tenant
        for tenant, history in self._histories:
            for sql in history.unread:
                subject = f"{sql.revision} may declare; its SQL cannot be read: {_shortened(sql.text)}"
                self._not_examined(sql.revision, subject, last=last)
            for impact in () if last else history.impacts:
                self._note_impact(tenant, impact, history.enums)
            for table, name, enforced in history.enforced():
                for declared in self._key(tenant, table, name, enforced, last=last):
                    if not (declared.is_for_schema and declared.key in yielded):
                        yield declared
                    yielded.add(declared.key)

    def _key(
        self, tenant: Tenant, table: TrackedTable, name: str, enforced: Enforced, *, last: bool
    ) -> Iterator[DeclaredKey]:
        schema, table_name = (table.schema, table.name) if last else table.first
        where = self._find(tenant, schema, table_name)
        schema = where or schema or tenant.default
        is_new = table.created is not None and (table.replaces or where is None)
        if enforced.plain and not last:
            if enforced.plain.inline or is_new:
                if not (is_new and enforced.may_repeat):
                    return  # a new table has no rows, or some that the revision contains
            else:
                self._forget_existing(schema, table_name, enforced)
            if is_null(enforced):
                return
        columns = tuple(column.name if last else column.first for column in enforced.columns or ())
        columns = columns or ((UNKNOWN,) if last and not enforced.directive else ())  # it is recognised by its name
        reason = None if last else uncountable(table, enforced)
        if (columns or enforced.directive or (enforced.plain and enforced.plain.elements)) and reason is None:
            try:
                named = name if last or not enforced.directive else str(enforced.directive.name)
                key = _unique_key(enforced, schema, table_name, named, columns)
            except WrongUsage as error:
                reason = str(error)
            else:
                yield self._declared(enforced, key, table)
                return
        sql = f": {_shortened(enforced.plain.sql)}" if enforced.plain else ""
        subject = f"{enforced.revision} declares on {schema}.{table_name}; {reason}{sql}"
        self._not_examined(
            enforced.revision,
            subject,
            last=last,
            unseen=Unseen(
                findings=(),
                revision=enforced.revision,
                schema=schema,
                table=table_name,
                columns=columns,
                constraint=name,
            ),
        )

    def _declared(self, enforced: Enforced, key: UniqueKey, table: TrackedTable) -> DeclaredKey:
        plain = enforced.plain
        return DeclaredKey(
            revision=enforced.revision,
            key=key,
            rule=enforced.rule,
            plain=plain is not None,
            primary=plain is not None and plain.primary,
            concurrent=plain is not None and " CONCURRENTLY " in plain.sql.upper(),
            accepted=self._accepted.get(enforced.revision, frozenset()),
            followed=not table.unclear,
            is_for_schema=enforced.is_for_schema,
        )

    def _not_examined(self, revision: str, subject: str, *, last: bool, unseen: Unseen | None = None) -> None:
        id_: FindingId = "uniqueness-not-followed" if last else "uniqueness-not-counted"
        self._note(unseen or Unseen(findings=(), revision=revision), id_, subject)

    def _note_impact(self, tenant: Tenant, impact: IndexImpact, enums: set[str]) -> None:
        schema, table = impact.table.first
        schema = self._find(tenant, schema, table)
        if schema is None or impact.table.created:
            return
        if names := indexes_at_risk(self._connection, schema, impact, enums):
            indexes = f"existing unique indexes of {schema}.{table} ({', '.join(names)})"
            subject = f"{impact.revision} enforces through {indexes}: {impact.reason}"
            unseen = Unseen(findings=(), revision=impact.revision, schema=schema, table=table)
            self._not_examined(impact.revision, subject, last=False, unseen=unseen)

    def _obstructed(self, revision: Script, recording: Recording, suffix: str) -> None:
        obstacle = recording.obstacle
        assert obstacle is not None  # noqa: S101 - for mypy
        file = "" if obstacle.line else f" ({Path(revision.path).name})"
        verb = "fails" if obstacle.certain else "cannot be read without a database"
        left_out = "Nothing after that line was examined"
        if not recording.is_cut_short:
            left_out = "That directive was left out, so its key and its rule are not known"
        problem = f"{verb}: {without_passwords(obstacle.reason)}{file}{suffix}. {left_out}"
        needs_data = not obstacle.certain and isinstance(obstacle.error, _NEEDS_DATA)
        self._unread(revision, problem, is_harmless=needs_data and not may_declare(source_of(revision)))

    def _unread(self, revision: Script, problem: str, *, is_harmless: bool = False) -> None:
        unseen = Unseen(findings=(), revision=revision.revision)
        self._note(unseen, "revision-unread", f"{revision.revision} {problem}", is_harmless=is_harmless)

    def _note(self, unseen: Unseen, id_: FindingId, subject: str, *, is_harmless: bool = False) -> None:
        noted = finding(id_, subject)
        if is_harmless:
            noted = replace(
                noted, severity="info", help="No action needed: nothing in the revision's file mentions uniqueness."
            )
        elif unseen.revision:
            noted = with_comment(noted, self._accepted.get(unseen.revision, frozenset()))
        self.unseen.append(replace(unseen, findings=(noted,)))

    def _schema_of(self, tenant: Tenant, key: UniqueKey) -> str | None:
        return self._find(tenant, key.schema, key.table) or key.schema

    def _find(self, tenant: Tenant, schema: str | None, table: str) -> str | None:
        """Return the schema in which the session of env.py finds a table; None if it does not exist."""
        only = schema or tenant.translated.get(None)
        schemas = text_array([only] if only else tenant.schemas)
        query = statement("schema_of_table", table_name=literal(table), schemas=schemas)
        existing = execute(self._connection, query).scalar_one_or_none()
        return None if existing is None else str(existing)

    def _forget_existing(self, schema: str | None, table: str, enforced: Enforced) -> None:
        """Treat a column as an old one if it exists although a revision adds it, as with ``if_not_exists``."""
        added = [column for column in enforced.columns or () if column.added and not column.replaces]
        if added and (
            match := catalog.find(self._connection, UniqueKey(table=table, schema=schema, columns=(UNKNOWN,)))
        ):
            query = statement("relation_columns", relid=str(match[1].relid))
            existing = set(execute(self._connection, query).scalars())
            for column in added:
                column.added = None if column.first in existing else column.added


def with_comment(noted: Finding, accepted_ids: frozenset[str]) -> Finding:
    """Return a finding as an info if a comment of its revision accepts it."""
    if noted.id not in accepted_ids:
        return noted
    return replace(noted, severity="info", help="Accepted in a comment of the revision.")


def _unique_key(enforced: Enforced, schema: str | None, table: str, name: str, columns: tuple[str, ...]) -> UniqueKey:
    if enforced.directive:
        names = iter(columns)
        elements = tuple(next(names) if isinstance(element, str) else element for element in enforced.directive.columns)
        return replace(enforced.directive, schema=schema, table=table, columns=elements, name=name)
    plain = enforced.plain
    return UniqueKey(
        schema=schema,
        table=table,
        columns=columns or (plain and plain.elements) or (),
        where=None if columns or plain is None else plain.where,
        form="constraint" if columns else "index",
        name=name if plain and (plain.name or columns == (UNKNOWN,)) else None,
        nulls_not_distinct=bool(plain and plain.nulls_not_distinct),
    )


def _shortened(sql: str) -> str:
    return sql if len(sql) <= 300 else f"{sql[:300]} …"
