"""One unique index: judge it, build it beside running traffic, and leave nothing unfinished behind.

An index is judged by its definition, validity and liveness, never by its name (safety rule 7).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from dupe_audit import ledger
from dupe_audit.constraint.watchdog import watching
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.findings import finding
from dupe_audit.model import BuildRule, IndexState, UniqueKey, milliseconds
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.session import retrying, settings
from dupe_audit.postgres.sqlstates import DEADLOCK, QUERY_CANCELED, UNIQUE_VIOLATION, sqlstate
from dupe_audit.statements import ident, statement

log = logging.getLogger("alembic.dupe_audit")

#: how a build ended, where it did not end with an error to tell
Outcome = Literal["built", "duplicate", "deadlock"]

#: settings of a build: nothing may end it half way but we ourselves (F9); a killed client ends it at once (F8)
BUILDING = {
    "lock_timeout": "0",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "client_connection_check_interval": "1s",
}

#: milliseconds that the removal of an own unfinished index may wait for locks, at most
DROP_PATIENCE = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a constraint is made or dropped, and how long that may take."""

    connection: Connection
    key: UniqueKey
    relation: Relation
    rule: BuildRule
    run_id: int | None

    @property
    def name(self) -> str:
        """The name of the index and its constraint."""
        return str(self.key.name)

    @property
    def index(self) -> str:
        """The index, qualified and quoted."""
        return ident(self.relation.schema, self.name)

    def state(self) -> IndexState | None:
        """Return what has the name now."""
        return catalog.index_state(self.connection, self.relation.relid, self.key)

    def retry(self, action: Callable[[], None], what: str, give_up_after: str | None = None) -> None:
        """Try an action that takes a short strong lock on the table, as the rule says."""
        retrying(
            self.connection,
            action,
            relid=self.relation.relid,
            what=what,
            lock_timeout=self.rule.lock_timeout,
            give_up_after=give_up_after or self.rule.give_up_after,
        )


def settled(site: Site) -> IndexState | None:
    """Return the valid index of our definition, or None where one has to be built; anything else stops.

    Adopts by definition, waits for a live build, drops an invalid leftover of our own.
    """
    _wait_for_other_builds(site)
    state = site.state()
    if state is None:
        return None
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        raise Refused(
            [finding("wrong-definition", site.name, table=site.relation.name)], lead=f"It is: {state.definition}"
        )
    if state.valid:
        return state
    if not ledger.is_building(site.connection, site.relation.relid, site.name):
        raise Refused([finding("invalid-index", site.index)], lead="It is not one that this software was building.")
    drop_index(site)
    return None


def _wait_for_other_builds(site: Site) -> None:
    """Two concurrent builds on one table deadlock, six times of six (H55); so wait, but not for ever."""
    patience = Patience(site.rule.give_up_after, pause=0.5)
    while pid := execute(site.connection, statement("builders", relid=str(site.relation.relid))).scalar():
        if patience.exhausted:
            raise Refused(
                [finding("live-build", pid, table=site.relation.name)],
                lead=f"Waited {site.rule.give_up_after} for another build on the table.",
            )
        patience.rest()


def build(site: Site) -> Outcome:
    """Build the index; on every other way out, remove what the build left.

    Raises:
        Blocked: the build waited for one transaction for ``give_up_after`` and was cancelled.
        Interrupted: the user stopped the work.
        sqlalchemy.exc.DBAPIError: the server stopped the build for another reason, such as a full disk.
    """
    ledger.mark_building(site.connection, site.run_id, site.name)
    try:
        _run_build(site)
    except BaseException as error:
        note = _drop_leftover(site)
        if note:
            log.warning("%s", note)
        if isinstance(error, DBAPIError) and sqlstate(error) == UNIQUE_VIOLATION:
            return "duplicate"
        if isinstance(error, DBAPIError) and sqlstate(error) == DEADLOCK:
            return "deadlock"
        if note and isinstance(error, DupeAuditError):
            error.args = (f"{error} {note}",)
        raise
    return "built"


def _run_build(site: Site) -> None:
    key, rule = site.key, site.rule
    values = dict(BUILDING)
    for name in ("maintenance_work_mem", "max_parallel_maintenance_workers"):
        if value := getattr(rule, name):
            values[name] = value
    sql = catalog.build_index_sql(key, site.relation.name)
    with settings(site.connection, values), watching(site.connection, give_up_after=rule.give_up_after) as watch:
        try:
            execute(site.connection, sql)
        except DBAPIError as error:
            if watch.gave_up and sqlstate(error) == QUERY_CANCELED:
                raise Blocked(
                    f"The build of {site.name} waited {rule.give_up_after} and was cancelled: {watch.gave_up}. "
                    "End that transaction, then run the same command again."
                ) from error
            raise


def _drop_leftover(site: Site) -> str:
    """Drop what a build left; return what a person has to know where that could not be done."""
    effect = "it may reject writes"
    try:
        state = site.state()
        if state is None or state.valid or not state.same_definition:
            return ""
        effect = "it rejects new duplicates" if state.ready else "it enforces nothing"
        drop_index(site)
    except (SQLAlchemyError, DupeAuditError):
        return (
            f"An unfinished index {site.index} stays for now ({effect}): the same command drops it first, "
            f"or you do: DROP INDEX CONCURRENTLY {site.index};"
        )
    return ""


def drop_index(site: Site) -> None:
    """Drop an unfinished index of ours while the application goes on.

    Raises:
        Blocked: open transactions on the table held it up.
    """
    patience = min(DROP_PATIENCE, milliseconds(site.rule.give_up_after))
    # Each try is bounded: a ready-but-invalid index rejects writes for as long as this waits (H48).
    values = {"lock_timeout": f"{min(5000, patience)}ms", "statement_timeout": "0"}

    def once() -> None:
        with settings(site.connection, values):
            execute(site.connection, statement("drop_index", index=site.index))

    site.retry(once, f"drop the unfinished index {site.index}", f"{patience}ms")
