"""How the directives are done against a live database."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from alembic.operations import Operations
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, PendingRollbackError

import dupe_audit.directives.autogenerate  # noqa: F401 - registers how autogenerate writes the directives
from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.directives import offline
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.errors import DupeAuditError, Interrupted, NotProven, Refused, WrongUsage
from dupe_audit.findings import finding
from dupe_audit.model import Batch, BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.catalog import find
from dupe_audit.postgres.driver import pooler
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.postgres.locking import at_work
from dupe_audit.postgres.patience import Throttle
from dupe_audit.postgres.sqlstates import friendly
from dupe_audit.preflight import blockers
from dupe_audit.restore import restore
from dupe_audit.verify import verify

T = TypeVar("T")

log = logging.getLogger("alembic.dupe_audit")

#: what ``-x dupe_audit.NAME=VALUE`` may override, and how it is read
OPTIONS: dict[str, Callable[[str], object]] = {
    "batch_size": int,
    "pause": float,
    "work_mem": str,
    "maintenance_work_mem": str,
    "max_parallel_maintenance_workers": str,
    "accept": lambda text: tuple(part.strip() for part in text.split(",") if part.strip()),
}


@Operations.implementation_for(ArchiveDuplicatesOp)
def archive_duplicates(operations: Operations, operation: ArchiveDuplicatesOp) -> None:
    """Archive the extras, after proving that nothing else stands in the way."""
    options = _options(operations)
    rule = _overridden(operation.rule, options)
    if operations.migration_context.as_sql:
        offline.archive_duplicates(operations, operation.key, rule, accept=_accept(options), revision=_revision())
        return
    with _autocommit(operations, "archive_duplicates") as connection:
        accept = _accept(options)
        if found := blockers(connection, operation.key, rule, accept=accept):
            raise Refused(found, lead=f"{operation.key} cannot be cleaned safely. Nothing was changed.")
        batches = cleanup(connection, operation.key, rule, revision=_revision(), work_mem=_text(options, "work_mem"))
        with _seen(connection, operation.key):
            archived, repointed = _logged(batches, "archived")
        log.info(
            "%s: %d extras archived%s", operation.key, archived, _children(repointed, "pointed at their survivors")
        )


@Operations.implementation_for(CreateUniqueConstraintOnlineOp)
def create_unique_constraint_online(operations: Operations, operation: CreateUniqueConstraintOnlineOp) -> None:
    """Build, attach, verify; clean again under the same run when new duplicates arrive."""
    options = _options(operations)
    rule = replace(
        operation.rule,
        maintenance_work_mem=_text(options, "maintenance_work_mem"),
        max_parallel_maintenance_workers=_text(options, "max_parallel_maintenance_workers"),
    )
    if operations.migration_context.as_sql:
        offline.create_unique_constraint(operations, operation.key, rule, accept=_accept(options), revision=_revision())
        return
    with _autocommit(operations, "create_unique_constraint_online") as connection:
        clean_again = _clean_again(connection, operation.key, rule, options)
        # Where a cleanup went before, it has measured the keys, but not what the index carries besides.
        measure_width = clean_again is None or bool(operation.key.include)
        _refuse_constraint(connection, operation.key, _accept(options), measure_width=measure_width)
        with _seen(connection, operation.key):
            enforce(connection, operation.key, rule, clean_again=clean_again, revision=_revision())
            report = verify(connection, operation.key, work_mem=_text(options, "work_mem"))
            if not report.ok:
                findings = "\n".join(f"  [{f.id}] {f.message} {f.help}" for f in report.findings)
                raise NotProven(f"{operation.key.name} was made, but is not proven:\n{findings}")
            if report.run:
                ledger.mark_enforced(connection, report.run.id, str(operation.key.name))
        log.info("%s is enforced by %s: valid, and no duplicate found", operation.key, operation.key.name)


@Operations.implementation_for(DropUniqueConstraintOnlineOp)
def drop_unique_constraint_online(operations: Operations, operation: DropUniqueConstraintOnlineOp) -> None:
    """Drop the constraint with a short lock timeout."""
    options = _options(operations)
    if operations.migration_context.as_sql:
        offline.drop_unique_constraint(operations, operation.key, operation.rule)
        return
    with _autocommit(operations, "drop_unique_constraint_online") as connection:
        _refuse_pooler(connection, options)
        drop(connection, operation.key, operation.rule)
        log.info("constraint %s on %s is dropped", operation.key.name, operation.key.table)


@Operations.implementation_for(RestoreDuplicatesOp)
def restore_duplicates(operations: Operations, operation: RestoreDuplicatesOp) -> None:
    """Restore the newest run of the key."""
    options = _options(operations)
    rule = _overridden(operation.rule, options)
    if operations.migration_context.as_sql:
        offline.restore_duplicates(operations, operation.key)
        return
    with _autocommit(operations, "restore_duplicates") as connection:
        _refuse_pooler(connection, options)
        found = find(connection, operation.key)
        known = ledger.find_latest(connection, found[1].relid, operation.key) if found else None
        if known is None:
            log.info("%s: the ledger knows of no cleanup, so there is nothing to restore", operation.key)
        elif known[0].purged_at:
            log.warning(
                "run %d was purged at %s: %d rows stay gone",
                known[0].id,
                known[0].purged_at,
                known[0].archived - known[0].restored,
            )
        else:
            restored, returned = _logged(restore(connection, known[0].id, batch_size=rule.batch_size), "restored")
            log.info("%s: %d rows restored%s", operation.key, restored, _children(returned, "pointed back"))


def _clean_again(
    connection: Connection, key: UniqueKey, build: BuildRule, options: dict[str, object]
) -> Callable[[], int] | None:
    """Return what cleans the key by the rule of its run, or None where no run says how."""
    found = find(connection, key)
    known = ledger.find_latest(connection, found[1].relid, key) if found else None
    if known is None or known[1] is None:
        return None
    rule = _overridden(known[1], options)

    def clean() -> int:
        batches = cleanup(
            connection,
            key,
            rule,
            lock_timeout=build.lock_timeout,
            give_up_after=build.give_up_after,
            work_mem=_text(options, "work_mem"),
        )
        return _logged(batches, "archived")[0]

    return clean


def _refuse_constraint(connection: Connection, key: UniqueKey, accept: tuple[str, ...], *, measure_width: bool) -> None:
    """Refuse what would make the build pointless or harmful; the state of our own index is the step's to judge."""
    own = {"invalid-index", "live-build", "wrong-definition", "delete-trigger", "rewrite-rule"}
    found = blockers(connection, key, CleanupRule(), accept=accept, measure_width=measure_width)
    found = [f for f in found if f.id not in own]
    if found:
        raise Refused(found, lead=f"{key} cannot be made a constraint. Nothing was changed.")


