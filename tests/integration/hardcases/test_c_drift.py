"""Hard cases C: the table, its columns or its server change between two steps."""

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.errors import DupeAuditError
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k",), name="uq")


def test_h69_table_re_created_between_steps_gets_its_own_run(sql, conn, dump):
    """A table re-created under the same name gets its own run; rows of the old one are restored to the old one."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    before = dump("t")
    list(cleanup(conn, KEY, CleanupRule()))
    sql("ALTER TABLE t RENAME TO old; CREATE TABLE t (LIKE old); INSERT INTO t VALUES (1, 1), (2, 2)")
    enforce(conn, KEY, BuildRule())
    assert [("t",)] == sql("SELECT conrelid::regclass::text FROM pg_constraint WHERE conname = 'uq'")
    assert [(1, "old"), (2, "t")] == sql("SELECT id, relid::regclass::text FROM dupe_audit.run ORDER BY id")
    list(restore(conn, 1))
    assert before == dump("old")


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE t DROP COLUMN k; ALTER TABLE t ADD COLUMN k text DEFAULT 'a'",
        "ALTER TABLE t ALTER COLUMN k TYPE varchar(9)",
        "ALTER TABLE t RENAME COLUMN k TO k2; ALTER TABLE t RENAME COLUMN v TO k",
    ],
    ids=["dropped and added", "another type", "swapped"],
)
def test_h70_replaced_key_column_stops_the_run(sql, conn, live, change):
    """If the key's column is replaced between two batches, no row is judged by the ranking of the old column."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text, v text)")
    sql("INSERT INTO t VALUES (1, 'a', 'x'), (2, 'a', 'x'), (3, 'a', 'x')")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1))
    next(batches)
    sql(change)
    with pytest.raises((DupeAuditError, DBAPIError)):
        list(batches)
    assert [1, 3] == live()


def test_h70_rows_that_a_new_collation_distinguishes_stay(sql, conn, live):
    """Rows that are no longer equal under a new collation are spared by the batches that follow."""
    try:
        sql("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("the server has no ICU")
    sql("CREATE TABLE t (id int PRIMARY KEY, k text COLLATE loose); INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'A')")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1, divergent="archive"), give_up_after="5min")
    next(batches)
    sql('ALTER TABLE t ALTER COLUMN k TYPE text COLLATE "C"')
    list(batches)
    assert [("A",), ("a",)] == sql('SELECT k FROM t ORDER BY k COLLATE "C"')


def test_h72_run_without_plpgsql_deletes_nothing(sql, conn, live):
    """If PL/pgSQL cannot be loaded, as after an upgrade of the server's programs, the run deletes no row."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    sql("DROP EXTENSION plpgsql")
    with pytest.raises(DBAPIError, match="plpgsql"):
        list(cleanup(conn, KEY, CleanupRule()))
    assert [1, 2] == live()
    sql("CREATE EXTENSION plpgsql")
    list(cleanup(conn, KEY, CleanupRule()))
    assert [1] == live()
