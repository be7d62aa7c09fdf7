"""The revision that is being executed: what all of its directives are, and what those before have committed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alembic.operations import MigrateOperation, Operations
from sqlalchemy.sql.schema import BLANK_SCHEMA

from dupe_audit.cleanup import Horizon
from dupe_audit.constraint import temporary_name
from dupe_audit.directives.invocation import Call, current_call
from dupe_audit.directives.operations import (
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.recording import Recording, record
from dupe_audit.directives.schedule import Task
from dupe_audit.directives.schemas import Elsewhere, as_written, spread, without_schemas
from dupe_audit.findings import accepted
from dupe_audit.model import CleanupRule, UniqueKey

#: where Alembic's options keep the execution of the current revision
_OPTION = "dupe_audit_execution"


@dataclass(kw_only=True)
class Execution:
    """One execution of a revision's ``upgrade()`` or ``downgrade()``, or of directives outside of a revision."""

    revision: str | None = None  #: its id; None outside of a revision
    previous: str | None = None  #: the revision below it, as a user would name it
    upgrading: bool = True
    downgrade: object = field(default=None, repr=False)  #: the function of the revision that undoes an upgrade
    upgrade: object = field(default=None, repr=False)  #: the function of the revision that a downgrade undoes
    whole: Recording | None = None  #: as the revision is written; None outside of a revision
    recording: Recording | None = None  #: of the directives for single tables; None outside of a revision
    campaign: Any = None  #: the work in many schemas; None without a directive that has ``schemas``
    undone: Recording | None = None  #: of the upgrade, if it was read
    options: Any = None  #: of the command line; read once
    trusted: bool = True  #: whether every directive so far was the one that was recorded
    judged: bool = False  #: whether all directives were judged together
    position: int = 0  #: number of directives called so far
    work: dict[int, tuple[Task, ...]] | None = None  #: by the position of a directive; None: in the order of lines
    consumed: list[MigrateOperation] = field(default_factory=list)  #: drops that a replacement or a rename has done
    rules: dict[tuple[Hashable, ...], CleanupRule] = field(default_factory=dict)  #: of archives
    horizons: dict[tuple[Hashable, ...], Horizon] = field(default_factory=dict)  #: of cleanings
    begun: list[MigrateOperation] = field(default_factory=list)  #: directives called so far
    covered: list[MigrateOperation] = field(default_factory=list)  #: directives that were judged together
    current: Any = None  #: the directive that is being executed
    acted: int = 0  #: how many directives were executed
    warnings: list[str] = field(default_factory=list)  #: that were logged
    facts: list[str] = field(default_factory=list)  #: what was committed besides runs, as text
    runs: dict[int, dict[str, str]] = field(default_factory=dict)  #: by run and kind, what it has committed, as text
    inside: bool = False  #: whether a directive is being executed, or has failed, which its message accounts for
    schema: str | None = None  #: of this part of a campaign; None for the revision as a whole
    came_later: bool = False  #: the schema is new since the upgrade that is undone
    token: object = field(default=None, repr=False)  #: identifies the call of the function
    file: str | None = None  #: of the revision

    @classmethod
    def of(cls, operations: Operations) -> Execution:
        """Return the execution that the calling directive belongs to; begin it with the first directive."""
        call = current_call()
        options = operations.migration_context.opts
        execution = options.get(_OPTION)
        # The call itself is compared, not the revision's id: one process can execute a revision once per tenant.
        if not isinstance(execution, Execution) or execution.token is not (call.token if call else None):
            execution = options[_OPTION] = cls._begin(call, operations) if call else cls()
        return execution

    @classmethod
    def _begin(cls, call: Call, operations: Operations) -> Execution:
        context = operations.migration_context
        whole = record(call.function, context=context, enclosing=operations)
        return cls(
            revision=call.revision,
            previous=call.previous,
            upgrading=call.upgrading,
            downgrade=call.downgrade,
            upgrade=call.upgrade,
            whole=whole,
            recording=spread(whole, as_written) if context.as_sql else without_schemas(whole),
            token=call.token,
            file=call.file,
        )

    @property
    def accepted(self) -> frozenset[str]:
        """The ids of the findings that comments in the revision's file accept."""
        try:
            return accepted(Path(self.file).read_text("utf-8", errors="replace")) if self.file else frozenset()
        except OSError:
            return frozenset()

    @property
    def readable(self) -> bool:
        """Whether all directives of the revision are known."""
        return self.recording is not None and self.recording.obstacle is None

    @property
    def everything(self) -> tuple[MigrateOperation, ...]:
        """All directives of the revision as far as they are known, those with ``schemas`` among them."""
        return self.whole.directives if self.whole else ()

    @property
    def keeps_adopted(self) -> bool:
        """Whether a drop leaves an index that existed before our upgrades; a drop in an ``upgrade()`` does not."""
        return not (self.upgrading and self.revision)

    @property
    def reordered(self) -> bool:
        """Whether directives are executed in another order than that of the lines."""
        recorded = self.recording.directives if self.recording else ()
        return self.work is not None and any(
            [task.operation for task in tasks] != [recorded[position]] for position, tasks in self.work.items()
        )

    def next_position(self, operation: MigrateOperation) -> int | None:
        """Return which of the recorded directives is called now; None if it is not the one that was recorded."""
        position, self.position = self.position, self.position + 1
        recorded = self.recording.directives if self.recording else ()
        if position < len(recorded) and _same(recorded[position], operation):
            return position
        return None

    def schema_execution(self, schema: str, recording: Recording | None, *, came_later: bool) -> Execution:
        """Return the execution of this revision for one schema, which has its own directives and progress."""
        return Execution(
            revision=self.revision,
            previous=self.previous,
            upgrading=self.upgrading,
            upgrade=self.upgrade,
            whole=recording,
            recording=recording,
            options=self.options,
            warnings=self.warnings,
            schema=schema,
            came_later=came_later,
        )

    def rule_of(self, key: UniqueKey) -> CleanupRule | None:
        """Return the rule by which this revision has archived the extras of a key; None if it archives nothing."""
        return self.rules.get(_identity(key))

    def name_for(self, key: UniqueKey) -> str | None:
        """Return the name under which this revision builds what enforces a key; None if it does not say so."""
        items = self.recording.directives if self.recording else ()
        dropped = []
        for item in items:
            if isinstance(item, DropUniqueConstraintOnlineOp) and item.key.table == key.table:
                dropped.append(item.key.name)
            elif isinstance(item, CreateUniqueConstraintOnlineOp) and _identity(item.key) == _identity(key):
                return temporary_name(item.key) if item.key.name in dropped else item.key.name
        return None

    def remember_rule(self, key: UniqueKey, rule: CleanupRule) -> None:
        """Remember that this revision archives the extras of a key."""
        self.rules[_identity(key)] = rule

    def horizon_of(self, key: UniqueKey) -> Horizon:
        """Return what this revision has left clean of a key."""
        return self.horizons.setdefault(_identity(key), Horizon())

    def note_run(self, run_id: int, kind: str, text: str) -> None:
        """Remember what a run has committed, for the account of a connection that can no longer be asked."""
        self.runs.setdefault(run_id, {})[kind] = text

    @property
    def committed(self) -> list[str]:
        """What was committed as far as this process has seen, in words."""
        runs = [f"run {number} {' and '.join(texts.values())}" for number, texts in sorted(self.runs.items())]
        return [*runs, *self.facts]


