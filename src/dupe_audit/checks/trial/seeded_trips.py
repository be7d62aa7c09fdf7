"""The seeded round trip: a revision on tables with rows, some of them duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import EmptyTrip, Failure, SeededTrip
from dupe_audit.checks.tracing.trace import tracing
from dupe_audit.checks.trial.empty_trips import apply_unchecked
from dupe_audit.checks.trial.implication import implies
from dupe_audit.checks.trial.migrate import EnvOptions, Runner
from dupe_audit.checks.trial.project import Project
from dupe_audit.checks.trial.scratch import Scratch
from dupe_audit.checks.trial.suggest import suggestion
from dupe_audit.checks.trial.tables_to_try import tables_to_try
from dupe_audit.connect import connect
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import FindingId, quantity
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import FAILED_TRANSACTION, reason, sqlstate
from dupe_audit.schema.facts import Catalog, Index, Table
from dupe_audit.schema.rowsets import (
    count_extras,
    describe_key,
    digest_rows,
    extras_before,
    has_columns,
    lost_and_gained,
)
from dupe_audit.schema.snapshot import snapshot
from dupe_audit.seeding import ALL, CannotFill, Shape, fill
from dupe_audit.seeding.facts import Filled
from dupe_audit.seeding.spec import count_rows
from dupe_audit.statements import ident
from dupe_audit.verify import verify_named

#: finding with which one of our directives refuses → the kind of extras that causes it
REFUSALS: dict[FindingId, Shape] = {
    "divergent-duplicates": "divergent",
    "foreign-key-references": "referenced",
    "cannot-repoint": "referenced",
    "repoint-collision": "referenced",
    "child-trigger": "referenced",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeding:
    """How tables are filled."""

    rows: int = 1000  #: per table
    seed: int = 0  #: changes which rows become duplicates
    directory: Path | None = None  #: with the project's own SQL files, named after revisions

    def own_sql(self, revision: str) -> str | None:
        """Return the project's own SQL for a revision, or None without one."""
        if self.directory is None:
            return None
        file = self.directory / f"{revision}.sql"
        return file.read_text("utf-8") if file.is_file() else None


def seeded_trips(
    project: Project, scratch: Scratch, env_options: EnvOptions, trips: Sequence[EmptyTrip], seeding: Seeding
) -> Iterator[SeededTrip]:
    """Yield one trip per table to which a revision adds uniqueness, or on which it works under a strong lock.

    Args:
        project: whose revisions are tried.
        scratch: the server on which to try them.
        env_options: what env.py passes to Alembic.
        trips: of the same revisions on empty tables, in upgrade order.
        seeding: how to fill the tables.

    Raises:
        DupeAuditError: env.py does not work, or the project's own SQL fails.
    """
    with scratch.database() as url:
        runner = Runner(project, url, env_options)
        apply_unchecked(runner)
        for trip in trips:
            for table in tables_to_try(trip):
                uniques = tuple(index for index in trip.new_unique if index.relid == table.oid)
                yield _Trial(runner, scratch, trip, table, seeding, uniques).trip()
            if trip.upgrade_failure or runner.upgrade(trip.revision.id):
                return


