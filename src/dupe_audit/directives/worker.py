"""Execute directives on a live database: the steps composed, and progress in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.cleanup import clean_held, cleanup
from dupe_audit.constraint import drop, enforce, has_definition, is_absent, rename, swap, temporary_name
from dupe_audit.directives.account import account
from dupe_audit.directives.execution import Execution, located
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.recorded import latest_run
from dupe_audit.directives.schedule import Task
from dupe_audit.errors import NotProven
from dupe_audit.findings import quantity
from dupe_audit.model import Batch, BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import find
from dupe_audit.postgres.locking import at_work
from dupe_audit.postgres.patience import Throttle
from dupe_audit.restore import restore
from dupe_audit.verify import verify

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
            self._archive(operation)
        elif isinstance(operation, CreateUniqueConstraintOnlineOp):
            self._create(operation, task.retiring)
        elif isinstance(operation, DropUniqueConstraintOnlineOp):
            self._drop(operation)
        elif isinstance(operation, RestoreDuplicatesOp):
            self._restore(operation, task.created)

    def _archive(self, operation: ArchiveDuplicatesOp) -> None:
        """Archive the extras."""
        connection, key = self.connection, located(self.operations, operation.key)
        rule = self.options.cleanup_rule(operation.rule)
        self.execution.remember_rule(key, rule)
        batches = cleanup(connection, key, rule, revision=self.execution.revision, work_mem=self.options.work_mem)
        with _shown_in_watch(connection, key):
            archived, children = self._logged(batches, "archived", key)
        latest = latest_run(connection, key)
        if latest and (remaining := latest.run.remaining):  # by an attempt before this one too
            self.execution.record(latest.run.id, "moved", f"has archived {quantity(remaining, 'row')} of {key}")
        log.info("%s: %s archived%s", key, quantity(archived, "extra"), _children(children, "repointed"))

    def _create(
        self, operation: CreateUniqueConstraintOnlineOp, retiring: tuple[DropUniqueConstraintOnlineOp, ...]
    ) -> None:
        """Build, attach and verify; archive again under the same run when new duplicates arrive."""
        connection, key = self.connection, located(self.operations, operation.key)
        rule = self.options.build_rule(operation.rule)
        same_name = [dropped for dropped in retiring if dropped.key.name == key.name]
        temporary = replace(key, name=temporary_name(key))
        with _shown_in_watch(connection, key):
            if same_name and not has_definition(connection, key, str(key.name)):
                log.info("%s is built as %s, which then replaces the old constraint", key.name, temporary.name)
                self._enforce(temporary, rule)
                swap(connection, key, str(temporary.name), rule)
                self.execution.facts.append(f"constraint {key.name} on {key.table} was replaced")
            elif not same_name:
                self._rename(key, rule, retiring)
            self.execution.consumed += same_name
            self._enforce(key, rule)
        log.info("%s is enforced by %s: valid, and no duplicate found", key, key.name)

    def _enforce(self, key: UniqueKey, rule: BuildRule) -> None:
        cleaning = self._rule_of(key)
        memory = self.options.work_mem
        held = partial(clean_held, self.connection, key, cleaning, work_mem=memory) if cleaning else None
        clean_again = self._clean_again(key, rule, cleaning)
        enforce(
            self.connection,
            key,
            rule,
            clean_again=clean_again,
            clean_held=held,
            revision=self.execution.revision,
        )
        if run_id := _verify(self.connection, key, self.options.work_mem):
            self.execution.record(run_id, "enforced", f"enforces {key} as {key.name}")

    def _rename(self, key: UniqueKey, rule: BuildRule, retiring: tuple[DropUniqueConstraintOnlineOp, ...]) -> None:
        """Rename a constraint that this revision drops, if it is exactly what is to be created."""
        for dropped in retiring:
            old = str(dropped.key.name)
            if dropped not in self.execution.consumed and has_definition(self.connection, key, old):
                log.info("%s has the definition of %s, so it is renamed", old, key.name)
                rename(self.connection, key, old, rule)
                self.execution.consumed.append(dropped)
                self.execution.facts.append(f"constraint {old} on {key.table} was renamed to {key.name}")
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
        drop(self.connection, key, operation.rule)
        if absent:
            log.warning(
                "constraint %s on %s does not exist, so nothing was dropped. If this command was not interrupted "
                "before, check the name",
                key.name,
                table,
            )
            return
        self.execution.facts.append(f"constraint {key.name} on {table} was dropped")
        log.info("constraint %s on %s was dropped", key.name, table)
        if run and run.purged_at is None and not self._restores(operation) and (remaining := run.remaining):
            log.warning(
                "%s of %s %s in the archive of run %d, because this revision does not restore them. If no "
                "later command is to: dupe-audit restore %d",
                quantity(remaining, "row"),
                table,
                "stays" if remaining == 1 else "stay",
                run.id,
                run.id,
            )

    def _restores(self, dropped: DropUniqueConstraintOnlineOp) -> bool:
        """Return whether this revision restores rows of the table."""
        recorded = self.execution.recording.directives if self.execution.recording else ()
        tables = [(item.key.schema, item.key.table) for item in recorded if isinstance(item, RestoreDuplicatesOp)]
        return (dropped.key.schema, dropped.key.table) in tables

    def _restore(self, operation: RestoreDuplicatesOp, created: CreateUniqueConstraintOnlineOp | None) -> None:
        """Restore the newest run of the key."""
        connection, key = self.connection, located(self.operations, operation.key)
        match = find(connection, key)
        latest = ledger.run_to_restore(connection, match[1], key) if match else None
        if match is None or latest is None:
            log.info("%s: the ledger has no run of this key, so there is nothing to restore", key)
            return
        run = latest.run
        if created is not None and created.key.nulls_not_distinct == run.nulls_not_distinct:
            log.info("%s: constraint %s of this revision enforces it, so no row is restored", key, created.key.name)
            return
        if run.purged_at:
            lost = quantity(run.remaining, "row")
            log.warning("%s: run %d was purged at %s: %s cannot be restored", key, run.id, run.purged_at, lost)
            return
        rule = self.options.cleanup_rule(operation.rule)
        batches = restore(connection, run.id, batch_size=rule.batch_size, relid=match[1].relid)
        restored, children = self._logged(batches, "restored", key)
        log.info("%s: %s restored%s", key, quantity(restored, "row"), _children(children, "pointed back"))

    def _clean_again(self, key: UniqueKey, build: BuildRule, rule: CleanupRule | None) -> Callable[[], int] | None:
        """Return a function that archives new extras by the rule of this revision; None if it archives none."""
        if rule is None:
            return None

        def clean() -> int:
            batches = cleanup(
                self.connection,
                key,
                rule,
                revision=self.execution.revision,
                lock_timeout=build.lock_timeout,
                give_up_after=build.give_up_after,
                work_mem=self.options.work_mem,
            )
            return self._logged(batches, "archived", key)[0]

        return clean

    def _rule_of(self, key: UniqueKey) -> CleanupRule | None:
        """Return the rule by which this revision archives; an earlier revision's does not count."""
        if rule := self.execution.rule_of(key):
            return rule
        if self.execution.readable or self.execution.revision is None:
            return None
        # The revision decides by the data whether it archives; a killed attempt can have done it.
        latest = latest_run(self.connection, key)
        if latest and latest.rule and latest.run.revision == self.execution.revision:
            return self.options.cleanup_rule(latest.rule)
        return None

    def _logged(
        self, batches: Iterable[Batch], field: Literal["archived", "restored"], key: UniqueKey
    ) -> tuple[int, int]:
        """Work through the batches and log progress every few seconds; return how many rows moved, and children.

        Args:
            field: the field of a batch that counts the rows.
        """
        moved, children, throttle = 0, 0, Throttle(quiet_at_first=True)
        for batch in batches:
            moved += getattr(batch, field)
            children += batch.repointed
            self.execution.record(batch.run_id, "moved", f"has {field} {quantity(moved, 'row')} of {key}")
            if throttle.due():
                log.info(
                    "run %d: %s of %s done, %s %s",
                    batch.run_id,
                    f"{batch.done:,}",
                    quantity(batch.total, "row"),
                    f"{moved:,}",
                    field,
                )
        return moved, children

    def account(self, connection: Connection | None) -> str:
        """Return what the revision has committed, how to continue, and how to undo it, as text."""
        return account(self.execution, connection, self._keys())

    def _keys(self) -> list[UniqueKey]:
        recorded = self.execution.recording.directives if self.execution.recording else ()
        operations: list[MigrateOperation] = [*recorded, *self.execution.begun]
        keys = (operation.key for operation in operations if not isinstance(operation, DropUniqueConstraintOnlineOp))  # type: ignore[attr-defined]
        return [located(self.operations, key) for key in keys]


def _verify(connection: Connection, key: UniqueKey, work_mem: str | None) -> int | None:
    """Verify the constraint, and record in the ledger that it enforces the key; return the run, if there is one.

    Raises:
        NotProven: the catalog or the count contradicts it.
    """
    report = verify(connection, key, work_mem=work_mem)
    if not report.ok:
        findings = "\n".join(f"  [{finding.id}] {finding.message} {finding.help}" for finding in report.findings)
        raise NotProven(f"Constraint {key.name} on {key} was created, but verifying it failed:\n{findings}")
    if report.run is None:
        return None
    ledger.mark_enforced(connection, report.run.id, str(key.name))
    return report.run.id


def _children(number: int, participle: str) -> str:
    return f", {quantity(number, 'child', 'children')} {participle}" if number else ""


@contextmanager
def _shown_in_watch(connection: Connection, key: UniqueKey) -> Iterator[None]:
    """Show the directive as working in ``dupe-audit watch`` until it has verified."""
    match = find(connection, key)
    if match is None:
        yield
        return
    with at_work(connection, match[1].relid):
        yield
