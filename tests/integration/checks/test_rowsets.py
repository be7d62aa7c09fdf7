"""Rows are compared by their values, whatever happened to their table in between."""

import pytest

from dupe_audit.schema.rowsets import digest_rows, lost_and_gained
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
    ids=["re-created", "deleted", "a second copy", "changed", "a column dropped", "the table dropped"],
)
def test_rows_that_are_lost_and_gained(conn, sql, meanwhile, differs):
    """A table that was re-created with the same rows does not differ; every missing or new row is counted."""
    sql("CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')")
    tables = snapshot(conn).tables
    before = digest_rows(conn, tables)
    sql(meanwhile)
    assert differs == lost_and_gained(before, digest_rows(conn, tables))
