"""An invariant that cannot fail proves nothing: each objects to a violation that is planted by hand."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from torture.invariants import ALL_DONE, CHEAP, DEAR, TRUTH_OF_THE_INDEX, index_objections, objections
from torture.moving import PLAIN, move
from torture.mutants import LEDGER
from torture.world import FEW_KEYS, FEW_ROWS, NO_INDEX, fill, new_world
from torture.writers import ARRIVALS
from waiting import wait_for

EVERY = (*CHEAP, *DEAR)

#: the last row of the small world is an extra of the first
EXTRA, SURVIVOR = FEW_KEYS + 1, 1

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
    """The ledger, with one empty run."""
    world.run(LEDGER)


def logged(op, row, key):
    """Return the statement with which the application logs a change."""
    return f"INSERT INTO oplog (op, id, k, v) VALUES ('{op}', {row}, {key}, md5('{row - 1}'))"


def violations(world, invariants=EVERY):
    """Return the violations of the invariants as text."""
    return [str(objection) for objection in objections(world, invariants)]


def test_partition_that_arrives_hides_no_row(history_url):
    """A check that waits for a partition's lock sees the rows that have left it for a partition that arrived."""
    with new_world(history_url, "arrival", FEW_ROWS, tree=True) as world, world.connect() as application:
        application.execute(next(iter(ARRIVALS.values())).strip().removesuffix("COMMIT").encode())
        with ThreadPoolExecutor() as pool:
            checked = pool.submit(objections, world, ("conservation",))
            wait_for(lambda: world.ask("SELECT count(*) > 0 FROM pg_locks WHERE NOT granted") == [True])
            application.execute("COMMIT")
            assert [] == checked.result()
        assert world.ask("SELECT count(*) > 0 FROM tt_7") == [True]


def test_sound_world_is_not_objected_to(world):
    """A row that was archived while its survivor held its key, and then restored, violates nothing."""
    assert [] == violations(world)
    world.run(ARCHIVE)
    assert [] == violations(world)
    world.run(RESTORE)
    assert [] == violations(world)


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
@pytest.mark.representatives("DELETE FROM tt WHERE id = 5*", "UPDATE tt SET k = 9*")
def test_conservation_objects(world, violation, words):
    """A row that is lost, appears from nowhere, reappears, or has old data violates conservation."""
    world.run(violation)
    assert [f"conservation: {words}"] == violations(world)


@pytest.mark.parametrize(
    ("violation", "words"),
    [
        (f"UPDATE dupe_audit.archive_1 SET v = 'older' WHERE id = {EXTRA}", "has lost its last update, in archive 1"),
        ("INSERT INTO tt SELECT id, k, v, pad FROM dupe_audit.archive_1", "is in the table and archive 1"),
    ],
)
def test_conservation_looks_into_the_archive(world, violation, words):
    """An archived row that has old data, or is in the table, too, violates conservation."""
    world.run(ARCHIVE, violation)
    assert [f"conservation: row {EXTRA} {words}"] == violations(world)


@pytest.mark.parametrize(
    ("violation", "words"),
    [
        (("DELETE FROM tt WHERE id = 1", logged("delete", 1, 1)), "had been deleted"),
        (("UPDATE tt SET k = 777 WHERE id = 1", logged("key", 1, 777)), "had another key"),
    ],
)
def test_last_copy_objects(world, violation, words):
    """A row that was archived after its survivor was deleted or changed its key violates last copy."""
    world.run(*violation, ARCHIVE)
    assert f"last copy: row {EXTRA} was archived when its survivor {SURVIVOR} {words}" in violations(world)


def test_last_copy_objects_to_a_survivor_in_the_archive(world):
    """A survivor that is itself in the archive is not a survivor."""
    world.run(ARCHIVE.replace(f"id = {EXTRA}", f"id = {SURVIVOR}").replace(f"{SURVIVOR}, number", f"{EXTRA}, number"))
    assert [] == violations(world)
    world.run(ARCHIVE)
    assert [f"last copy: row {EXTRA} was archived when its survivor {SURVIVOR} had been archived itself"] == violations(
        world
    )


