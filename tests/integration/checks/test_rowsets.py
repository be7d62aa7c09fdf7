"""Rows are compared by what they hold, whatever happened to their table in between."""

import pytest

from dupe_audit.schema.rowsets import lost_and_gained, take
from dupe_audit.schema.snapshot import snapshot


@pytest.mark.parametrize(
    ("meanwhile", "differs"),
    [
        ("CREATE TABLE u AS SELECT b, a FROM t; DROP TABLE t; ALTER TABLE u RENAME TO t", {}),
        ("DELETE FROM t WHERE a = 2", {"public.t": (1, 0)}),
        ("INSERT INTO t VALUES (1, 'x')", {"public.t": (0, 1)}),
        ("UPDATE t SET b = NULL WHERE a = 3", {"public.t": (1, 1)}),
        ("ALTER TABLE t DROP COLUMN b", {"public.t": (3, 3)}),
        ("DROP TABLE t", {"public.t": (3, 0)}),
    ],
    ids=["made anew", "deleted", "a second copy", "changed", "a column gone", "the table gone"],
)
def test_rows_that_are_lost_and_gained(conn, sql, meanwhile, differs):
    """A table that was made anew with the same rows is the same; every row that is missing or new is counted."""
    sql("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')")
    tables = snapshot(conn).tables
    before = take(conn, tables)
    sql(meanwhile)
    assert differs == lost_and_gained(before, take(conn, tables))
