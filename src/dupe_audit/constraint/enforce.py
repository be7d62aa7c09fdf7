"""Make a finished unique index a constraint, or drop the constraint again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.constraint.index import Site, build, drop_index, settled
from dupe_audit.errors import DupeAuditError, DuplicatesKeepComing, Refused
from dupe_audit.findings import finding
from dupe_audit.model import BuildRule, IndexState, Run, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.catalog import Relation
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.session import run_lock, step, transaction
from dupe_audit.postgres.sqlstates import DEPENDENT_OBJECTS, sqlstate
from dupe_audit.statements import ident, literal, statement

log = logging.getLogger("alembic.dupe_audit")


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
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
            ledger.create(connection, relation.owner)
            run_id = _run_of(connection, relation, key, revision)
            site = Site(connection=connection, key=key, relation=relation, rule=rule, run_id=run_id)
            state = settled(site) or _built_in_rounds(site, clean_again)
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
    with step(connection):
        key, relation = catalog.require(connection, key)
        with run_lock(connection, relation.relid, give_up_after=rule.give_up_after):
            known = ledger.by_constraint(connection, relation.relid, str(key.name))
            if known and known.archive_bytes is None and known.archived > known.restored and not known.purged_at:
                raise Refused([finding("archive-missing", known.id)], lead="Nothing was dropped.")
            site = Site(
                connection=connection, key=key, relation=relation, rule=rule, run_id=known.id if known else None
            )
            state = site.state()
            if state and state.constraint == key.name:
                _drop_constraint(site, known)
            else:
                if state and known and known.building:
                    drop_index(site)
                _enter_dropped(connection, known)


def _run_of(connection: Connection, relation: Relation, key: UniqueKey, revision: str | None) -> int:
    """Return the run that this constraint belongs to; open one where nothing was ever cleaned."""
    known = ledger.latest(connection, relation.relid, key)
    if known and known[0].state != "restored" and known[0].purged_at is None:
        return known[0].id
    return ledger.open_run(connection, relid=relation.relid, key=key, rule=None, revision=revision)


def _built_in_rounds(site: Site, clean_again: Callable[[], int] | None) -> IndexState:
    """Build; where a new duplicate stops the build, clean and build again, a bounded number of times."""
    began, arrived = time.monotonic(), 0
    for attempt in range(1, site.rule.build_attempts + 1):
        if attempt > 1 and clean_again is not None:
            # Right before the build: every moment between the ranking and the build is one for the next duplicate.
            arrived += clean_again()
        outcome = build(site)
        if outcome == "built" and (state := settled(site)):
            return state
        log.info("build %d of %d ended in a %s", attempt, site.rule.build_attempts, outcome)
        if outcome == "duplicate" and clean_again is None:
            raise Refused(
                [finding("duplicates", "The index build met a duplicate")],
                lead=f"{site.key} cannot be enforced, and no op.archive_duplicates() says what to do about it.",
            )
    seconds = time.monotonic() - began
    raise DuplicatesKeepComing(
        f"{site.rule.build_attempts} builds of {site.name} each met a new duplicate: {arrived} more arrived in "
        f"{seconds:.0f} s, {arrived / seconds:.1f} a second. Deploy the writer with INSERT … ON CONFLICT DO NOTHING "
        "first, or stop the old one for the length of a build; then run the same command again."
    )


def _attach(site: Site) -> None:
    form = ""
    if site.key.deferrable:
        form = f" DEFERRABLE INITIALLY {site.key.initially}"
    sql = statement("attach", table=site.relation.name, name=ident(site.name), form=form)

    def once() -> None:
        with transaction(site.connection, lock_timeout=site.rule.lock_timeout):
            execute(site.connection, sql)

    site.retry(once, f"attach the index as constraint {site.name}")


def _comment(site: Site) -> None:
    if site.rule.comment is None:
        return
    sql = statement(
        "comment_constraint", name=ident(site.name), table=site.relation.name, comment=literal(site.rule.comment)
    )

    def once() -> None:
        with transaction(site.connection, lock_timeout=site.rule.lock_timeout):
            execute(site.connection, sql)

    site.retry(once, f"comment on constraint {site.name}")


def _drop_constraint(site: Site, known: Run | None) -> None:
    sql = statement("drop_constraint", table=site.relation.name, name=ident(site.name))

    def once() -> None:
        with transaction(site.connection, lock_timeout=site.rule.lock_timeout):
            # In one transaction, so that the ledger never claims a constraint that is gone; and the lock comes last.
            _enter_dropped(site.connection, known)
            execute(site.connection, sql)

    try:
        site.retry(once, f"drop constraint {site.name}")
    except DBAPIError as error:
        if sqlstate(error) == DEPENDENT_OBJECTS:
            raise DupeAuditError(
                f"Other objects depend on constraint {site.name}, most likely a foreign key on its columns. "
                "Drop those first; nothing was changed."
            ) from error
        raise


def _enter_dropped(connection: Connection, known: Run | None) -> None:
    """Enter that neither the constraint nor an unfinished index of the run is there any more."""
    if known is None:
        return
    ledger.mark_not_building(connection, known.id)
    if known.state in ("enforced", "clean", "cleaning"):
        ledger.set_state(connection, known.id, "dropped")
