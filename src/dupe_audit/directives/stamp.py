"""Several `alembic upgrade` at once: one stamps the revision, and the others end with a sentence that says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.runtime.migration import HeadMaintainer, MigrationContext
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from dupe_audit.postgres.driver import commits_by_itself, execute
from dupe_audit.postgres.sqlstates import friendly
from dupe_audit.statements import ident, statement


def expected_heads(context: MigrationContext) -> frozenset[str]:
    """Return the heads that Alembic's next stamp starts from; Alembic has no public way to ask for them."""
    frame = sys._getframe()  # noqa: SLF001 - the only way; without it, the heads as they are now come close
    while frame := frame.f_back:  # type: ignore[assignment]
        maintainer = frame.f_locals.get("head_maintainer") if frame.f_code.co_name == "run_migrations" else None
        if isinstance(maintainer, HeadMaintainer) and maintainer.context is context:
            return frozenset(maintainer.heads)
    with _report_failures():
        return frozenset(context.get_current_heads())


def require_own_stamp(context: MigrationContext, expected: frozenset[str]) -> None:
    """Keep others from stamping until Alembic's transaction ends, unless another process has stamped already.

    Where there is no transaction, Alembic itself fails if another process stamps in between.

    Args:
        context: in the transaction in which Alembic stamps next, or in autocommit.
        expected: the heads that the stamp starts from.

    Raises:
        CommandError: another process has stamped in the meantime.
    """
    connection = context.connection
    with _report_failures():
        if connection is None or not context._has_version_table():  # noqa: SLF001 - there is no public question
            return
        if not commits_by_itself(connection):
            schema = (context.version_table_schema,) if context.version_table_schema else ()
            execute(connection, statement("lock_versions", table=ident(*schema, context.version_table)))
        heads = frozenset(context.get_current_heads())
    if heads != expected:
        raise CommandError(
            "Another alembic process migrated this database while this one was waiting for it: the revision was "
            f"{', '.join(sorted(expected)) or 'none'} and is now {', '.join(sorted(heads)) or 'none'}. What this "
            "directive asks for is done. Run the same command again: it ends at once, or continues after that revision."
        )


@contextmanager
def _report_failures() -> Iterator[None]:
    """Report a failure in one paragraph, without a traceback.

    Raises:
        CommandError: the version table could not be read or locked.
    """
    try:
        yield
    except DBAPIError as error:
        raise CommandError(str(friendly(error, "Reading Alembic's version table"))) from error
