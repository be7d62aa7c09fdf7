"""A failure after the directives of a revision: Alembic only prints the error, so the log says what is committed."""

from __future__ import annotations

import logging
from collections.abc import Callable

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event

from dupe_audit.directives.execution import Execution

log = logging.getLogger("alembic.dupe_audit")


def account_for_failures(context: MigrationContext, execution: Execution, account: Callable[[], str]) -> None:
    """Log what the directives have committed if Alembic rolls back before it has committed the stamp.

    Nothing else would say it: a statement or a line of Python that fails after a directive is not ours. Neither is a
    later revision that fails in the transaction of this one's stamp.

    Args:
        account: returns what was committed and what to do now; it must not use the connection.
    """
    connection = context.connection
    if connection is None or execution.revision is None:
        return
    stamped = settled = False

    def on_stamp(**_: object) -> None:
        nonlocal stamped
        stamped = True

    def on_commit(_: Connection) -> None:
        nonlocal settled
        settled = settled or (stamped and not execution.inside)

    def on_rollback(_: Connection) -> None:
        nonlocal settled
        if settled or execution.inside:
            return
        settled = True
        if text := account():
            log.error("%s", text)

    context.on_version_apply_callbacks = (*context.on_version_apply_callbacks, on_stamp)
    event.listen(connection, "commit", on_commit)
    event.listen(connection, "rollback", on_rollback)
