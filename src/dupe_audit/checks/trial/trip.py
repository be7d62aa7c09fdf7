"""The seeded round trip: a revision on tables with rows, duplicates among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import Failure, Step, Trip
from dupe_audit.checks.tracing.trace import tracing
from dupe_audit.checks.trial.migrate import Environment, Runner
from dupe_audit.checks.trial.project import Project
from dupe_audit.checks.trial.scratch import Scratch
from dupe_audit.checks.trial.suggest import suggestion
from dupe_audit.checks.trial.walk import prepare
from dupe_audit.connect import connect
from dupe_audit.errors import DupeAuditError
from dupe_audit.findings import FindingId, quantity
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.sqlstates import FAILED_TRANSACTION, reason, sqlstate
from dupe_audit.schema.facts import Catalog, Index, Table
from dupe_audit.schema.rowsets import count_extras, describe_key, digest_rows, extras_before, lost_and_gained
from dupe_audit.schema.snapshot import snapshot
from dupe_audit.seeding import ALL, CannotFill, Shape, fill
from dupe_audit.seeding.facts import Filled
from dupe_audit.statements import ident
from dupe_audit.verify import verify_named

#: what a directive of ours refuses, and the shape of extras without which it goes on
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

    rows: int = 1000
    seed: int = 0
    directory: Path | None = None  #: of SQL files of the project's own, called after revisions

    def own(self, revision: str) -> str | None:
        """Return the project's own SQL for a revision, where there is one."""
        if self.directory is None:
            return None
        file = self.directory / f"{revision}.sql"
        return file.read_text("utf-8") if file.is_file() else None


def trips(
    project: Project, scratch: Scratch, environment: Environment, steps: Sequence[Step], seeding: Seeding
) -> Iterator[Trip]:
    """Yield one trip for each table that a revision makes unique, and for each that it works on under a strong lock."""
    with scratch.database() as url:
        runner = Runner(project, url, environment)
        prepare(runner)
        for step in steps:
            for table in _tables(step):
                uniques = tuple(index for index in step.new_unique if index.relid == table.oid)
                yield _Traveller(runner, scratch, step, table, seeding, uniques).travel()
            if step.up or runner.up(step.revision.id):
                return


def _tables(step: Step) -> list[Table]:
    wanted = {index.relid for index in step.new_unique}
    worked = {table for one in step.statements if one.strong for table, _how in one.worked}
    tables = [table for table in step.before.tables if table.oid in wanted or str(table) in worked]
    chosen = {table.oid for table in tables}
    # A partition has its rows from the trip of the whole, unless it has a uniqueness of its own.
    return [one for one in tables if one.oid in wanted or not _part_of_one(one, chosen, step.before)]


def _part_of_one(table: Table, wholes: set[int], catalog: Catalog) -> bool:
    above = None if table.part_of is None else catalog.table(table.part_of)
    return above is not None and (above.oid in wholes or _part_of_one(above, wholes, catalog))


