"""The only place that waits for locks: short tries with a total limit, one process per table, and who holds a lock."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from dupe_audit.errors import Blocked
from dupe_audit.findings import describe_session, quantity
from dupe_audit.model import GIVE_UP_AFTER, LEDGER_LOCK_TIMEOUT
from dupe_audit.postgres.driver import execute, tidy
from dupe_audit.postgres.interrupt import interruptible
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.session import transaction
from dupe_audit.postgres.sqlstates import DEADLOCK, LOCK_NOT_AVAILABLE, SERIALIZATION_FAILURE, detail, sqlstate
from dupe_audit.statements import literal, statement, text_array

T = TypeVar("T")

#: first half of the advisory lock's key, the bytes "dupe"; the second half is the table's oid
LOCK_NAMESPACE = 0x64757065

#: first half of the advisory lock that shows that a directive is at work: a shared lock, so it excludes nobody and
#: nobody waits for it
AT_WORK_NAMESPACE = LOCK_NAMESPACE + 1


def holders(connection: Connection, relid: int) -> str:
    """Return who holds locks on the table: pid, state, age; never the query, which can contain data.

    For a table of Citus, that includes sessions on other nodes that hold locks on its shards.
    """
    rows = execute(connection, statement("holders", relid=str(relid))).mappings().all()
    descriptions: dict[object, str] = {}
    for row in rows:
        descriptions.setdefault(row["gid"] if row["pid"] is None else row["pid"], _holder(row))
    for row in _holders_on_nodes(connection, relid):
        if not (row["is_local"] and row["pid"] in descriptions):
            descriptions[row["node"], row["pid"], row["gid"]] = _holder(row, f" on {row['node']}")
    return "; ".join(descriptions.values()) or "nobody (the lock was released in the meantime)"


def _holder(row: RowMapping, where: str = "") -> str:
    if row["pid"] is None:
        return f"prepared transaction {row['gid']!r}{where} ({row['lock']})"
    name, state = row["application_name"] or row["usename"], row["state"] or None
    return describe_session(row["pid"], name, state, row["seconds"], row["lock"], where)


def _holders_on_nodes(connection: Connection, relid: int) -> Sequence[RowMapping]:
    """Return the sessions, on all nodes, that hold locks on a table of Citus or its shards; none for other tables."""
    if not execute(connection, statement("relation_exists", name=literal("pg_catalog.pg_dist_partition"))).scalar_one():
        return ()
    managed = execute(connection, statement("citus_names", relid=str(relid))).one()
    if managed.names is None:
        return ()
    on_node = statement("citus_holders_of_node", names=text_array(managed.names), own=literal(managed.own))
    return execute(connection, statement("citus_holders", on_node=literal(on_node))).mappings().all()


def deadlock_party(connection: Connection, error: BaseException) -> str:
    """Describe the other sessions of a deadlock: pid, name, state, and what each waits for."""
    text = detail(error)
    # "Process 4711 waits for …; blocked by process 4712."; in other languages, every number may be a pid.
    pids = {int(pid) for pid in re.findall(r"(?i)process (\d+)", text) or re.findall(r"\d+", text)}
    own = execute(connection, statement("backend_pid")).scalar_one()
    numbers = ", ".join(str(pid) for pid in sorted(pids - {own}))
    if not numbers:
        return "another session"
    rows = execute(connection, statement("parties", pids=f"ARRAY[{numbers}]::pg_catalog.int4[]")).all()
    waits = {None: "", "advisory": "waiting for an advisory lock"}
    parties = [
        describe_session(row.pid, row.name, row.state, more=waits.get(row.lock, f"waiting for a lock ({row.lock})"))
        for row in rows
    ]
    return "; ".join(parties) or f"a session that has ended (pid {numbers})"


@contextmanager
def run_lock(connection: Connection, relid: int, *, give_up_after: str = GIVE_UP_AFTER) -> Iterator[None]:
    """Be the one session that works on a table: an advisory lock, polled and never waited for.

    A wait inside ``pg_advisory_lock`` holds a snapshot, and deadlocks with the build that the holder runs.

    Raises:
        Blocked: another session, perhaps the backend of a killed client, kept the lock for *give_up_after*.
    """
    key = _advisory_key(LOCK_NAMESPACE, relid)
    patience = Patience(give_up_after, pause=0.2)
    while not execute(connection, statement("try_run_lock", **key)).scalar_one():
        pid = execute(connection, lock_holder_sql(str(relid))).scalar()
        if patience.exhausted:
            raise _outlasted(pid, "working on this table", give_up_after)
        patience.log("waiting for another session that is working on this table (pid %s)", pid or "unknown")
        patience.pause()
    try:
        with interruptible(connection):
            yield
    finally:
        tidy(connection, statement("release_run_lock", **key))


@contextmanager
def ledger_transaction(connection: Connection) -> Iterator[None]:
    """Open a transaction as the only session that creates parts of the ledger, by a lock that is polled as well (H197).

    Raises:
        Blocked: another session kept that lock for ``LEDGER_LOCK_TIMEOUT``.
    """
    patience = Patience(LEDGER_LOCK_TIMEOUT, pause=0.1, growth=1.6, longest=1.0, jitter=True)
    while True:
        with transaction(connection, lock_timeout=LEDGER_LOCK_TIMEOUT):
            if execute(connection, statement("try_ledger_lock", namespace=str(LOCK_NAMESPACE))).scalar_one():
                yield
                return
        pid = execute(connection, lock_holder_sql("0")).scalar()
        if patience.exhausted:
            raise _outlasted(pid, "creating the ledger", LEDGER_LOCK_TIMEOUT)
        patience.log("waiting for another session that is creating the ledger (pid %s)", pid or "unknown")
        patience.pause()


def lock_holder_sql(relid: str) -> str:
    """Return the query for the pid of the session that holds the run lock of a table, or the ledger's for ``0``."""
    return statement("run_lock_holder", namespace=str(LOCK_NAMESPACE), relid=relid)