def test_still_a_duplicate_objects(world):
    """A row that had another key than its survivor when it was archived violates still a duplicate."""
    world.run(f"UPDATE tt SET k = 777 WHERE id = {EXTRA}", logged("key", EXTRA, 777), ARCHIVE)
    violation = f"still a duplicate: row {EXTRA} had key 777 when it was archived, and its survivor {SURVIVOR} had 1"
    assert violation in violations(world, ("still a duplicate",))


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
    """A claim that the key is enforced is false without a constraint, and with duplicates."""
    world.run(violation)
    faults = ("there is no unique index", "1 duplicates are in the table")
    assert [f"truth of the claim: {words}, but {fault}" for fault in faults] == violations(world, CHEAP)
    world.run(f"DELETE FROM tt WHERE id = {EXTRA}", "ALTER TABLE tt ADD CONSTRAINT tt_unique UNIQUE (k)")
    assert [] == violations(world, ("truth of the claim",))


def test_truth_of_the_claim_asks_for_validity(world):
    """An index whose build failed does not count as the constraint."""
    with pytest.raises(Exception, match="could not create unique index"):
        world.run("CREATE UNIQUE INDEX CONCURRENTLY tt_unique ON tt (k)")
    world.run("UPDATE course SET promised = true")
    assert "truth of the claim: the program ended without an error, but its index is not valid" in violations(world)


def test_version_claims_nothing_on_the_way_down(world):
    """A downgrade removes the version last, so during a downgrade the version is not a claim."""
    world.run("CREATE TABLE alembic_version AS SELECT 'one' AS version_num", "UPDATE course SET direction = 'down'")
    assert [] == violations(world, ("truth of the claim",))


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
@pytest.mark.representatives("UPDATE dupe_audit.batch SET archived*", "DELETE FROM dupe_audit.archive_1")
def test_ledger_agrees_objects(world, violation):
    """A run, its batches and its archive have to agree on the numbers."""
    world.run(ARCHIVE)
    assert [] == violations(world, ("ledger agrees",))
    world.run(violation)
    assert len(violations(world, ("ledger agrees",))) == 1


def test_unfinished_index_has_to_be_in_the_ledger(world):
    """An invalid index that the ledger does not have as ours is a violation."""
    with pytest.raises(Exception, match="could not create unique index"):
        world.run("CREATE UNIQUE INDEX CONCURRENTLY tt_unique ON tt (k)")
    assert ["ledger agrees: an unfinished index exists, and the ledger has no build"] == violations(world)
    world.run("UPDATE dupe_audit.run SET building = true")
    assert [] == violations(world)


def test_all_done_objects(world):
    """Each piece of work that a command left unfinished, although it ended well, is a violation."""
    world.run("CREATE TABLE dupe_audit.stage_1 ()", "UPDATE dupe_audit.run SET building = true")
    assert [
        "all done: the staged list stage_1 was left",
        "all done: run 1 is cleaning and builds",
        "all done: no run is enforced",
        "all done: no version is stamped",
    ] == violations(world, (ALL_DONE,))
    world.run("DROP TABLE dupe_audit.stage_1", "UPDATE dupe_audit.run SET building = false", ARCHIVE)
    world.run("UPDATE course SET direction = 'down'", "ALTER TABLE tt ADD CONSTRAINT tt_unique UNIQUE (k)")
    assert [
        "all done: run 1 is cleaning, 1 archived, 0 restored",
        "all done: the index still exists",
    ] == violations(world, (ALL_DONE,))


FOLLOWED = f"""
CREATE TABLE dupe_audit.children_1_1 AS SELECT 1::bigint AS i1, {EXTRA}::bigint AS o1, {SURVIVOR}::bigint AS s1,
    NULL::timestamptz AS dupe_audit_returned_at
"""


@pytest.fixture
def child(world):
    """A child of the extra that has followed the survivor, as the record says."""
    world.run(
        f"INSERT INTO child VALUES (1, {SURVIVOR}, 'note')",
        f"INSERT INTO childlog (op, id, parent, note) VALUES ('insert', 1, {EXTRA}, 'note')",
        FOLLOWED,
    )


def test_child_that_followed_is_not_objected_to(world, child):
    """A child at the survivor is in its place as long as the record says that it was moved there."""
    assert [] == violations(world)


