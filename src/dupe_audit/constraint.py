"""Build the unique index while the application writes, adopt it as a constraint, or drop it again.

An index is judged by its definition, validity and liveness, never by its name (safety rule 7).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import catalog, ledger
from dupe_audit.catalog import Relation
from dupe_audit.driver import DEADLOCK, QUERY_CANCELED, UNIQUE_VIOLATION, require_autocommit, rest, run, sqlstate
from dupe_audit.errors import Blocked, DupeAuditError, DuplicatesKeepComing, Refused
from dupe_audit.findings import finding
from dupe_audit.model import BuildRule, IndexState, UniqueKey, milliseconds
from dupe_audit.session import retrying, run_lock, settings, transaction
from dupe_audit.statements import ident, literal, statement
from dupe_audit.watchdog import watching

log = logging.getLogger("alembic.dupe_audit")

#: settings of a build: nothing may end it half way but we ourselves (F9); a killed client ends it at once (F8)
BUILDING = {
    "lock_timeout": "0",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "client_connection_check_interval": "1s",
}

#: how long the removal of an own invalid index may wait for locks
DROP_PATIENCE = "30s"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """Where a constraint is made or dropped, and how long that may take."""

    connection: Connection
    key: UniqueKey
    relation: Relation
    rule: BuildRule
    run_id: int | None

    @property
    def name(self) -> str:
        return str(self.key.name)

    @property
    def index(self) -> str:
        return ident(self.relation.schema, self.name)

    def state(self) -> IndexState | None:
        return catalog.index_state(self.connection, self.relation.relid, self.key)

    def retry(self, action: Callable[[], None], what: str, give_up_after: str | None = None) -> None:
        retrying(
            self.connection,
            action,
            relid=self.relation.relid,
            what=what,
            lock_timeout=self.rule.lock_timeout,
            give_up_after=give_up_after or self.rule.give_up_after,
        )


def enforce(
    connection: Connection,
    key: UniqueKey,
    rule: BuildRule,
    *,
    clean_again: Callable[[], int] | None = None,
    revision: str | None = None,
) -> None:
    """Make *key* a constraint, online; killed anywhere, the same call continues.

    It claims nothing: verifying, and entering in the ledger that the key is enforced, are the caller's.

    Args:
        connection: in autocommit.
        clean_again: cleans what arrived since, and returns how many rows that were; None where nothing may be cleaned.
        revision: the Alembic revision to enter in the ledger.

    Raises:
        Refused: the name stands for something else, or there are duplicates and nothing may be cleaned.
        DuplicatesKeepComing: each of ``rule.build_attempts`` builds met a new duplicate.
        Blocked: a lock was not had, or the build waited for one transaction, for ``rule.give_up_after``.
    """
    require_autocommit(connection)
    key, relation = catalog.require(connection, key)
    with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
        ledger.create(connection, relation.owner)
        run_id = _run_of(connection, relation, key, revision)
        site = _Site(connection=connection, key=key, relation=relation, rule=rule, run_id=run_id)
        state = _settled(site) or _built_in_rounds(site, clean_again)
        if state.constraint is None:
            _attach(site)
        _comment(site)


def drop(connection: Connection, key: UniqueKey, rule: BuildRule) -> None:
    """Drop the constraint, or what a killed upgrade left of it; nothing there is no error.

    Raises:
        Refused: a run's archive is gone, so that its rows could not come back afterwards.
        Blocked: the lock was not had within ``rule.give_up_after``.
        DupeAuditError: other objects depend on the constraint.
    """
    require_autocommit(connection)
    key, relation = catalog.require(connection, key)
    with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
        known = ledger.by_constraint(connection, relation.relid, str(key.name))
        if known and known.archive_bytes is None and known.archived > known.restored and not known.purged_at:
            raise Refused([finding("archive-missing", known.id)], lead="Nothing was dropped.")
        site = _Site(connection=connection, key=key, relation=relation, rule=rule, run_id=known.id if known else None)
        state = site.state()
        if state and state.constraint == key.name:
            _drop_constraint(site)
        elif state and known and known.building:
            _drop_index(site, rule.give_up_after)
        if known and known.state in ("enforced", "clean", "cleaning"):
            ledger.set_state(connection, known.id, "dropped")


def _run_of(connection: Connection, relation: Relation, key: UniqueKey, revision: str | None) -> int:
    """Return the run that this constraint belongs to; open one where nothing was ever cleaned."""
    known = ledger.latest(connection, relation.relid, key)
    if known and known[0].state != "restored" and known[0].purged_at is None:
        return known[0].id
    return ledger.open_run(connection, relid=relation.relid, key=key, rule=None, revision=revision)


def _settled(site: _Site) -> IndexState | None:
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
    _drop_index(site, DROP_PATIENCE)
    return None


def _wait_for_other_builds(site: _Site) -> None:
    """Two concurrent builds on one table deadlock, six times of six (H55); so wait, but not for ever."""
    deadline = time.monotonic() + milliseconds(site.rule.give_up_after) / 1000
    while pid := run(site.connection, statement("builders", relid=str(site.relation.relid))).scalar():
        if time.monotonic() > deadline:
            raise Refused(
                [finding("live-build", pid, table=site.relation.name)],
                lead=f"Waited {site.rule.give_up_after} for another build on the table.",
            )
        rest(0.5)


def _built_in_rounds(site: _Site, clean_again: Callable[[], int] | None) -> IndexState:
    """Build; where a new duplicate stops the build, clean and build again, a bounded number of times."""
    began, arrived = time.monotonic(), 0
    for attempt in range(1, site.rule.build_attempts + 1):
        if attempt > 1 and clean_again is not None:
            # Right before the build: every moment between the ranking and the build is one for the next duplicate.
            arrived += clean_again()
        if _built(site) and (state := _settled(site)):
            return state
        log.info("build %d of %d met a new duplicate", attempt, site.rule.build_attempts)
        if clean_again is None:
            raise Refused(
                [finding("duplicates", "The build met a duplicate")],
                lead=f"{site.key} cannot be enforced, and no op.archive_duplicates() says what to do about it.",
            )
    seconds = time.monotonic() - began
    raise DuplicatesKeepComing(
        f"{site.rule.build_attempts} builds of {site.name} each met a new duplicate: {arrived} more arrived in "
        f"{seconds:.0f} s, {arrived / seconds:.1f} a second. Deploy the writer with INSERT … ON CONFLICT DO NOTHING "
        "first, or stop the old one for the length of a build; then run the same command again."
    )


def _built(site: _Site) -> bool:
    """Build the index; False where a duplicate stopped it. Leaves no invalid index behind on any exit."""
    connection, key, rule = site.connection, site.key, site.rule
    values = dict(BUILDING)
    for name in ("maintenance_work_mem", "max_parallel_maintenance_workers"):
        if value := getattr(rule, name):
            values[name] = value
    ledger.mark_building(connection, site.run_id, site.name)
    build = statement(
        "build_index",
        name=ident(site.name),
        table=site.relation.name,
        key_columns=", ".join(ident(column) for column in key.columns),
        include=f" INCLUDE ({', '.join(ident(c) for c in key.include)})" if key.include else "",
        nulls=" NULLS NOT DISTINCT" if key.nulls_not_distinct else "",
    )
    try:
        with settings(connection, values), watching(connection, give_up_after=rule.give_up_after) as watch:
            try:
                run(connection, build)
            except DBAPIError as error:
                if watch.gave_up and sqlstate(error) == QUERY_CANCELED:
                    raise Blocked(
                        f"The build of {site.name} waited {rule.give_up_after} and was cancelled: {watch.gave_up}. "
                        "End that transaction, then run the same command again."
                    ) from error
                raise
    except BaseException as error:
        with suppress(DBAPIError, Blocked):  # tell the first error; the next run drops what is left
            _drop_leftover(site)
        if isinstance(error, DBAPIError) and sqlstate(error) in (UNIQUE_VIOLATION, DEADLOCK):
            return sqlstate(error) == DEADLOCK
        raise
    return True


def _drop_leftover(site: _Site) -> None:
    state = site.state()
    if state and not state.valid and state.same_definition:
        _drop_index(site, DROP_PATIENCE)


def _drop_index(site: _Site, give_up_after: str) -> None:
    def once() -> None:
        # Each try is bounded: a ready-but-invalid index rejects writes for as long as this waits (H48).
        with settings(site.connection, {"lock_timeout": "5s", "statement_timeout": "0"}):
            run(site.connection, statement("drop_index", index=site.index))

    site.retry(once, f"drop the unfinished index {site.index}", give_up_after)


def _attach(site: _Site) -> None:
    form = ""
    if site.key.deferrable:
        form = f" DEFERRABLE INITIALLY {site.key.initially}"
    sql = statement("attach", table=site.relation.name, name=ident(site.name), form=form)

    def once() -> None:
        with transaction(site.connection, lock_timeout=site.rule.lock_timeout):
            run(site.connection, sql)

    site.retry(once, f"attach the index as constraint {site.name}")


def _comment(site: _Site) -> None:
    if site.rule.comment is None:
        return
    sql = statement(
        "comment_constraint", name=ident(site.name), table=site.relation.name, comment=literal(site.rule.comment)
    )

    def once() -> None:
        with transaction(site.connection, lock_timeout=site.rule.lock_timeout):
            run(site.connection, sql)

    site.retry(once, f"comment on constraint {site.name}")


def _drop_constraint(site: _Site) -> None:
    sql = statement("drop_constraint", table=site.relation.name, name=ident(site.name))

    def once() -> None:
        with transaction(site.connection, lock_timeout=site.rule.lock_timeout):
            run(site.connection, sql)

    try:
        site.retry(once, f"drop constraint {site.name}")
    except DBAPIError as error:
        if sqlstate(error) == "2BP01":
            raise DupeAuditError(
                f"Other objects depend on constraint {site.name}, most likely a foreign key on its columns. "
                "Drop those first; nothing was changed."
            ) from error
        raise
