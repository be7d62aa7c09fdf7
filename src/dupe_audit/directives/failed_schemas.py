"""The schemas in which a directive was refused or failed, as one error that names each of them."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from alembic.operations import MigrateOperation
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit.directives.execution import Execution
from dupe_audit.directives.operations import UNKNOWN, RestoreDuplicatesOp
from dupe_audit.directives.subjects import subject
from dupe_audit.errors import Interrupted, Refused
from dupe_audit.findings import Finding, quantity
from dupe_audit.model import Expression, UniqueKey
from dupe_audit.postgres.sqlstates import ABOUT_THE_SERVER, sqlstate

log = logging.getLogger("alembic.dupe_audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedSchema:
    """One schema in which the work ended with an error; nothing later was done there."""

    operation: MigrateOperation  #: the directive for this schema
    error: BaseException

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Why it was refused; empty if it failed for another reason."""
        return tuple(dict.fromkeys(self.error.findings)) if isinstance(self.error, Refused) else ()

    @property
    def summary(self) -> str:
        """The ids of the findings, or the kind of failure."""
        return ", ".join(dict.fromkeys(finding.id for finding in self.findings)) or type(self.error).__name__

    @property
    def text(self) -> str:
        """The table, the reasons and the next command, a line each."""
        key: UniqueKey = self.operation.key  # type: ignore[attr-defined]
        reasons = [f"[{finding.id}] {finding.message}" for finding in self.findings]
        if not reasons:
            reasons = [" ".join(str(self.error).split())]
        lines = [f"  {subject(self.operation)}:", *(f"    {reason}" for reason in reasons)]
        return "\n".join([*lines, f"    next: {_command(self.operation, key)}"])


def stops_every_schema(connection: Connection, error: BaseException) -> bool:
    """Return whether the error of one schema would stop the work in every other one too."""
    lost = connection.invalidated or connection.closed
    code = sqlstate(error) if isinstance(error, DBAPIError) else None
    return lost or isinstance(error, Interrupted) or (code or "").startswith(ABOUT_THE_SERVER)


def refusal(failed: Iterable[FailedSchema], revision: str | None, schemas: int) -> Refused:
    """Return the error that lists every such schema, and explains each kind of reason once.

    Args:
        schemas: number of all schemas.
    """
    failures = list(failed)
    done = schemas - len(failures)
    rest = f" The other {f'{done:,} schemas are' if done > 1 else 'schema is'} done." if done else ""
    name = f"revision {revision}" if revision else "the directive"
    lead = f"Refused: {name}, in {len(failures):,} of {quantity(schemas, 'schema')}.{rest}"
    helps: dict[str, Finding] = {}
    for failure in failures:
        for finding in failure.findings:
            helps.setdefault(finding.id, finding)
    advice = [f"  [{finding.id}] {finding.help}" for finding in helps.values()]
    findings = [finding for failure in failures for finding in failure.findings]
    return Refused(findings, lead=lead, body="\n".join([*(failure.text for failure in failures), *advice]))


class Reporter:
    """Reports failed schemas when a revision that cannot be read ends, because any of its directives can be the last.

    Args:
        failed: the failed schemas by name; read when the revision ends.
        refusal: returns the error that names them.
        account: returns what the revision has committed.
    """

    def __init__(
        self,
        context: MigrationContext,
        execution: Execution,
        failed: Mapping[str, FailedSchema],
        refusal: Callable[[], Refused],
        account: Callable[[], str],
    ) -> None:
        self._failed = failed
        self._refusal = refusal
        self._logged: set[str] = set()

        def report(**_: object) -> None:
            if failed:
                execution.inside = True  # so that what was committed is not logged a second time
                raise CommandError("\n".join(filter(None, [str(refusal()), account()])))

        # Alembic calls it before it commits the stamp.
        context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, report)

    def warn(self) -> None:
        """Log the failed schemas if there are new ones, in case another statement ends the revision."""
        if self._failed.keys() - self._logged:
            self._logged |= self._failed.keys()
            log.warning("%s", self._refusal())


def _command(operation: MigrateOperation, key: UniqueKey) -> str:
    """Return the command that shows what is wrong in a schema."""
    words = ["dupe-audit", "preflight", "--schema", str(key.schema), "--table", key.table]
    if key.columns == (UNKNOWN,):
        return shlex.join(["dupe-audit", "verify", *words[2:], "--name", str(key.name)])
    if isinstance(operation, RestoreDuplicatesOp):
        return shlex.join(["dupe-audit", "runs", "--schemas", str(key.schema)])
    for column in key.columns:
        words += ["-e", column.sql] if isinstance(column, Expression) else ["-c", column]
    if key.where:
        words += ["--where", key.where]
    if key.nulls_not_distinct:
        words.append("--nulls-not-distinct")
    return shlex.join(words)
