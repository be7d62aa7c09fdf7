"""The directives on a live database: the steps composed, each refusal before a change, and progress in the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from alembic.operations import Operations
from sqlalchemy import Connection

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.directives import offline
from dupe_audit.directives.autocommit import autocommit
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.options import Overrides
from dupe_audit.errors import NotProven, Refused
from dupe_audit.findings import Finding, finding, quantity
from dupe_audit.ledger import RecordedRun
from dupe_audit.model import Batch, BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import find
from dupe_audit.postgres.driver import pooler, require_encodable
from dupe_audit.postgres.locking import at_work
from dupe_audit.postgres.patience import Throttle
from dupe_audit.postgres.session import require_valid
from dupe_audit.preflight import blockers
from dupe_audit.restore import restore
from dupe_audit.verify import verify

log = logging.getLogger("alembic.dupe_audit")

#: findings that do not stop a build: the build itself judges the index of its name, and it deletes and inserts nothing
NOT_ABOUT_THE_BUILD = {
    "invalid-index",
    "live-build",
    "wrong-definition",
    "delete-trigger",
    "rewrite-rule",
    "foreign-key-unindexed",
}


@Operations.implementation_for(ArchiveDuplicatesOp)
def archive_duplicates(operations: Operations, operation: ArchiveDuplicatesOp) -> None:
    """Archive the extras, after checking everything else that could make the change fail."""
    options, key, revision = Overrides.of(operations), operation.key, _current_revision()
    rule = options.cleanup_rule(operation.rule)
    if operations.migration_context.as_sql:
        offline.archive_duplicates(operations, key, rule, accept=options.accept, revision=revision)
        return
    with autocommit(operations, "archive_duplicates") as connection:
        require_valid(connection, options.settings())
        _refuse(connection, key, blockers(connection, key, rule, accept=options.accept))
        batches = cleanup(connection, key, rule, revision=revision, work_mem=options.work_mem)
        with _shown_in_watch(connection, key):
            archived, children = _logged(batches, "archived")
        log.info("%s: %s archived%s", key, quantity(archived, "extra"), _children(children, "repointed"))


@Operations.implementation_for(CreateUniqueConstraintOnlineOp)
def create_unique_constraint_online(operations: Operations, operation: CreateUniqueConstraintOnlineOp) -> None:
    """Build, attach and verify; archive again under the same run when new duplicates arrive."""
    options, key, revision = Overrides.of(operations), operation.key, _current_revision()
    rule = options.build_rule(operation.rule)
    if operations.migration_context.as_sql:
        offline.create_unique_constraint(operations, key, rule, accept=options.accept, revision=revision)
        return
    with autocommit(operations, "create_unique_constraint_online") as connection:
        require_valid(connection, options.settings())
        require_encodable(connection, rule.comment or "")
        clean_again = _clean_again(connection, key, rule, options)
        # A cleanup before has measured the keys, but not the included columns.
        measure_width = clean_again is None or bool(key.include)
        findings = blockers(connection, key, CleanupRule(), accept=options.accept, measure_width=measure_width)
        _refuse(connection, key, [finding for finding in findings if finding.id not in NOT_ABOUT_THE_BUILD])
        with _shown_in_watch(connection, key):
            enforce(connection, key, rule, clean_again=clean_again, revision=revision)
            _verify(connection, key, options.work_mem)
        log.info("%s is enforced by %s: valid, and no duplicate found", key, key.name)


@Operations.implementation_for(DropUniqueConstraintOnlineOp)
def drop_unique_constraint_online(operations: Operations, operation: DropUniqueConstraintOnlineOp) -> None:
    """Drop the constraint with a short lock timeout."""
    options, key = Overrides.of(operations), operation.key
    if operations.migration_context.as_sql:
        offline.drop_unique_constraint(operations, key, operation.rule)
        return
    with autocommit(operations, "drop_unique_constraint_online") as connection:
        _refuse_pooler(connection, f"constraint {key.name} on {key.table}", options)
        drop(connection, key, operation.rule)
        log.info("constraint %s on %s was dropped", key.name, key.table)


@Operations.implementation_for(RestoreDuplicatesOp)
def restore_duplicates(operations: Operations, operation: RestoreDuplicatesOp) -> None:
    """Restore the newest run of the key."""
    options, key = Overrides.of(operations), operation.key
    rule = options.cleanup_rule(operation.rule)
    if operations.migration_context.as_sql:
        offline.restore_duplicates(operations, key)
        return
    with autocommit(operations, "restore_duplicates") as connection:
        _refuse_pooler(connection, key, options)
        latest = _latest_run(connection, key)
        if latest is None:
            log.info("%s: the ledger has no run of this key, so there is nothing to restore", key)
            return
        run = latest.run
        if run.purged_at:
            lost = quantity(run.archived - run.restored, "row")
            log.warning("%s: run %d was purged at %s: %s cannot be restored", key, run.id, run.purged_at, lost)
            return
        restored, children = _logged(restore(connection, run.id, batch_size=rule.batch_size), "restored")
        log.info("%s: %s restored%s", key, quantity(restored, "row"), _children(children, "pointed back"))


def _latest_run(connection: Connection, key: UniqueKey) -> RecordedRun | None:
    """Return the newest run of the key; None if the table does not exist or was never cleaned by it."""
    match = find(connection, key)
    return ledger.find_latest(connection, match[1].relid, key) if match else None


def _clean_again(
    connection: Connection, key: UniqueKey, build: BuildRule, options: Overrides
) -> Callable[[], int] | None:
    """Return a function that archives new extras by the rule of the key's run; None if no run has a rule."""
    latest = _latest_run(connection, key)
    if latest is None or latest.rule is None:
        return None
    rule = options.cleanup_rule(latest.rule)

    def clean() -> int:
        batches = cleanup(
            connection,
            key,
            rule,
            lock_timeout=build.lock_timeout,
            give_up_after=build.give_up_after,
            work_mem=options.work_mem,
        )
        return _logged(batches, "archived")[0]

    return clean


