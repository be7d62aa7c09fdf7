"""An invariant that cannot fail proves nothing: each of them objects to a violation planted by hand."""

import pytest

from torture.invariants import ALL_DONE, CHEAP, DEAR, TRUTH_OF_THE_INDEX, index_objections, objections
from torture.mutants import LEDGER
from torture.world import KEYS, NO_INDEX

EVERY = (*CHEAP, *DEAR)

#: the last row of the world below is an extra of the first
EXTRA, SURVIVOR = KEYS + 1, 1

ARCHIVE = f"""
WITH entered AS (
    INSERT INTO dupe_audit.batch (run_id, archived, restored) VALUES (1, 1, 0) RETURNING number
), counted AS (
    UPDATE dupe_audit.run SET archived = archived + 1
), gone AS (
    DELETE FROM tt WHERE id = {EXTRA} RETURNING *
)
INSERT INTO dupe_audit.archive_1 SELECT id, k, v, pad, {SURVIVOR}, number FROM gone, entered
"""
RESTORE = """
WITH put AS (INSERT INTO tt SELECT id, k, v, pad FROM dupe_audit.archive_1),
     counted AS (UPDATE dupe_audit.run SET restored = restored + 1),
     entered AS (INSERT INTO dupe_audit.batch (run_id, archived, restored) VALUES (1, 0, 1))
UPDATE dupe_audit.archive_1 SET dupe_audit_restored_at = clock_timestamp()
"""


@pytest.fixture(autouse=True)
def _ledger(world):
    """The ledger, with a run and nothing in it."""
    world.run(LEDGER)


def logged(op, row, key):
    """Return the statement with which the application logs a change."""
    return f"INSERT INTO oplog (op, id, k, v) VALUES ('{op}', {row}, {key}, md5('{row - 1}'))"


def told(world, invariants=EVERY):
    """Return what the invariants say, as text."""
    return [str(objection) for objection in objections(world, invariants)]


def test_sound_world_is_not_objected_to(world):
    """A row that was archived while its survivor held its key, and then restored, breaks nothing."""
    assert [] == told(world)
    world.run(ARCHIVE)
    assert [] == told(world)
    world.run(RESTORE)
    assert [] == told(world)


@pytest.mark.parametrize(
    ("violation", "words"),
    [
        ("DELETE FROM tt WHERE id = 5", "row 5 is lost"),
        ("INSERT INTO tt (id, k, v) VALUES (99999, 1, 'x')", "row 99999 was never inserted, and is in the table"),
        (logged("delete", 5, 6), "row 5 was deleted, and is in the table"),
        ("UPDATE tt SET v = 'older' WHERE id = 5", "row 5 has lost its last update, in the table"),
        ("UPDATE tt SET k = 9 WHERE id = 5", "row 5 has lost its last update, in the table"),
    ],
)
def test_conservation_objects(world, violation, words):
    """A row that is lost, comes from nowhere, comes back, or carries old data is objected to."""
    world.run(violation)
    assert [f"conservation: {words}"] == told(world)


@pytest.mark.parametrize(
    ("violation", "words"),
    [
        (f"UPDATE dupe_audit.archive_1 SET v = 'older' WHERE id = {EXTRA}", "has lost its last update, in archive 1"),
        ("INSERT INTO tt SELECT id, k, v, pad FROM dupe_audit.archive_1", "is in the table and archive 1"),
    ],
)
def test_conservation_looks_into_the_archive(world, violation, words):
    """An archived row that carries old data, or is in the table too, is objected to."""
    world.run(ARCHIVE, violation)
    assert [f"conservation: row {EXTRA} {words}"] == told(world)


@pytest.mark.parametrize(
    ("violation", "words"),
    [
        (("DELETE FROM tt WHERE id = 1", logged("delete", 1, 1)), "had been deleted"),
        (("UPDATE tt SET k = 777 WHERE id = 1", logged("key", 1, 777)), "had another key"),
    ],
)
def test_last_copy_objects(world, violation, words):
    """A row that was archived after its survivor had gone or changed its key is objected to."""
    world.run(*violation, ARCHIVE)
    assert f"last copy: row {EXTRA} was archived when its survivor {SURVIVOR} {words}" in told(world)


def test_last_copy_objects_to_a_survivor_in_the_archive(world):
    """A survivor that is in the archive itself is no survivor."""
    world.run(ARCHIVE.replace(f"id = {EXTRA}", f"id = {SURVIVOR}").replace(f"{SURVIVOR}, number", f"{EXTRA}, number"))
    assert [] == told(world)
    world.run(ARCHIVE)
    assert [f"last copy: row {EXTRA} was archived when its survivor {SURVIVOR} had been archived itself"] == told(world)


def test_still_a_duplicate_objects(world):
    """A row that had another key than its survivor when it was archived is objected to."""
    world.run(f"UPDATE tt SET k = 777 WHERE id = {EXTRA}", logged("key", EXTRA, 777), ARCHIVE)
    said = f"still a duplicate: row {EXTRA} had key 777 when it was archived, and its survivor {SURVIVOR} had 1"
    assert said in told(world, ("still a duplicate",))