@pytest.mark.parametrize(
    ("violation", "words"),
    [
        ("DELETE FROM child", "is lost"),
        (f"DELETE FROM tt WHERE id = {SURVIVOR}", "is lost"),
        ("UPDATE child SET note = 'older'", "has lost its last update"),
        ("DROP TABLE dupe_audit.children_1_1", f"belongs to {EXTRA}, and is at {SURVIVOR}"),
        ("UPDATE dupe_audit.children_1_1 SET s1 = 5", f"belongs to {EXTRA}, and is at {SURVIVOR}"),
        (
            "UPDATE dupe_audit.children_1_1 SET dupe_audit_returned_at = now()",
            f"belongs to {EXTRA}, and is at {SURVIVOR}",
        ),
        ("DELETE FROM childlog", "was never inserted"),
        ("INSERT INTO childlog (op, id) VALUES ('delete', 1)", "was deleted, and exists"),
    ],
)
@pytest.mark.representatives(
    "DELETE FROM child-is lost", "UPDATE child*", "DROP TABLE dupe_audit.children_1_1*", "DELETE FROM childlog*"
)
def test_children_follow_objects(world, child, violation, words):
    """A child that is lost, has lost an update, or has a parent that no record names violates children follow."""
    world.run(violation)
    assert f"children follow: child 1 {words}" in violations(world)


def test_child_that_did_not_return_is_objected_to(world, child):
    """After the way down a child is at its own parent again, if that exists."""
    world.run("UPDATE course SET direction = 'down'")
    violation = f"all done: child 1 is still at {SURVIVOR}, not at {EXTRA}"
    assert violation in violations(world, (ALL_DONE,))
    world.run(f"UPDATE child SET parent = {EXTRA}")
    assert violation not in violations(world, (ALL_DONE,))


def test_truth_of_the_index_objects(world):
    """A valid index that misses a row, and so hides a duplicate, is a violation; with amcheck it is found twice."""
    world.run(f"DELETE FROM tt WHERE id = {EXTRA}", "CREATE UNIQUE INDEX tt_unique ON tt (k)")
    with world.connect(options=NO_INDEX) as connection:
        assert [] == index_objections(connection)
        ready = "UPDATE pg_index SET indisready = {} WHERE indexrelid = 'tt_unique'::regclass"
        world.run(ready.format(False), "INSERT INTO tt (k, v) VALUES (1, 'hidden')", ready.format(True))
        raised = index_objections(connection)
    assert raised
    assert {TRUTH_OF_THE_INDEX} == {objection.invariant for objection in raised}
    assert "1 keys exist more than once" in raised[0].violation
    if world.ask("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'") == [1]:
        assert "lacks matching index tuple" in raised[1].violation


def test_index_that_is_not_valid_is_not_judged(world):
    """Only a valid index promises anything."""
    with world.connect(options=NO_INDEX) as connection:
        assert index_objections(connection) is None


def test_history_survives_a_dump(world, programs):
    """In a restored database, nothing that was right before is reported, and everything that was wrong still is."""
    deleted = (f"DELETE FROM tt WHERE id = {SURVIVOR}", logged("delete", SURVIVOR, 1))
    world.run(ARCHIVE, *deleted)
    assert [] == violations(world)
    move(world, programs, PLAIN)
    assert [] == violations(world)
    world.run(RESTORE, f"INSERT INTO tt (id, k, v) VALUES ({FEW_KEYS + 2}, 1, 'new')", "SELECT note_moments()")
    world.run(f"INSERT INTO oplog (op, id, k, v) VALUES ('insert', {FEW_KEYS + 2}, 1, 'new')")
    archive = ARCHIVE.replace("archive_1 SELECT", "archive_2 SELECT").replace("VALUES (1, 1", "VALUES (2, 1")
    world.run("CREATE TABLE dupe_audit.archive_2 (LIKE dupe_audit.archive_1)", archive)
    words = f"last copy: row {EXTRA} was archived when its survivor {SURVIVOR} had been deleted"
    assert words in violations(world)
    move(world, programs, PLAIN)
    assert words in violations(world)