def _outlasted(pid: object, doing: str, limit: str) -> Blocked:
    return Blocked(
        f"Another session ({f'pid {pid}' if pid else 'which has just ended'}) was {doing} and did not finish within "
        f"{limit}. Wait for it, or if its client is gone, end it with SELECT pg_terminate_backend({pid or 'PID'}); "
        "then run the same command again."
    )


@contextmanager
def at_work(connection: Connection, relid: int) -> Iterator[None]:
    """Let ``dupe-audit watch`` see that a directive is at work, also between two run locks."""
    key = _advisory_key(AT_WORK_NAMESPACE, relid)
    execute(connection, statement("show_at_work", **key))
    try:
        yield
    finally:
        tidy(connection, statement("hide_at_work", **key))


def _advisory_key(namespace: int, relid: int) -> dict[str, str]:
    """Return both halves of an advisory key: signed 32-bit numbers, while an oid is unsigned."""
    return {"namespace": str(namespace), "key": str(relid if relid < 2**31 else relid - 2**32)}


def retry_lock(
    connection: Connection,
    action: Callable[[], T],
    *,
    relid: int,
    name: str,
    lock_timeout: str,
    give_up_after: str,
) -> T:
    """Try *action*, which takes a strong lock for a moment, until it succeeds or the total limit is over.

    The pauses grow and are jittered, so that traffic drains between two tries. There is never a last try
    without a timeout: that would be an outage by design (H76).

    Args:
        name: the action in words, after "Could not": ``attach the index``.

    Raises:
        Blocked: the lock was not acquired within *give_up_after*; the message names who held it.
    """
    patience = Patience(give_up_after, pause=0.1, growth=1.6, jitter=True)
    while True:
        try:
            return action()
        except DBAPIError as error:
            if sqlstate(error) not in (LOCK_NOT_AVAILABLE, DEADLOCK):
                raise
        blockers, tries = holders(connection, relid), patience.tries + 1
        if patience.nearly_exhausted:
            times = quantity(tries, "try", "tries")
            raise Blocked(
                f"Could not {name}: the lock was not acquired within {give_up_after} ({times} of {lock_timeout}). "
                f"Locks on the table are held by {blockers}. Wait for them or end them, then run the same command "
                "again: it continues where it stopped."
            )
        patience.log("waiting to %s (try %d); locks on the table are held by %s", name, tries, blockers)
        patience.pause()


def undisturbed(action: Callable[[], T], give_up_after: str) -> T:
    """Do it again as often as others move one of its rows to another partition meanwhile.

    Raises:
        Blocked: they did so in every try, for the whole limit.
    """
    patience = Patience(give_up_after, pause=0.02, growth=1.6, longest=1.0, jitter=True)
    while True:
        try:
            return action()
        except DBAPIError as error:
            if sqlstate(error) != SERIALIZATION_FAILURE:
                raise
            if patience.nearly_exhausted:
                raise Blocked(
                    f"In every try for {give_up_after}, other sessions moved a row to another partition. Run the same "
                    "command again: it continues where it stopped."
                ) from error
        patience.pause()