@dataclass(frozen=True, slots=True)
class _Trial:
    """One table of one revision: filled in a copy of the base database, then up, down and up again."""

    base: Runner  #: on the database before the revision, which is only copied
    scratch: Scratch
    empty_trip: EmptyTrip
    table: Table
    seeding: Seeding
    uniques: tuple[Index, ...]
    tables: tuple[Table, ...] = ()  #: all tables of the copy

    def trip(self) -> SeededTrip:
        """Try with all kinds of extras; if a directive refuses one, try again without it."""
        shapes, refusals = ALL, list[Failure]()
        while True:
            trip = self._attempt(shapes)
            failure = trip.upgrade_failure
            refused = {REFUSALS[id_] for id_ in failure.findings if id_ in REFUSALS} & shapes if failure else set()
            if not refused or failure is None:
                return replace(trip, refusals=tuple(refusals))
            refusals.append(failure)
            shapes -= refused

    def _attempt(self, shapes: frozenset[Shape]) -> SeededTrip:
        after, new_oids = self.empty_trip.after, {index.oid for index in self.uniques}
        # With the names that the revision gives to tables and columns.
        added = [index for index in after.indexes if index.oid in new_oids] if after else []
        trip = SeededTrip(
            revision=self.empty_trip.revision,
            table=str(self.table),
            key=" and ".join(describe_key(index) for index in added),
            suggestion=suggestion(after, added) if after else None,
        )
        with self.scratch.database(copy_of=self.base.url) as url, connect(url) as connection:
            runner = Runner(self.base.project, url, self.base.env_options)
            return self._in_copy(connection).filled_trip(trip, runner, connection, shapes)

    def _in_copy(self, connection: Connection) -> _Trial:
        """Return the same trial in the copy of the database, where every oid is different."""
        tables = self._snapshot(connection).tables
        table = next(table for table in tables if str(table) == str(self.table))
        uniques = tuple(replace(index, relid=table.oid) for index in self.uniques)
        return replace(self, table=table, uniques=uniques, tables=tables)

    def _snapshot(self, connection: Connection) -> Catalog:
        return snapshot(connection, version_table=self.base.env_options.version_table, objects=False)

    def filled_trip(
        self, trip: SeededTrip, runner: Runner, connection: Connection, shapes: frozenset[Shape]
    ) -> SeededTrip:
        """Fill the table of this database, then upgrade, downgrade and upgrade again."""
        try:
            trip = replace(trip, filled=self._fill(connection, shapes))
        except CannotFill as error:
            trip = replace(trip, not_filled=str(error).removeprefix(f"{self.table}: ").rstrip("."))
        name = ident(self.table.schema, self.table.name)
        extras = [extras_before(connection, name, index) for index in self.uniques]
        if trip.filled and not trip.filled.own:  # whoever provides rows decides which duplicates are among them
            trip = replace(trip, untried=self._untried(connection, extras))
        return self._up_down_up(replace(trip, extras=sum(extras)), runner, connection)

    def _untried(self, connection: Connection, extras: Sequence[int]) -> tuple[str, ...]:
        """Return the new keys without extras, except where existing keys rule extras out or a column is new."""
        before, after = self.empty_trip.before, self.empty_trip.after
        existing = [index for index in before.indexes if index.table == str(self.table)]
        added = {index.oid: index for index in after.indexes} if after else {}
        return tuple(
            describe_key(added.get(index.oid, index))  # with the names that the revision gives to columns
            for index, count in zip(self.uniques, extras, strict=True)
            if not count and has_columns(connection, index) and not any(implies(old, index) for old in existing)
        )

    def _up_down_up(self, trip: SeededTrip, runner: Runner, connection: Connection) -> SeededTrip:
        revision = self.empty_trip.revision
        before = digest_rows(connection, self.tables)
        with tracing(connection, self.tables, revision.path) as traced:
            failure = _with_cause(runner.upgrade(revision.id), traced.error)
        after = self._snapshot(connection)  # a failed upgrade can leave something behind too
        trip = replace(trip, upgrade_failure=failure, after=after, statements=traced.statements)
        if failure:
            return trip
        trip = replace(trip, unproven=self._unproven(connection, after))
        if self.empty_trip.after_downgrade is None:  # it has no working downgrade on empty tables either
            return trip
        failure = runner.downgrade(revision.id)
        if failure:
            return replace(trip, downgrade_failure=failure)
        row_changes = lost_and_gained(before, digest_rows(connection, self.tables))
        # The rows of a partition also count as rows of its partitioned table, and are reported once.
        roots = self.empty_trip.before.roots()
        row_changes = {table: change for table, change in row_changes.items() if roots.get(table) not in row_changes}
        return replace(trip, row_changes=row_changes, second_upgrade_failure=runner.upgrade(revision.id))

    def _fill(self, connection: Connection, shapes: frozenset[Shape]) -> Filled:
        revision = self.empty_trip.revision.id
        own_sql = self.seeding.own_sql(revision)
        if own_sql is None:
            return fill(
                connection,
                self.table,
                self.uniques,
                rows=self.seeding.rows,
                seed=self.seeding.seed,
                revision=revision,
                shapes=shapes,
            )
        try:
            execute(connection, own_sql)
        except DBAPIError as error:
            with suppress(DBAPIError):
                execute(connection, "ROLLBACK")
            raise DupeAuditError(f"--seed-sql: {revision}.sql fails: {reason(error)}.") from error
        rows = count_rows(connection, ident(self.table.schema, self.table.name))
        return Filled(revision=revision, table=str(self.table), rows=rows, own=True)

    def _unproven(self, connection: Connection, after: Catalog) -> str | None:
        """Return why the catalog or a count contradicts the uniqueness that the revision adds; None if neither does."""
        indexes = {(index.schema, index.name): index for index in after.indexes}
        for index in self.uniques:
            current = indexes.get((index.schema, index.name))
            table = after.table(current.relid) if current else None  # the revision may have renamed it
            if current is None or table is None:
                return f"index {index.name} does not exist"
            if not current.valid:
                continue  # rule invalid-index reports it
            if current.constraint and not current.primary:
                # The same verification as after a real upgrade; for our directives it also compares the ledger.
                proof = verify_named(connection, table=table.name, schema=table.schema, name=current.constraint)
                if not proof.ok:
                    return " ".join(finding.message for finding in proof.findings).rstrip(".")
            elif extras := count_extras(connection, ident(table.schema, table.name), current):
                return f"{quantity(extras, 'extra')} left under the key {describe_key(current)}"
        return None


def _with_cause(failure: Failure | None, error: DBAPIError | None) -> Failure | None:
    """Return the failure with its cause, if it only says that the transaction had failed before."""
    if failure is None or error is None or failure.sqlstate != FAILED_TRANSACTION:
        return failure
    state = sqlstate(error)
    return replace(failure, reason=f"{reason(error)} (SQLSTATE {state})", sqlstate=state)