@pytest.fixture
def live_world(world):
    """The small world with the partial key; its first key has an extra in other letters, and one that is not live."""
    world.run("DROP SCHEMA dupe_audit CASCADE", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with world.connect() as connection:
        fill(connection, FEW_KEYS + 1, FEW_KEYS, partial=True)
    world.run(LEDGER, f"UPDATE tt SET live = true WHERE id IN ({SURVIVOR}, {EXTRA})")
    world.run("INSERT INTO oplog (op, id, k, v, live) SELECT 'live', id, k, v, live FROM tt")
    return world


def test_keys_in_other_letters_are_equal_in_the_live_world(live_world):
    """A live row may be archived when a live row has its key in other letters."""
    live_world.run(ARCHIVE)
    assert [] == violations(live_world)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (SURVIVOR, f"last copy: row {EXTRA} was archived when its survivor {SURVIVOR} had left the predicate"),
        (
            EXTRA,
            f"still a duplicate: row {EXTRA} had key none when it was archived, and its survivor {SURVIVOR} had key 1",
        ),
    ],
)
def test_leaving_the_predicate_is_objected_to(live_world, row, words):
    """A survivor or an extra that was not live when the extra was archived is a violation."""
    live_world.run(f"UPDATE tt SET live = false WHERE id = {row}")
    live_world.run(f"INSERT INTO oplog (op, id, k, v, live) SELECT 'live', id, k, v, live FROM tt WHERE id = {row}")
    live_world.run(ARCHIVE.replace("SELECT id, k, v, pad, 1, number", "SELECT id, k, v, pad, 1, number, NULL, live"))
    assert words in violations(live_world)


def test_claim_asks_for_the_index_of_the_key(live_world):
    """Only the index over the expression and the predicate keeps the promise of the partial key."""
    live_world.run(f"DELETE FROM tt WHERE id = {EXTRA}", "UPDATE course SET promised = true")
    live_world.run("CREATE UNIQUE INDEX tt_unique ON tt (k)")
    words = "truth of the claim: the program ended without an error, but its index is not the one of the key"
    assert [words] == violations(live_world, ("truth of the claim",))
    live_world.run("DROP INDEX tt_unique", "CREATE UNIQUE INDEX tt_unique ON tt (lower(k)) WHERE live")
    assert [] == violations(live_world, ("truth of the claim",))


@pytest.fixture
def tree_world(world):
    """The small world with a tree, which has no child."""
    world.run("DROP SCHEMA dupe_audit CASCADE", "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
    with world.connect() as connection:
        fill(connection, FEW_KEYS + 1, FEW_KEYS, tree=True)
    world.run(LEDGER)
    return replace(world, tree=True)


def test_row_in_a_wrong_leaf_is_objected_to(tree_world):
    """A row that the server would look for in another leaf is a violation."""
    assert [] == violations(tree_world)
    bounds = "k >= '3' AND k < '4'"
    tree_world.run(
        "ALTER TABLE tt DETACH PARTITION tt_3",
        "UPDATE tt_3 SET k = '19' WHERE id = 3",
        "INSERT INTO oplog (op, id, k, v) SELECT 'key', id, k, v FROM tt_3 WHERE id = 3",
        f"ALTER TABLE tt_3 ADD CONSTRAINT in_bounds CHECK (k IS NOT NULL AND {bounds}) NOT VALID",
        # Believed, as after an upgrade of the library that compares strings.
        "UPDATE pg_constraint SET convalidated = true WHERE conname = 'in_bounds'",
        "ALTER TABLE tt ATTACH PARTITION tt_3 FOR VALUES FROM ('3') TO ('4')",
    )
    assert ["in its leaf: row 3 is in tt_3, where it does not belong"] == violations(tree_world)


def test_parts_of_an_index_are_objected_to(tree_world):
    """A leaf without its part of the index, a part that is left, and an invalid one that the ledger lacks are found."""
    tree_world.run("CREATE UNIQUE INDEX leftover ON tt_3 (k)", "UPDATE course SET direction = 'down'")
    assert "all done: tt_3 still has leftover" in violations(tree_world, (ALL_DONE,))
    tree_world.run("UPDATE course SET direction = 'up'")
    missing = [text for text in violations(tree_world, (ALL_DONE,)) if "no valid part" in text]
    assert 13 == len(missing)
    tree_world.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'leftover'::regclass")
    words = "ledger agrees: an unfinished index of tt_3 exists, and the ledger has no build"
    assert [words] == violations(tree_world)
