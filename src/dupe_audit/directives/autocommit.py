"""The connection of a directive: the migration's own, in autocommit, with every failure in one paragraph."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, PendingRollbackError

from dupe_audit.directives.stamp import expected_heads, require_own_stamp
from dupe_audit.errors import DupeAuditError, Interrupted
from dupe_audit.postgres.driver import commits_by_itself
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.postgres.session import trusted_path
from dupe_audit.postgres.sqlstates import friendly

log = logging.getLogger("alembic.dupe_audit")


@contextmanager
def autocommit(
    operations: Operations,
    directive: str,
    explain: Callable[[BaseException, Connection | None], str],
    *,
    judge: Callable[[Connection], None],
    stamps: bool,
) -> Iterator[Connection]:
    """Yield the migration's own connection in autocommit; report a failure in one paragraph, without a traceback.

    Args:
        operations: of the revision.
        directive: the name of the operation.
        explain: returns the whole message of a failure; its connection is None if it was lost.
        judge: refuses an unsuitable server before a setting of its session changes.
        stamps: whether Alembic can stamp the revision next, so that another process must not have done it already.

    Raises:
        CommandError: the directive failed, or Alembic would not commit; Alembic's command line prints it and exits.
        SystemExit: the user stopped the work (exit code 130).
    """
    context = operations.migration_context
    _require_own_transaction(context, directive)
    expected = expected_heads(context)
    message: str | None = None
    cause: BaseException | None = None
    try:
        with _block(context):
            connection = operations.get_bind()
            try:
                judge(connection)
                with interruptible(connection), trusted_path(connection):
                    yield connection
            except (DupeAuditError, DBAPIError) as error:
                cause = _describe_failure(error, directive)
                # Here, because the block's end may find the connection lost, and hide the cause.
                message = explain(cause, None if connection.invalidated or connection.closed else connection)
                raise
    except Exception as error:
        problem = cause or _describe_failure(error, directive)
        if isinstance(problem, DupeAuditError):
            text = message or explain(problem, None)
            if isinstance(problem, Interrupted):
                log.error("%s", text)  # noqa: TRY400 - a traceback would add nothing
                raise SystemExit(problem.exit_code) from None
            raise CommandError(text) from error
        raise
    if stamps:
        require_own_stamp(context, expected)


def _block(context: MigrationContext) -> AbstractContextManager[None]:
    """Return Alembic's autocommit block, or nothing where the revision has already begun such a block."""
    # Alembic's blocks cannot be nested: the inner fails with a bare AssertionError.
    return nullcontext() if _works_in_autocommit(context) else context.autocommit_block()


def _works_in_autocommit(context: MigrationContext) -> bool:
    has_transaction = getattr(context, "_transaction", True) is not None
    return not has_transaction and context.connection is not None and commits_by_itself(context.connection)


def _require_own_transaction(context: MigrationContext, directive: str) -> None:
    """Refuse a connection on which Alembic would commit nothing (H166, H185).

    Raises:
        CommandError: the connection was in a transaction before ``context.configure()``, or has none of Alembic's.
    """
    # No public attribute shows either state; Alembic asserts them inside autocommit_block().
    is_external = getattr(context, "_in_external_transaction", False)
    if is_external or (getattr(context, "_transaction", True) is None and not _works_in_autocommit(context)):
        raise CommandError(
            f"op.{directive}() commits as it goes, but the connection was already in a transaction when "
            "context.configure() was called, so Alembic would commit nothing. In env.py, commit or move whatever uses "
            "the connection before context.configure(), and run the migrations inside context.begin_transaction()."
        )


def _describe_failure(error: BaseException, directive: str) -> BaseException:
    """Return an error that says what to do next, or *error* itself if only a traceback helps."""
    if isinstance(error, DBAPIError):
        return friendly(error, f"op.{directive}()")
    if isinstance(error, PendingRollbackError):
        return DupeAuditError(
            f"op.{directive}() lost its connection at its end. Committed work is safe. Run the same command again."
        )
    return error
