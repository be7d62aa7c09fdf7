"""verify compares each leaf of a partitioned table with its index by amcheck."""

import pytest
from sqlalchemy import event

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import trees
from dupe_audit.verify import parts, verify

KEY = UniqueKey(table="t", columns=("k", "r"), name="uq")
TREE = """
CREATE TABLE t (id int, k int, r int, PRIMARY KEY (id, r)) PARTITION BY RANGE (r);
CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (10);
CREATE TABLE t_b PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY LIST (r);
CREATE TABLE t_b1 PARTITION OF t_b FOR VALUES IN (11);
CREATE TABLE t_b2 PARTITION OF t_b DEFAULT;
INSERT INTO t VALUES (1, 7, 1), (2, 7, 1), (3, 7, 11), (4, 7, 11), (5, 7, 12)
"""
#: a leaf, and a row for it that is no duplicate
ROWS = {"t_a": "(60, 6, 1)", "t_b1": "(61, 6, 11)", "t_b2": "(62, 6, 12)"}


@pytest.fixture
def enforced(sql, conn):
    """Create a tree without duplicates and its constraint."""
    if not sql("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'"):
        pytest.skip("the server has no amcheck")
    sql(TREE)
    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())


@pytest.fixture
def mislead(sql):
    """Return a function that inserts a row into a leaf whose index does not get it."""

    def plant(leaf):
        index = f"(SELECT indexrelid FROM pg_index WHERE indrelid = '{leaf}'::regclass AND NOT indisprimary)"
        sql(f"UPDATE pg_index SET indisready = false WHERE indexrelid = {index}")
        sql(f"INSERT INTO {leaf} VALUES {ROWS[leaf]}")
        sql(f"UPDATE pg_index SET indisready = true WHERE indexrelid = {index}")

    return plant


def ids(report):
    """Return the ids of a report's findings."""
    return [f.id for f in report.findings]


def test_sound_leaves(conn, enforced):
    """A tree whose leaf indexes have every row is verified without findings."""
    report = verify(conn, KEY)
    assert (report.ok, ids(report)) == (True, [])


@pytest.mark.parametrize("most_bytes", [trees.MOST_BYTES, 0], ids=["together", "alone"])
def test_misled_leaves(sql, conn, enforced, mislead, monkeypatch, most_bytes):
    """Each leaf whose index lacks a row is reported by the name of that index, also if leaves are read together."""
    monkeypatch.setattr(trees, "MOST_BYTES", most_bytes)
    mislead("t_a")
    mislead("t_b2")
    report = verify(conn, KEY)
    assert (report.ok, report.extras, ids(report)) == (False, 0, ["index-corrupt", "index-corrupt"])
    names = "SELECT conname FROM pg_constraint WHERE conrelid IN ('t_a'::regclass, 't_b2'::regclass) AND contype = 'u'"
    assert all(
        f'"{name}"' in each.message
        for (name,), each in zip(sql(f"{names} ORDER BY conname"), report.findings, strict=True)
    )


def test_tree_without_amcheck(sql, conn, enforced, mislead):
    """Without amcheck the report says, once, that the indexes of the leaves were not compared."""
    mislead("t_a")
    sql("DROP EXTENSION amcheck")
    report = verify(conn, KEY)
    assert (report.ok, ids(report)) == (True, ["amcheck-missing"])


def test_small_leaves_are_compared_together(conn, enforced):
    """Small leaves without damage cost one statement of amcheck, however many they are."""
    statements = []
    event.listen(conn.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    verify(conn, KEY)
    assert 1 == sum("bt_index_check" in text for text in statements if "i.oid" in text)


@pytest.mark.parametrize("statement", ["DROP TABLE t_b1", "ALTER TABLE t_b DETACH PARTITION t_b1"])
def test_leaf_that_leaves_before_it_is_compared(sql, conn, enforced, monkeypatch, statement):
    """A leaf that is dropped or detached while the others are compared is left out of the comparison."""
    original, left = parts.handfuls, []

    def leaves_first(*args):
        for handful in original(*args):
            if not left:
                left.append(sql(statement))
            yield handful

    monkeypatch.setattr(parts, "handfuls", leaves_first)
    report = verify(conn, KEY)
    assert (len(left), report.ok, ids(report)) == (1, True, [])
