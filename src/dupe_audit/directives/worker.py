"""Execute directives on a live database: build, attach, verify, rename and drop; ``mover`` moves the rows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial

from alembic.operations import Operations
from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.constraint import drop, enforce, has_definition, is_absent, rename, swap, temporary_name
from dupe_audit.directives.account import account
from dupe_audit.directives.execution import Execution, located
from dupe_audit.directives.mover import Mover, explained, shown_in_watch
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.schedule import Task
from dupe_audit.directives.schemas import Elsewhere, schemas_of
from dupe_audit.directives.subjects import identities
from dupe_audit.errors import NotProven
from dupe_audit.findings import quantity
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import find
from dupe_audit.verify import verify_as

log = logging.getLogger("alembic.dupe_audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Executes the tasks of one revision on its connection."""

    operations: Operations
    connection: Connection
    execution: Execution
    options: Overrides

    def perform(self, task: Task) -> None:
        """Execute one directive."""
        operation = task.operation
        if isinstance(operation, ArchiveDuplicatesOp):
            self._mover.archive(operation)
        elif isinstance(operation, CreateUniqueConstraintOnlineOp):
            self._create(operation, task.retiring)
        elif isinstance(operation, DropUniqueConstraintOnlineOp):
            self._drop(operation)
        elif isinstance(operation, RestoreDuplicatesOp):
            self._mover.restore(operation, task.created)

    @property
    def _mover(self) -> Mover:
        return Mover(
            operations=self.operations, connection=self.connection, execution=self.execution, options=self.options
        )

    def _create(
        self, operation: CreateUniqueConstraintOnlineOp, retiring: tuple[DropUniqueConstraintOnlineOp, ...]
    ) -> None:
        """Build, attach and verify; archive again under the same run when new duplicates arrive."""
        connection, key = self.connection, located(self.operations, operation.key)
        rule = self.options.build_rule(operation.rule)
        same_name = [dropped for dropped in retiring if dropped.key.name == key.name]
        temporary = replace(key, name=temporary_name(key))
        with shown_in_watch(connection, key):
            if same_name and not has_definition(connection, key, str(key.name)):
                log.info("%s is built as %s, which then replaces the old constraint", key.name, temporary.name)
                self._enforce(temporary, rule, in_place_of=key.name)
                swap(connection, key, str(temporary.name), rule)
                self.execution.facts.append(f"{key.form} {key.name} on {key.table} was replaced")
            elif not same_name:
                self._rename(key, rule, retiring)
            self.execution.consumed += same_name
            self._enforce(key, rule)
        log.info("%s is enforced by %s: valid, and no duplicate found", key, key.name)

    def _enforce(self, key: UniqueKey, rule: BuildRule, *, in_place_of: str | None = None) -> None:
        mover, cleaning = self._mover, self._mover.rule_of(key)
        horizon = mover.horizon_of(key)
        with explained(self.connection, key, cleaning or CleanupRule()):
            run_id = enforce(
                self.connection,
                key,
                rule,
                clean_again=partial(mover.clean_again, key, cleaning, rule) if cleaning else None,
                clean_held=partial(mover.clean_held, key, cleaning) if cleaning else None,
                ranking_seconds=lambda leaf=None: (
                    (horizon.leaf_horizon(leaf.relid) if leaf else horizon).ranking_seconds
                ),
                revision=self.execution.revision,
                undoing=not self.execution.upgrading,
                in_place_of=in_place_of,
            )
        _verify(self.connection, key, self.options.work_mem)
        ledger.mark_enforced(self.connection, run_id, str(key.name))
        self.execution.note_run(run_id, "enforced", f"enforces {key} as {key.name}")

    def _rename(self, key: UniqueKey, rule: BuildRule, retiring: tuple[DropUniqueConstraintOnlineOp, ...]) -> None:
        """Rename a constraint that this revision drops, if it is exactly what is to be created."""
        for dropped in retiring:
            old = str(dropped.key.name)
            if dropped not in self.execution.consumed and has_definition(self.connection, key, old):
                log.info("%s already has the definition of %s, so it is renamed, and nothing is built", old, key.name)
                rename(self.connection, key, old, rule)
                self.execution.consumed.append(dropped)
                self.execution.facts.append(f"{key.form} {old} on {key.table} was renamed to {key.name}")
                return

    def _drop(self, operation: DropUniqueConstraintOnlineOp) -> None:
        """Drop the constraint with a short lock timeout."""
        key = located(self.operations, operation.key)
        if any(operation is done for done in self.execution.consumed):
            return
        match = find(self.connection, key)
        table = match[1].name if match else key.table
        absent = is_absent(self.connection, key)
        run = ledger.find_by_constraint(self.connection, match[1].relid, str(key.name)) if match else None
        parts = drop(self.connection, key, operation.rule, keeps_adopted=self.execution.keeps_adopted)
        if absent and parts:
            where = f"{quantity(parts, 'partition')} of {table}"
            dropped = f"the parts of {key.name} that an unfinished upgrade had built on {where} were dropped"
            self.execution.facts.append(dropped)
            log.info("%s; %s itself did not exist", dropped, key.name)
            return
        if absent:
            log.warning(
                "%s %s on %s does not exist, so nothing was dropped. If this command was not interrupted before, check "
                "the name",
                key.form,
                key.name,
                table,
            )
            return
        if key.form == "index" and not is_absent(self.connection, key):
            return  # it existed before the upgrade, and stays
        self.execution.facts.append(f"{key.form} {key.name} on {table} was dropped")
        log.info("%s %s on %s was dropped", key.form, key.name, table)
        if run and run.purged_at is None and not self._restores(operation) and (remaining := run.remaining):
            log.warning(
                "%s of %s %s %s run %d, because this revision does not restore them. To "
                "restore them now: dupe-audit restore %d",
                quantity(remaining, "row"),
                table,
                "stays" if remaining == 1 else "stay",
                "archived or changed by" if run.amended or run.merged else "in the archive of",
                run.id,
                run.id,
            )

    def _restores(self, dropped: DropUniqueConstraintOnlineOp) -> bool:
        """Return whether this revision restores rows of the table."""
        recorded = self.execution.recording.directives if self.execution.recording else ()
        table_of = identities(self.connection, lambda key: located(self.operations, key))
        restored = [table_of(item.key) for item in recorded if isinstance(item, RestoreDuplicatesOp)]
        return table_of(dropped.key) in restored

    def account(self, connection: Connection | None) -> str:
        """Return what the revision has committed, how to continue, and how to undo it, as text."""
        return account(self.execution, connection, self._keys())

    def _keys(self) -> list[UniqueKey]:
        recorded = self.execution.recording.directives if self.execution.recording else ()
        keys = (
            operation.key  # type: ignore[attr-defined]
            for operation in (*recorded, *self.execution.begun)
            if not isinstance(operation, DropUniqueConstraintOnlineOp | Elsewhere) and not schemas_of(operation)
        )
        return [located(self.operations, key) for key in keys]


def _verify(connection: Connection, key: UniqueKey, work_mem: str | None) -> None:
    """Verify the constraint.

    Raises:
        NotProven: the catalog or the count contradicts it.
    """
    report = verify_as(connection, key, work_mem=work_mem, counts_rows=False)
    if not report.ok:
        findings = "\n".join(f"  [{finding.id}] {finding.message} {finding.help}" for finding in report.findings)
        raise NotProven(
            f"{key.form.capitalize()} {key.name} on {key} was created, but verifying it failed:\n{findings}"
        )