@pytest.mark.parametrize(
    ("violation", "words"),
    [
        ("UPDATE dupe_audit.run SET state = 'enforced'", "run 1 says enforced"),
        ("UPDATE course SET promised = true", "the program ended without an error"),
        (
            "CREATE TABLE alembic_version AS SELECT 'one' AS version_num",
            "the version is stamped",
        ),
    ],
)
def test_truth_of_the_claim_objects(world, violation, words):
    """Whoever says enforced where there is no constraint, or where there are duplicates, is objected to."""
    world.run(violation)
    faults = ("there is no unique index", "1 duplicates are in the table")
    assert [f"truth of the claim: {words}, but {fault}" for fault in faults] == told(world, CHEAP)
    world.run(f"DELETE FROM tt WHERE id = {EXTRA}", "ALTER TABLE tt ADD CONSTRAINT tt_unique UNIQUE (k)")
    assert [] == told(world, ("truth of the claim",))


def test_truth_of_the_claim_asks_for_validity(world):
    """An index that failed is not taken for the constraint."""
    with pytest.raises(Exception, match="could not create unique index"):
        world.run("CREATE UNIQUE INDEX CONCURRENTLY tt_unique ON tt (k)")
    world.run("UPDATE course SET promised = true")
    assert "truth of the claim: the program ended without an error, but its index is not valid" in told(world)


def test_version_claims_nothing_on_the_way_down(world):
    """A downgrade takes the version away last, so while it is on its way the version is no claim."""
    world.run("CREATE TABLE alembic_version AS SELECT 'one' AS version_num", "UPDATE course SET direction = 'down'")
    assert [] == told(world, ("truth of the claim",))


@pytest.mark.parametrize(
    "violation",
    [
        "UPDATE dupe_audit.run SET archived = archived + 1",
        "UPDATE dupe_audit.batch SET archived = 7",
        "UPDATE dupe_audit.batch SET number = DEFAULT",
        "UPDATE dupe_audit.run SET restored = 1",
        "DELETE FROM dupe_audit.archive_1",
        "DELETE FROM dupe_audit.batch; DELETE FROM dupe_audit.run",
    ],
)
def test_ledger_agrees_objects(world, violation):
    """A run, its batches and its archive that do not tell the same number are objected to."""
    world.run(ARCHIVE)
    assert [] == told(world, ("ledger agrees",))
    world.run(violation)
    assert len(told(world, ("ledger agrees",))) == 1


def test_unfinished_index_has_to_be_in_the_ledger(world):
    """An invalid index that the ledger does not know to be ours is objected to."""
    with pytest.raises(Exception, match="could not create unique index"):
        world.run("CREATE UNIQUE INDEX CONCURRENTLY tt_unique ON tt (k)")
    assert ["ledger agrees: an unfinished index is there, and the ledger knows of no build"] == told(world)
    world.run("UPDATE dupe_audit.run SET building = true")
    assert [] == told(world)


def test_all_done_objects(world):
    """What a command that ended well left half done is objected to, piece by piece."""
    world.run("CREATE TABLE dupe_audit.stage_1 ()", "UPDATE dupe_audit.run SET building = true")
    assert [
        "all done: the staged list stage_1 was left",
        "all done: run 1 is cleaning and builds",
        "all done: no run is enforced",
        "all done: no version is stamped",
    ] == told(world, (ALL_DONE,))
    world.run("DROP TABLE dupe_audit.stage_1", "UPDATE dupe_audit.run SET building = false", ARCHIVE)
    world.run("UPDATE course SET direction = 'down'", "ALTER TABLE tt ADD CONSTRAINT tt_unique UNIQUE (k)")
    assert [
        "all done: run 1 is cleaning, 1 archived, 0 restored",
        "all done: the index is still there",
    ] == told(world, (ALL_DONE,))


def test_truth_of_the_index_objects(world):
    """A valid index that misses a row, and so hides a duplicate, is objected to, twice where amcheck is installed."""
    world.run(f"DELETE FROM tt WHERE id = {EXTRA}", "CREATE UNIQUE INDEX tt_unique ON tt (k)")
    with world.connect(options=NO_INDEX) as connection:
        assert [] == index_objections(connection)
        ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'tt_unique'::regclass"
        world.run(ready.format(False), "INSERT INTO tt (k, v) VALUES (1, 'hidden')", ready.format(True))
        found = index_objections(connection)
    assert found
    assert {TRUTH_OF_THE_INDEX} == {objection.invariant for objection in found}
    assert "1 keys are there more than once" in found[0].what
    if world.ask("SELECT FROM pg_extension WHERE extname = 'amcheck'") or len(found) > 1:
        assert "lacks matching index tuple" in found[1].what


def test_index_that_is_not_valid_is_not_judged(world):
    """Only a valid index promises anything."""
    with world.connect(options=NO_INDEX) as connection:
        assert index_objections(connection) is None