def requires_run(execution: Execution, options: Overrides) -> bool:
    """Return whether the ledger must have a run: a downgrade that restores rows follows an upgrade that opened one."""
    recorded = execution.recording.directives if execution.recording else ()
    restores = any(isinstance(operation, RestoreDuplicatesOp) for operation in (*recorded, *execution.begun))
    required = restores and not execution.came_later
    return required and not execution.upgrading and "run-missing" not in options.accept


def _identity(key: UniqueKey) -> tuple[Hashable, ...]:
    return key.schema, key.table, key.scope


def _same(recorded: MigrateOperation, operation: MigrateOperation) -> bool:
    if isinstance(recorded, Elsewhere):
        recorded = recorded.operation
    return type(recorded) is type(operation) and vars(recorded) == vars(operation)


def located(operations: Operations, key: UniqueKey) -> UniqueKey:
    """Return the key with the schema that Alembic's own operations would use for its table.

    That is the schema to which ``schema_translate_map`` of the connection maps it. A script (``--sql``) is not
    translated, neither by Alembic.
    """
    if operations.migration_context.as_sql:
        return key
    mapping = operations.get_bind().get_execution_options().get("schema_translate_map") or {}
    if key.schema not in mapping:
        return key
    schema = mapping[key.schema]
    return replace(key, schema=None if schema in (None, BLANK_SCHEMA) else str(schema))