def _refuse_pooler(connection: Connection, options: dict[str, object]) -> None:
    if "transaction-pooler" not in _accept(options) and (sign := pooler(connection)):
        raise Refused([finding("transaction-pooler", sign)], lead="Nothing was changed.")


def _children(count: int, what: str) -> str:
    return f", {count} children {what}" if count else ""


def _logged(batches: Iterable[Batch], what: str) -> tuple[int, int]:
    """Drain the batches; log at most every few seconds; return how many rows moved, and children with them."""
    moved, repointed, throttle = 0, 0, Throttle(quiet_at_first=True)
    for batch in batches:
        moved += getattr(batch, what)
        repointed += batch.repointed
        if throttle.due():
            log.info("run %d: %d of %d rows done, %d %s", batch.run_id, batch.done, batch.total, moved, what)
    return moved, repointed


@contextmanager
def _autocommit(operations: Operations, directive: str) -> Iterator[Connection]:
    """Give the migration's own connection in autocommit; say every failure in one paragraph, without a traceback.

    Raises:
        CommandError: what Alembic's command line prints and ends with.
    """
    context = operations.migration_context
    if getattr(context, "_in_external_transaction", False) or getattr(context, "_transaction", True) is None:
        raise CommandError(
            f"op.{directive}() needs to commit as it goes, but this connection was already in a transaction when "
            "context.configure() ran, so Alembic would commit nothing. In env.py, commit or move whatever runs on the "
            "connection before context.configure(), and run migrations inside context.begin_transaction()."
        )
    failure: BaseException | None = None
    try:
        with context.autocommit_block():
            connection = operations.get_bind()
            try:
                with interruptible(connection):
                    yield connection
            except (DupeAuditError, DBAPIError) as error:
                failure = error
                raise
    except Exception as error:  # leaving the block on a lost connection fails too, and would hide the cause
        told = failure or error
        if isinstance(told, DBAPIError):
            told = friendly(told, directive)
        elif isinstance(told, PendingRollbackError):
            told = DupeAuditError(f"{directive} lost its connection at its end. Run the same command again.")
        if isinstance(told, Interrupted):
            log.error("%s", told)  # noqa: TRY400 - a traceback would say nothing more
            raise SystemExit(told.exit_code) from None
        if isinstance(told, DupeAuditError):
            raise CommandError(str(told)) from failure
        raise


@contextmanager
def _seen(connection: Connection, key: UniqueKey) -> Iterator[None]:
    """Let ``dupe-audit watch`` see the directive to its last proof."""
    found = find(connection, key)
    if found is None:
        yield
        return
    with at_work(connection, found[1].relid):
        yield


def _options(operations: Operations) -> dict[str, object]:
    """Return the ``-x dupe_audit.…`` options of this command.

    Raises:
        CommandError: an option that does not exist, or a value that cannot be read.
    """
    environment = operations.migration_context.environment_context
    given = environment.get_x_argument(as_dictionary=True) if environment else {}
    options: dict[str, object] = {}
    for name, value in given.items():
        if not name.startswith("dupe_audit."):
            continue
        option = name.removeprefix("dupe_audit.")
        if option not in OPTIONS:
            raise CommandError(f"There is no -x {name}. There are: {', '.join('dupe_audit.' + o for o in OPTIONS)}.")
        try:
            options[option] = OPTIONS[option](value)
        except ValueError:
            raise CommandError(f"-x {name}={value} is no number.") from None
    return options


def _overridden(rule: CleanupRule, options: dict[str, object]) -> CleanupRule:
    try:
        return replace(rule, **{k: v for k, v in options.items() if k in ("batch_size", "pause")})  # type: ignore[arg-type]
    except WrongUsage as error:
        raise CommandError(str(error)) from None


def _text(options: dict[str, object], name: str) -> str | None:
    value = options.get(name)
    return None if value is None else str(value)


def _accept(options: dict[str, object]) -> tuple[str, ...]:
    accepted = options.get("accept", ())
    return accepted if isinstance(accepted, tuple) else ()


def _revision() -> str | None:
    """Return the id of the revision whose function is running: Alembic tells it to nobody else."""
    frame = sys._getframe()  # noqa: SLF001 - the only way to see it; it ends in the ledger, nothing depends on it
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_name in ("upgrade", "downgrade") and "down_revision" in frame.f_globals:
            return str(frame.f_globals.get("revision"))
    return None
