"""The context that a step works in: a connection, a table, and how long to wait for its locks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, CursorResult

from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import retry_lock
from dupe_audit.postgres.session import transaction
from dupe_audit.statements import fill_known, template

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the steps that write have in common; each adds what it alone needs."""

    connection: Connection
    relation: Relation
    lock_timeout: str  #: how long one statement may wait for a lock, as PostgreSQL writes durations
    give_up_after: str  #: total wait for one lock, all tries together
    holes: Mapping[str, str] = field(default_factory=dict)  #: what statements are filled with, by the hole's name

    def sql(self, name: str, **more: str) -> str:
        """Return a statement filled for this table."""
        return fill_known(template(name), self.holes, **more)

    def execute(self, name: str, **more: str) -> CursorResult[Any]:
        """Execute a statement filled for this table."""
        return execute(self.connection, self.sql(name, **more))

    def transaction(
        self, *, isolation: str = "READ COMMITTED", local: Mapping[str, str] | None = None
    ) -> AbstractContextManager[None]:
        """Open a transaction in which a statement waits for a lock no longer than the lock timeout."""
        return transaction(self.connection, lock_timeout=self.lock_timeout, isolation=isolation, local=local)

    def retry(self, action: Callable[[], T], name: str, *, give_up_after: str | None = None) -> T:
        """Try an action that takes a strong lock on the table for a moment; *name* says it in words.

        Raises:
            Blocked: the lock was not acquired in time.
        """
        return retry_lock(
            self.connection,
            action,
            relid=self.relation.relid,
            name=name,
            lock_timeout=self.lock_timeout,
            give_up_after=give_up_after or self.give_up_after,
        )
