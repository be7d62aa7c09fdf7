"""Archive what has arrived and build the index in one transaction that holds the writers for that instant.

Between two concurrent builds of a small table a new duplicate can always arrive. Here none can. The transaction keeps
the promise about the application's waits: from the request for the lock to the commit the server gives it no longer
than the lock timeout; if it needs longer, it is rolled back, and nothing has changed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from dupe_audit.constraint.index import memory
from dupe_audit.constraint.work import ConstraintWork
from dupe_audit.errors import Refused
from dupe_audit.findings import quantity
from dupe_audit.model import HELD_IDLE_LIMIT, milliseconds
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import deadline
from dupe_audit.postgres.sqlstates import (
    DEADLOCK,
    LOCK_NOT_AVAILABLE,
    QUERY_CANCELED,
    UNIQUE_VIOLATION,
    sqlstate,
)
from dupe_audit.postgres.trees import share_levels
from dupe_audit.statements import statement

log = logging.getLogger("alembic.dupe_audit")

TOO_LONG = "holding the writers took too long"

#: why the writers were released without an index
REASONS = {
    DEADLOCK: "holding the writers ended in a deadlock",
    LOCK_NOT_AVAILABLE: "the lock that holds the writers was not acquired in time",
    QUERY_CANCELED: TOO_LONG,
    UNIQUE_VIOLATION: "an extra could not be archived while the writers were held",
}


def build_held(work: ConstraintWork, clean_held: Callable[[], int]) -> str:
    """Hold the writers, archive every extra, and build the index; return why not, or an empty string.

    Args:
        clean_held: archives every extra inside the open transaction, and returns how many.

    Raises:
        Interrupted: the user stopped the work; the transaction is rolled back.
        sqlalchemy.exc.DBAPIError: the server stopped it for another reason, such as a full disk.
    """
    limit = milliseconds(work.lock_timeout)
    log.info("holding the writers of %s for at most %s, to build %s", work.relation.name, work.lock_timeout, work.name)
    local = {
        **memory(work.rule),
        # Half for the wait, behind which the application waits too, and half for the work.
        "lock_timeout": f"{max(1, limit // 2)}ms",
        "idle_in_transaction_session_timeout": HELD_IDLE_LIMIT,
        "synchronous_commit": "local",
    }
    started = time.monotonic()
    try:
        with work.transaction(local=local):
            requested = time.monotonic()
            with deadline(work.connection, requested + limit / 1000):
                execute(work.connection, statement("check_at_once"))
                if work.leaf is not None and (levels := share_levels(work.connection, work.relation.relid)):
                    execute(work.connection, levels)
                execute(work.connection, statement("lock_writers", table=work.relation.name))
                started = time.monotonic()
                archived = clean_held()
                # In the same transaction, so that no index counts as ours if the build is rolled back.
                work.mark_building()
                execute(work.connection, work.held_build_sql)
    except Refused:
        # The round that follows finds the same, and refuses it outside this transaction.
        return "the cleanup of the new duplicates was refused"
    except DBAPIError as error:
        if reason := REASONS.get(sqlstate(error) or ""):
            log.info("the writers of %s are released without an index: %s", work.relation.name, reason)
            return reason
        raise
    log.info(
        "the writers of %s were held for %d ms: %s cleaned, and %s is built",
        work.relation.name,
        1000 * (time.monotonic() - started),
        quantity(archived, "extra"),
        work.name,
    )
    return ""
