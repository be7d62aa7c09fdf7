"""Where rows are amended and values merged, each invariant objects to a violation that is planted by hand."""

from dataclasses import replace

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.model import UniqueKey
from dupe_audit.restore import restore
from torture.invariants import ALL_DONE, CHEAP, DEAR, objections
from torture.policies import AMEND, MERGE, rule
from torture.world import FEW_KEYS, fill

#: the last row of the small world is an extra of the first
EXTRA, SURVIVOR = FEW_KEYS + 1, 1

#: what the application's own function does to a row, log included
APPLICATION = "SELECT change_row('{}', {}, '{}', 'token')"

#: what is not logged
OF_SURVIVOR = f"UPDATE tt SET hits = hits + 1 WHERE id = {SURVIVOR}"


def changed(world, policy):
    """Return the world after a cleanup with a policy."""
    world.run("DROP SCHEMA IF EXISTS dupe_audit CASCADE", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with world.connect() as connection:
        fill(connection, FEW_KEYS + 1, FEW_KEYS, policy=policy)
    engine = create_engine(world.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        list(cleanup(connection, UniqueKey(table="tt", columns=("k",)), rule(policy, 100, partial=False)))
    return replace(world, policy=policy)


def restored(world):
    """Restore the run, and leave what cannot be restored."""
    world.run("UPDATE course SET direction = 'down'", "UPDATE dupe_audit.run SET state = 'dropped'")
    engine = create_engine(world.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        list(restore(connection, 1))


def violations(world, invariants=(*CHEAP, *DEAR)):
    """Return the violations of the invariants as text."""
    return [str(objection) for objection in objections(world, invariants)]


@pytest.mark.parametrize("policy", [MERGE, AMEND])
@pytest.mark.representatives("merge")
def test_changed_world_is_not_objected_to(world, policy):
    """Rows that a run has changed, and that the application has changed after it, violate nothing."""
    world = changed(world, policy)
    assert [] == violations(world)
    row = {MERGE: SURVIVOR, AMEND: EXTRA}[policy]
    world.run(*(APPLICATION.format(kind, row, "key 7") for kind in ("hits", "status", "key", "delete")))
    assert [] == violations(world)


@pytest.mark.parametrize("policy", [MERGE, AMEND])
@pytest.mark.representatives("amend")
def test_restored_world_is_not_objected_to(world, policy):
    """Rows that were changed back violate nothing, and the totals are those that the application wrote."""
    world = changed(world, policy)
    restored(world)
    assert [] == violations(world)
    assert [] == violations(world, (ALL_DONE,))


@pytest.mark.parametrize(
    ("policy", "violation", "words"),
    [
        (MERGE, OF_SURVIVOR, f"conservation: row {SURVIVOR} is lost, or has lost its last update"),
        (MERGE, OF_SURVIVOR, "totals agree: the table has"),
        (MERGE, f"DELETE FROM tt WHERE id = {SURVIVOR}", f"conservation: row {SURVIVOR} is lost"),
        (
            MERGE,
            "UPDATE dupe_audit.after_1 SET hits = hits + 1",
            f"as the rule says: row {SURVIVOR} has",
        ),
        (
            MERGE,
            "DELETE FROM dupe_audit.archive_1 WHERE dupe_audit_kind = 'merged'",
            f"as the rule says: row {SURVIVOR} has not taken over",
        ),
        (MERGE, "UPDATE dupe_audit.run SET merged = 2", "ledger agrees: run 1"),
        (MERGE, "UPDATE dupe_audit.batch SET reverted = 1", "ledger agrees: run 1"),
        (AMEND, f"UPDATE tt SET status = 'new' WHERE id = {EXTRA}", f"conservation: row {EXTRA} is lost"),
        (AMEND, "UPDATE dupe_audit.archive_1 SET v = 'older'", f"conservation: row {EXTRA} is where it was never"),
        (AMEND, "UPDATE dupe_audit.archive_1 SET status = 'older'", f"as the rule says: row {EXTRA} has a status"),
        (AMEND, "UPDATE dupe_audit.archive_1 SET k = 'other'", f"as the rule says: row {EXTRA} has a key"),
        (AMEND, "UPDATE dupe_audit.archive_1 SET hits = 0", f"as the rule says: row {EXTRA} has another counter"),
    ],
)
@pytest.mark.representatives(
    "merge-UPDATE tt SET hits = hits + 1 WHERE id = 1-conservation*", "merge-DELETE FROM dupe_audit.archive_1*"
)
def test_planted_violation_is_objected_to(world, policy, violation, words):
    """A lost update, a wrong total, a change that the rule does not make, and a wrong sum are violations."""
    world = changed(world, policy)
    world.run(violation)
    assert [text for text in violations(world) if text.startswith(words)]


def test_row_without_a_true_reason_is_objected_to(world):
    """A row that was not changed back needs a reason, and the application has to have changed it."""
    world = changed(world, MERGE)
    restored(world)
    world.run(
        "UPDATE dupe_audit.archive_1 "
        "SET dupe_audit_restored_at = NULL, dupe_audit_problem = 'the row was changed since' "
        "WHERE dupe_audit_kind = 'merged'",
        "UPDATE dupe_audit.run SET state = 'dropped'",
    )
    violation = (
        f"all done: row {SURVIVOR} is not what it was before it was merged, and the reason is the row was changed"
    )
    assert [text for text in violations(world, (ALL_DONE,)) if text.startswith(violation)]