@dataclass(frozen=True, slots=True)
class _Traveller:
    base: Runner  #: at the state before the revision; never changed here
    scratch: Scratch
    step: Step
    table: Table
    seeding: Seeding
    uniques: tuple[Index, ...]
    tables: tuple[Table, ...] = ()

    def travel(self) -> Trip:
        """Try with all shapes; where a directive refuses one as it is told to, again without it."""
        shapes, refused = ALL, list[Failure]()
        while True:
            trip = self._try(shapes)
            dropped = {REFUSALS[one] for one in trip.up.findings if one in REFUSALS} & shapes if trip.up else set()
            if not dropped or trip.up is None:
                return replace(trip, refused=tuple(refused))
            refused.append(trip.up)
            shapes -= dropped

    def _snapshot(self, connection: Connection) -> Catalog:
        return snapshot(connection, version_table=self.base.environment.version_table, objects=False)

    def _here(self, connection: Connection) -> _Traveller:
        """Return the same in another database, where every oid is another one."""
        tables = self._snapshot(connection).tables
        table = next(one for one in tables if str(one) == str(self.table))
        uniques = tuple(replace(one, relid=table.oid) for one in self.uniques)
        return replace(self, table=table, uniques=uniques, tables=tables)

    def _try(self, shapes: frozenset[Shape]) -> Trip:
        after, made = self.step.after, {one.oid for one in self.uniques}
        written = [one for one in after.indexes if one.oid in made] if after else []  # in the revision's own words
        trip = Trip(
            revision=self.step.revision,
            table=str(self.table),
            key=" and ".join(describe_key(one) for one in written),
            suggestion=suggestion(after, written) if after else None,
        )
        with self.scratch.database(copy_of=self.base.url) as url, connect(url) as connection:
            runner = Runner(self.base.project, url, self.base.environment)
            return self._here(connection).filled(trip, runner, connection, shapes)

    def filled(self, trip: Trip, runner: Runner, connection: Connection, shapes: frozenset[Shape]) -> Trip:
        """Fill the table of this database, and go there and back."""
        try:
            trip = replace(trip, filled=self._fill(connection, shapes))
        except CannotFill as error:
            trip = replace(trip, not_filled=str(error).removeprefix(f"{self.table}: ").rstrip("."))
        name = ident(self.table.schema, self.table.name)
        trip = replace(trip, extras=sum(extras_before(connection, name, one) for one in self.uniques))
        return self._there_and_back(trip, runner, connection)

    def _there_and_back(self, trip: Trip, runner: Runner, connection: Connection) -> Trip:
        revision = self.step.revision
        before = digest_rows(connection, self.tables)
        with tracing(connection, self.tables, revision.path) as traced:
            up = _caused(runner.up(revision.id), traced.error)
        after = self._snapshot(connection)  # a failure too can leave something behind
        trip = replace(trip, up=up, after=after, statements=traced.statements)
        if up:
            return trip
        trip = replace(trip, unproven=self._unproven(connection, after))
        if self.step.returned is None:  # it has no way back, which the walk has seen
            return trip
        down = runner.down(revision.id)
        if down:
            return replace(trip, down=down)
        differs = lost_and_gained(before, digest_rows(connection, self.tables))
        return replace(trip, differs=differs, up_again=runner.up(revision.id))

    def _fill(self, connection: Connection, shapes: frozenset[Shape]) -> Filled:
        revision = self.step.revision.id
        own = self.seeding.own(revision)
        if own is None:
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
            execute(connection, own)
        except DBAPIError as error:
            with suppress(DBAPIError):
                execute(connection, "ROLLBACK")
            raise DupeAuditError(f"--seed-sql: {revision}.sql fails: {reason(error)}.") from error
        rows = execute(connection, f"SELECT pg_catalog.count(*) FROM {ident(self.table.schema, self.table.name)}")
        return Filled(revision=revision, table=str(self.table), rows=int(rows.scalar_one()), own=True)

    def _unproven(self, connection: Connection, after: Catalog) -> str | None:
        """Return what the catalog or a count says against the uniqueness that the revision added."""
        now = {(one.schema, one.name): one for one in after.indexes}
        for index in self.uniques:
            found = now.get((index.schema, index.name))
            table = after.table(found.relid) if found else None  # which the revision may have renamed
            if found is None or table is None:
                return f"index {index.name} does not exist"
            if not found.valid:
                continue  # which is rule invalid-index's to say
            if found.constraint and not found.primary:
                # The same proof as after a real upgrade; for a directive of ours it holds the ledger against the rows.
                proof = verify_named(connection, table=table.name, schema=table.schema, name=found.constraint)
                if not proof.ok:
                    return " ".join(one.message for one in proof.findings).rstrip(".")
            elif extras := count_extras(connection, ident(table.schema, table.name), found):
                return f"{quantity(extras, 'extra')} left under the key {describe_key(found)}"
        return None


def _caused(failure: Failure | None, error: DBAPIError | None) -> Failure | None:
    """Return the failure with its cause, where it only says that the transaction had failed before."""
    if failure is None or error is None or failure.sqlstate != FAILED_TRANSACTION:
        return failure
    state = sqlstate(error)
    return replace(failure, reason=f"{reason(error)} (SQLSTATE {state})", sqlstate=state)
