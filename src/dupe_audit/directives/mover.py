"""Move rows for the directives of a revision: into the archive, again before a build, and back."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alembic.operations import Operations
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup import Horizon, clean_held, cleanup
from dupe_audit.directives.execution import Execution, located
from dupe_audit.directives.ledger_runs import latest_run
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.errors import Refused
from dupe_audit.findings import done_to_rows, quantity
from dupe_audit.model import Batch, BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import Relation, find
from dupe_audit.postgres.locking import at_work
from dupe_audit.postgres.patience import Throttle
from dupe_audit.preflight import failures
from dupe_audit.restore import restore

log = logging.getLogger("alembic.dupe_audit")

#: the fields of a batch that are summed, and what they count
_SUMMED = {
    "archived": "archived",
    "amended": "amended",
    "merged": "merged",
    "restored": "restored",
    "reverted": "changed back",
    "repointed": "children pointed elsewhere",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mover:
    """Moves the rows of one revision's tables, and logs the progress."""

    operations: Operations
    connection: Connection
    execution: Execution
    options: Overrides

    def archive(self, operation: ArchiveDuplicatesOp) -> None:
        """Archive the extras."""
        connection, key = self.connection, located(self.operations, operation.key)
        rule = self.options.cleanup_rule(operation.rule)
        self.execution.remember_rule(self._qualified(key), rule)
        with shown_in_watch(connection, key):
            done = self._cleanup(key, rule, BuildRule(), name=self.execution.name_for(operation.key))
        latest = latest_run(connection, key)
        if latest and (outstanding := latest.run.outstanding):  # by an attempt before this one too
            self.execution.note_run(latest.run.id, "moved", f"has {outstanding} of {key}")
        log.info("%s: %s%s", key, _cleanup_summary(done, rule), _children(done["repointed"], "repointed"))

    def restore(self, operation: RestoreDuplicatesOp, created: CreateUniqueConstraintOnlineOp | None) -> None:
        """Restore the newest run of the key."""
        connection, key = self.connection, located(self.operations, operation.key)
        match = find(connection, key)
        revision = self.execution.revision
        latest = ledger.run_to_restore(connection, match[1], key, revision=revision) if match else None
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
        done = self._log_batches(batches, key)
        reverted = f", {quantity(done['reverted'], 'row')} changed back" if done["reverted"] else ""
        pointed_back = _children(done["repointed"], "pointed back")
        log.info("%s: %s restored%s%s", key, quantity(done["restored"], "row"), reverted, pointed_back)

    def clean_again(self, key: UniqueKey, rule: CleanupRule, build: BuildRule, leaf: Relation | None = None) -> int:
        """Archive or amend the extras that have arrived, as patiently as the build; return how many."""
        done = self._cleanup(key, rule, build, leaf=leaf)
        return done["archived"] + done["amended"]

    def clean_held(self, key: UniqueKey, rule: CleanupRule, leaf: Relation | None = None) -> int:
        """Archive the extras that have arrived, inside the open transaction that holds the writers; return how many."""
        horizon = self.horizon_of(key)
        return clean_held(
            self.connection,
            key,
            rule,
            revision=self.execution.revision,
            work_mem=self.options.work_mem,
            horizon=horizon,
            leaf=leaf,
        )

    def horizon_of(self, key: UniqueKey) -> Horizon:
        """Return what this revision has left clean of a key."""
        return self.execution.horizon_of(self._qualified(key))

    def _qualified(self, key: UniqueKey) -> UniqueKey:
        """Return a key with the schema of its table, which one directive can name and another leave out."""
        match = find(self.connection, key)
        return match[0] if match else key

    def _cleanup(
        self,
        key: UniqueKey,
        rule: CleanupRule,
        patience: BuildRule,
        *,
        name: str | None = None,
        leaf: Relation | None = None,
    ) -> Counter[str]:
        """Clean the duplicates since this process last cleaned; return the sums of the batches by field.

        Args:
            name: the constraint that will be built, if the key does not name it.
            leaf: of a partitioned table, the only leaf to clean.
        """
        batches = cleanup(
            self.connection,
            key,
            rule,
            name=name,
            revision=self.execution.revision,
            lock_timeout=patience.lock_timeout,
            give_up_after=patience.give_up_after,
            work_mem=self.options.work_mem,
            horizon=self.horizon_of(key),
            leaf=leaf,
        )
        with explained(self.connection, key, rule):
            return self._log_batches(batches, key)

    def rule_of(self, key: UniqueKey) -> CleanupRule | None:
        """Return the rule by which this revision archives; an earlier revision's does not count."""
        if rule := self.execution.rule_of(self._qualified(key)):
            return rule
        if self.execution.readable or self.execution.revision is None:
            return None
        # The revision decides by the data whether it archives; a killed attempt can have done it.
        latest = latest_run(self.connection, key)
        if latest and latest.rule and latest.run.revision == self.execution.revision:
            return self.options.cleanup_rule(latest.rule)
        return None

    def _log_batches(self, batches: Iterable[Batch], key: UniqueKey) -> Counter[str]:
        """Work through the batches and log progress every few seconds; return their sums by field."""
        done: Counter[str] = Counter()
        throttle = Throttle(quiet_at_first=True)
        for batch in batches:
            done += Counter({field: getattr(batch, field) for field in _SUMMED})
            if restored := done["restored"] + done["reverted"]:
                self.execution.note_run(batch.run_id, "moved", f"has restored {quantity(restored, 'row')} of {key}")
            elif moved := done_to_rows(archived=done["archived"], amended=done["amended"], merged=done["merged"]):
                self.execution.note_run(batch.run_id, "moved", f"has {moved} of {key}")
            if throttle.due():
                log.info(
                    "run %d: %s of %s done, %s",
                    batch.run_id,
                    f"{batch.done:,}",
                    quantity(batch.total, "row"),
                    ", ".join(f"{count:,} {_SUMMED[field]}" for field, count in done.items() if count) or "0 changed",
                )
        return done


def _cleanup_summary(done: Counter[str], rule: CleanupRule) -> str:
    """Return in words what a cleanup did."""
    parts = [f"{quantity(done['archived'], 'extra')} archived"] if done["archived"] or rule.exact == "archive" else []
    parts += [f"{quantity(done['amended'], 'extra')} amended"] if done["amended"] or rule.exact == "amend" else []
    parts += [f"values merged into {quantity(done['merged'], 'row')}"] if done["merged"] else []
    return ", ".join(parts)


def _children(number: int, participle: str) -> str:
    return f", {quantity(number, 'child', 'children')} {participle}" if number else ""


@contextmanager
def shown_in_watch(connection: Connection, key: UniqueKey) -> Iterator[None]:
    """Show the directive as working in ``dupe-audit watch`` until it has verified."""
    match = find(connection, key)
    if match is None:
        yield
        return
    with at_work(connection, match[1].relid):
        yield


@contextmanager
def explained(connection: Connection, key: UniqueKey, rule: CleanupRule) -> Iterator[None]:
    """Report the error of an expression as a number of rows, without the server's message, which can quote a row.

    The rows were checked before the work began, so what fails now was written or changed since.

    Raises:
        Refused: an expression fails for some rows.
    """
    try:
        yield
    except DBAPIError as error:
        lead = (
            f"An expression of {key} failed for rows that were written or changed after the check. "
            "Correct those rows, then run the same command again: it continues where it stopped."
        )
        raise Refused(failures(connection, key, rule, error), lead=lead) from error