def _verify(connection: Connection, key: UniqueKey, work_mem: str | None) -> None:
    """Verify the constraint, and record in the ledger that it enforces the key.

    Raises:
        NotProven: the catalog or the count contradicts it.
    """
    report = verify(connection, key, work_mem=work_mem)
    if not report.ok:
        findings = "\n".join(f"  [{finding.id}] {finding.message} {finding.help}" for finding in report.findings)
        raise NotProven(f"Constraint {key.name} on {key} was created, but verifying it failed:\n{findings}")
    if report.run:
        ledger.mark_enforced(connection, report.run.id, str(key.name))


def _refuse(connection: Connection, key: UniqueKey, findings: Sequence[Finding]) -> None:
    """Refuse the change of a key if there are findings.

    Raises:
        Refused: there are; the message names the table, the key and the revision.
    """
    if findings:
        match = find(connection, key)
        raise Refused(findings, lead=_refusal(match[0] if match else key))


def _refuse_pooler(connection: Connection, subject: object, options: Overrides) -> None:
    if "transaction-pooler" not in options.accept and (sign := pooler(connection)):
        raise Refused([finding("transaction-pooler", sign)], lead=_refusal(subject))


def _refusal(subject: object) -> str:
    revision = _current_revision()
    # Directives and statements before this one have committed, so nothing can be said of the whole revision.
    return f"Refused: {subject}{f', revision {revision}' if revision else ''}. No row was changed by this directive."


def _children(number: int, participle: str) -> str:
    return f", {quantity(number, 'child', 'children')} {participle}" if number else ""


def _logged(batches: Iterable[Batch], field: Literal["archived", "restored"]) -> tuple[int, int]:
    """Work through the batches and log progress every few seconds; return how many rows moved, and how many children.

    Args:
        field: the field of a batch that counts the rows.
    """
    moved, children, throttle = 0, 0, Throttle(quiet_at_first=True)
    for batch in batches:
        moved += getattr(batch, field)
        children += batch.repointed
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


@contextmanager
def _shown_in_watch(connection: Connection, key: UniqueKey) -> Iterator[None]:
    """Show the directive as working in ``dupe-audit watch`` until it has verified."""
    match = find(connection, key)
    if match is None:
        yield
        return
    with at_work(connection, match[1].relid):
        yield


def _current_revision() -> str | None:
    """Return the id of the revision that is being executed; Alembic has no public way to ask for it."""
    frame = sys._getframe()  # noqa: SLF001 - the only way; it ends in the ledger and in messages, nothing depends on it
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_name in ("upgrade", "downgrade") and "down_revision" in frame.f_globals:
            return str(frame.f_globals.get("revision"))
    return None
