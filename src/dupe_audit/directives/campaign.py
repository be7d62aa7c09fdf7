"""A revision's work in many schemas: each is judged and worked on by itself, and refusals are reported together."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from alembic.operations import MigrateOperation
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dupe_audit.directives.assignment import assign, in_order, judge, perform, tasks_of
from dupe_audit.directives.entry import CampaignEntry
from dupe_audit.directives.execution import Execution
from dupe_audit.directives.failed_schemas import FailedSchema, Reporter, refusal, stops_every_schema
from dupe_audit.directives.refusal import NAMES, revision_suffix
from dupe_audit.directives.schemas import (
    existing_schemas,
    in_schema,
    known_at_once,
    require_untranslated,
    resolve_schemas,
    schema_recording,
    schemas_of,
)
from dupe_audit.directives.subjects import identities
from dupe_audit.directives.worker import Worker
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import quantity
from dupe_audit.model import CampaignState, Schemas
from dupe_audit.postgres.patience import Throttle
from dupe_audit.postgres.sqlstates import friendly

log = logging.getLogger("alembic.dupe_audit")

#: how often the query is executed again, to find schemas created in the meantime
ROUNDS = 5

#: directives, each with its position in the revision
Numbered = Sequence[tuple[int, MigrateOperation]]


class Campaign:
    """The directives of one execution of a revision that have ``schemas``.

    Args:
        execution: of the revision.
    """

    def __init__(self, execution: Execution, connection: Connection) -> None:
        self._execution = execution
        self._entry = CampaignEntry(connection, execution.revision, upgrading=execution.upgrading)
        self._answers: dict[Schemas, tuple[str, ...]] = {}
        self._executions: dict[str, Execution] = {}
        self._passed: set[str] = set()
        self._failed: dict[str, FailedSchema] = {}
        self._reporter: Reporter | None = None  #: reports at the end of a revision that cannot be read

    @property
    def number(self) -> int | None:
        """Its id in the ledger; None if it is not entered."""
        return self._entry.number

    def fact(self, connection: Connection | None) -> str:
        """Return in words what the campaign has committed and not undone; empty if that is nothing."""
        begun = {name: execution.acted > 0 for name, execution in self._executions.items()}
        with suppress(SQLAlchemyError, DupeAuditError):
            return self._entry.fact(connection, begun)
        return self._entry.fact(None, begun)

    def perform(self, worker: Worker, operation: MigrateOperation, position: int) -> None:
        """Execute a directive in each of its schemas; after the last one, report those that were refused.

        In a revision that cannot be read, any directive can be the last, so they are reported when the revision ends.

        Args:
            worker: of the revision.
            position: of the directive in the revision.

        Raises:
            Refused: schemas were refused or failed; the message names each of them.
            DupeAuditError: the schemas cannot be determined.
        """
        directives = self._directives(operation, position)
        for _, each in directives:
            self._resolve(worker, each)
        self._admit(worker, directives)
        self._advance(worker, operation, position, self._names(operation))
        if position != directives[-1][0]:
            return
        self._follow(worker, directives)
        if self._failed:
            if self._execution.readable or not self._execution.revision:
                raise self._refusal()
            self._report_at_end(worker)
            return
        if self.number is not None and (self._executions or self._passed):
            state: CampaignState = "done" if self._execution.upgrading else "undone"
            self._record(worker, state)
            schemas = quantity(len(self._executions) + len(self._passed), "schema")
            log.info("campaign %d is %s: %s", self.number, state, schemas)

    def prepare(self, worker: Worker) -> None:
        """Determine the schemas before the first directive of the revision acts, as far as possible.

        Raises:
            DupeAuditError: the schemas cannot be determined.
        """
        if self._execution.whole and self._execution.readable and self._execution.trusted:
            for operation in known_at_once(self._execution.whole):
                self._resolve(worker, operation)

    def _directives(self, operation: MigrateOperation, position: int) -> Numbered:
        """Return the directives with ``schemas``: all of them, or the one that was called."""
        whole = self._execution.whole
        if whole is None or not self._execution.readable or not self._execution.trusted:
            return [(position, operation)]
        return [(number, item) for number, item in enumerate(whole.directives) if schemas_of(item)]

    def _names(self, operation: MigrateOperation) -> tuple[str, ...]:
        schemas = schemas_of(operation)
        return self._answers.get(schemas, ()) if schemas else ()

    def _resolve(self, worker: Worker, operation: MigrateOperation) -> None:
        """Determine the schemas of a directive, unless they are known; a downgrade adds those of the upgrade."""
        schemas = schemas_of(operation)
        if schemas is None or schemas in self._answers:
            return
        names = resolve_schemas(worker.connection, schemas)
        if schemas.query and not self._execution.upgrading:
            existing = existing_schemas(worker.connection, self._entry.earlier_schemas)
            earlier = (name for name in self._entry.earlier_schemas if name in existing)
            names = tuple(dict.fromkeys((*names, *earlier)))
        require_untranslated(worker.operations, names)
        if not names:
            log.warning(
                "op.%s()%s: the schemas query returned no schema, so nothing is done: %s",
                NAMES[type(operation)],
                revision_suffix(self._execution),
                schemas.query,
            )
        self._answers[schemas] = names

    def _admit(self, worker: Worker, directives: Numbered) -> None:
        """Judge the schemas that are new, and enter them in the ledger before the first of them is worked on."""
        names = dict.fromkeys(name for _, each in directives for name in self._names(each))
        new = [name for name in names if name not in self._executions and name not in self._passed]
        if not new:
            return
        passed = self._entry.passed(worker.connection, new, [(each, self._names(each)) for _, each in directives])
        self._passed |= passed
        if passed:
            log.info(
                "%s skipped: the ledger and the catalog show that the work is done", quantity(len(passed), "schema")
            )
        for schema in (name for name in new if name not in passed):
            execution = self._executions[schema] = self._schema_execution(schema)
            first = next(in_schema(each, schema) for _, each in directives if schema in self._names(each))
            with self._collected(worker, schema, first):
                assign(worker.operations.migration_context, execution, identities(worker.connection, lambda key: key))
                judge(replace(worker, execution=execution), next(in_order(execution), first))
        able = [name for name in self._executions if name not in self._failed]
        if self._execution.upgrading and (able or self.number):
            if self.number is None:
                operation = next(each for _, each in directives if able[0] in self._names(each))
                self._entry.open(worker.connection, in_schema(operation, able[0]).key)  # type: ignore[attr-defined]
            self._record(worker, "open")
            self._join(worker, (*self._executions, *self._passed), directives)

    def _schema_execution(self, schema: str) -> Execution:
        """Return the execution for one schema."""
        recording = self._execution.whole
        if recording is not None:
            recording = schema_recording(recording, schema, lambda schemas: self._answers.get(schemas, ()))
        queried = self.number is not None and any(schemas.query for schemas in self._answers)
        came_later = queried and not self._execution.upgrading and schema not in self._entry.earlier_schemas
        return self._execution.schema_execution(schema, recording, came_later=came_later)

    def _record(self, worker: Worker, state: CampaignState) -> None:
        self._entry.record(worker.connection, self._answers, (*self._executions, *self._passed), state)

    def _join(self, worker: Worker, schemas: Iterable[str], directives: Numbered) -> None:
        tables = dict.fromkeys(each.key.table for _, each in directives)  # type: ignore[attr-defined]
        self._entry.join(worker.connection, schemas, tables)

    def _advance(self, worker: Worker, operation: MigrateOperation, position: int, names: Sequence[str]) -> None:
        """Execute a directive in schemas that are neither refused nor done."""
        throttle = Throttle(quiet_at_first=True)
        for number, schema in enumerate(names, 1):
            execution = self._executions.get(schema)
            if execution is None or schema in self._failed:
                continue
            own, single = replace(worker, execution=execution), in_schema(operation, schema)
            self._execution.current = single
            with self._collected(worker, schema, single):
                execution.position = position
                execution.begun.append(single)
                table_of = identities(worker.connection, lambda key: key)
                tasks = tasks_of(worker.operations.migration_context, execution, single, table_of)
                examiner = judge(own, tasks[0].operation if tasks else single)
                perform(own, examiner, tasks)
            self._join(worker, [schema], [(position, operation)])
            if throttle.due():
                log.info("op.%s(): %s of %s", NAMES[type(operation)], f"{number:,}", quantity(len(names), "schema"))

    @contextmanager
    def _collected(self, worker: Worker, schema: str, operation: MigrateOperation) -> Iterator[None]:
        """Note the error of one schema, so that the others are worked on; one that would stop them too is raised."""
        try:
            yield
        except (DupeAuditError, DBAPIError) as error:
            if stops_every_schema(worker.connection, error):
                raise
            operation = self._executions[schema].current or operation
            reason = friendly(error, f"op.{NAMES[type(operation)]}()") if isinstance(error, DBAPIError) else error
            self._failed[schema] = FailedSchema(operation=operation, error=reason)
            log.info("schema %s is skipped (%s)", schema, self._failed[schema].summary)

    def _follow(self, worker: Worker, directives: Numbered) -> None:
        """Do in schemas created in the meantime what was done in the others; forget those that were dropped."""
        queries = [schemas for schemas in self._answers if schemas.query]
        for _ in range(ROUNDS):
            arrived: dict[str, None] = {}
            for schemas in queries:
                names = resolve_schemas(worker.connection, schemas)
                arrived |= dict.fromkeys(name for name in names if name not in self._answers[schemas])
                self._answers[schemas] = tuple(dict.fromkeys((*self._answers[schemas], *names)))
            if not arrived:
                break
            log.info("%s: created while the other schemas were processed; processing them now", ", ".join(arrived))
            self._admit(worker, directives)
            for position, operation in directives:
                self._advance(worker, operation, position, [n for n in self._names(operation) if n in arrived])
        else:
            log.warning("new schemas keep coming; dupe-audit verify names any that lack the key")
        if queries and self._failed:
            for name in self._failed.keys() - existing_schemas(worker.connection, self._failed):
                log.warning("schema %s was dropped during the upgrade; skipped", name)
                del self._failed[name]

    def _report_at_end(self, worker: Worker) -> None:
        if self._reporter is None:
            context, account = worker.operations.migration_context, lambda: worker.account(worker.connection)
            self._reporter = Reporter(context, self._execution, self._failed, self._refusal, account)
        self._reporter.warn()

    def _refusal(self) -> Refused:
        return refusal(self._failed.values(), self._execution.revision, len(self._executions) + len(self._passed))
