"""The index that a table has already, or that is being built: judged by its definition, validity and liveness.

Its name alone never says that it is ours.
"""

from __future__ import annotations

from dupe_audit.constraint.index import drop_index
from dupe_audit.constraint.work import ConstraintWork
from dupe_audit.errors import Blocked, Refused
from dupe_audit.findings import finding
from dupe_audit.model import IndexState
from dupe_audit.postgres import catalog
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import holders
from dupe_audit.postgres.patience import Patience
from dupe_audit.statements import literal, statement

#: milliseconds; age of a transaction that writes to a leaf, from which on other leaves are built first
LONG = 1_000


def settled(work: ConstraintWork) -> IndexState | None:
    """Return the valid index with our definition, or None if one has to be built.

    Adopts an index by its definition, waits for a live build, and drops an invalid leftover of our own.

    Raises:
        Refused: the name is taken by something else, or by an invalid index that is not ours.
    """
    return judged(work, work.state())


def judged(work: ConstraintWork, state: IndexState | None) -> IndexState | None:
    """Do what ``settled`` does, with a state that was just read.

    Raises:
        Refused: the name is taken by something else, or by an invalid index that is not ours.
    """
    # No build can be running for a valid index; an invalid one can have become valid since it was read.
    if not (state and state.valid) and (_wait_for_other_builds(work) or state):
        state = work.state()
    if state is None:
        return None
    require_same(work, state)
    if state.valid:
        return state
    if not work.is_building():
        raise Refused(
            [finding("invalid-index", work.index)], lead=f"The ledger has no record of a build of {work.index}."
        )
    drop_index(work)
    work.mark_not_building()
    return None


def require_same(work: ConstraintWork, state: IndexState) -> None:
    """Accept an index or constraint that fits the key.

    Raises:
        Refused: it is something else of that name.
    """
    if not state.same_definition or (state.constraint and not state.same_constraint_form):
        raise Refused(
            [catalog.wrong_definition(work.relation, state)],
            lead=f"{work.name} is the name of an index or constraint that does not fit the key. Nothing was built.",
        )


def require_quiet(work: ConstraintWork, before: int) -> None:
    """Require that no old transaction would hold up a build on a leaf: a build that has begun is not given up lightly.

    Args:
        before: how often that was required before. Each time, older ones pass: there may always be some.

    Raises:
        Blocked: one would, or another session is building an index.
    """
    relid = work.relation.relid
    if execute(
        work.connection, statement("long_writers", relid=str(relid), age=literal(f"{LONG * 2 ** min(before, 20)}ms"))
    ).first():
        raise Blocked(
            f"An index of {work.relation.name} would have to wait for other transactions. Locks on the table are held "
            f"by {holders(work.connection, relid)}. Wait for them or end them."
        )


def _wait_for_other_builds(work: ConstraintWork) -> bool:
    """Wait, but not forever: two concurrent builds on one table deadlock, 6 times of 6 (H55, measured).

    Returns:
        Whether there was a build to wait for.
    """
    patience, waited = Patience(work.rule.give_up_after, pause=0.5), False
    while pid := execute(work.connection, statement("builders", relid=str(work.relation.relid))).scalar():
        if patience.exhausted:
            raise Refused(
                [finding("live-build", pid, table=work.relation.name)],
                lead=f"Another index build on the table did not end within {work.rule.give_up_after}.",
            )
        waited = True
        patience.pause()
    return waited
