"""Hard cases H: partitions, names that are not plain columns or tables, and tables that others own."""

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import DupeAuditError
from dupe_audit.model import BuildRule, Change, CleanupRule, UniqueKey
from dupe_audit.preflight import blockers, preflight
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k",), name="uq")
PARTITIONS = (
    "CREATE TABLE p (id int, k int NOT NULL, r int) PARTITION BY RANGE (r); "
    "CREATE TABLE t PARTITION OF p FOR VALUES FROM (0) TO (10); "
    "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20); "
    "INSERT INTO p VALUES (1, 7, 1), (2, 7, 2), (3, 7, 11), (4, 7, 12), (5, 7, 1)"
)


def test_h149_parts_of_leaves_are_adopted_and_not_built_again(sql, conn, clean):
    """The constraint of the whole adopts what was built on each leaf, and builds nothing under its lock."""
    sql(PARTITIONS)
    key = UniqueKey(table="p", columns=("k", "r"), name="uq")
    clean(key, ignore=("id",))
    enforce(conn, key, BuildRule())
    parts = "SELECT relid FROM pg_partition_tree('p') WHERE isleaf"
    assert [(True, True)] * 2 == sql(
        "SELECT i.indisvalid, con.conparentid <> 0 "
        "FROM pg_index i JOIN pg_constraint con ON con.conindid = i.indexrelid "
        f"WHERE i.indrelid IN ({parts})"
    )
    assert [(2,)] == sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'uq'::regclass")
    assert [(2,)] == sql(f"SELECT count(*) FROM pg_index WHERE indrelid IN ({parts})")


def test_h150_other_partitions_are_untouched(sql, conn, dump, clean):
    """A single partition can be cleaned, enforced and restored, with a warning, and the others are untouched."""
    sql(PARTITIONS)
    before, sibling = dump("t"), dump("p2")
    (finding,) = [f for f in preflight(conn, KEY).findings if f.id == "single-partition"]
    assert ("warning", True) == (finding.severity, "one partition of p;" in finding.message)
    assert "If all of p is meant, name it instead" in finding.help
    clean(KEY, divergent="archive")
    enforce(conn, KEY, BuildRule())
    assert [(1,), (3,), (4,)] == sql("SELECT id FROM p ORDER BY id")
    drop(conn, KEY, BuildRule())
    list(restore(conn, 1))
    assert (before, sibling) == (dump("t"), dump("p2"))


@pytest.mark.parametrize("statement", ["DETACH PARTITION t", "DETACH PARTITION t CONCURRENTLY"])
def test_h150_partition_detached_during_a_run_is_cleaned_completely(sql, conn, dump, statement):
    """A partition that is detached between two batches is cleaned completely, and its rows can be restored."""
    sql(PARTITIONS)
    before = dump("t")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1, divergent="archive"))
    next(batches)
    sql(f"ALTER TABLE p {statement}")
    list(batches)
    assert [(1,)] == sql("SELECT id FROM t")
    list(restore(conn, 1))
    assert before == dump("t")


@pytest.mark.parametrize("column", ["ctid", "xmin", "tableoid", "K", "k ", "public.t.k", "k, id", '"k"'])
def test_h157_h160_only_exact_column_names_are_accepted(sql, conn, column):
    """System columns, other spellings, qualified names and lists are not accepted as columns of the table."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    assert ["column-missing"] == [f.id for f in preflight(conn, UniqueKey(table="t", columns=(column,))).findings]


@pytest.mark.parametrize("table", ["public.t", "T", '"t"', "t ", "pg_temp.t", "t; DROP TABLE t"])
def test_h157_only_exact_table_names_are_accepted(sql, conn, table):
    """A table is found by its exact name only: nothing is split, folded or unquoted."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    assert ["table-missing"] == [f.id for f in blockers(conn, UniqueKey(table=table, columns=("k",)), CleanupRule())]
    with pytest.raises(DupeAuditError, match="does not exist in"):
        list(cleanup(conn, UniqueKey(table=table, columns=("k",)), CleanupRule()))


def test_h161_table_of_an_extension_is_refused(sql, conn):
    """A table that belongs to an extension is refused."""
    if not sql("SELECT 1 FROM pg_extension WHERE extname = 'citext'"):
        pytest.skip("the server has no citext")
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); ALTER EXTENSION citext ADD TABLE t")
    (finding,) = blockers(conn, KEY, CleanupRule())
    assert ("extension-table", True) == (finding.id, "extension citext" in finding.message)


@pytest.mark.parametrize("schema", ["pg_catalog", "information_schema"])
def test_h161_table_of_the_server_is_refused(conn, schema):
    """A system table is refused, whatever privileges the role has."""
    table, column = ("pg_class", "relname") if schema == "pg_catalog" else ("sql_features", "feature_id")
    key = UniqueKey(schema=schema, table=table, columns=(column,))
    assert "system-table" in [f.id for f in blockers(conn, key, CleanupRule())]


@pytest.mark.parametrize(("columns", "extras"), [(1594, 1), (1595, None)])
@pytest.mark.representatives("1595-None")
def test_archive_of_a_table_with_many_columns(sql, conn, columns, extras):
    """A table whose archive just fits is cleaned and restored; with one more column it is refused beforehand."""
    names = ", ".join(f"c{number} int" for number in range(3, columns + 1))
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k int, {names}); INSERT INTO t (id, k) VALUES (1, 7), (2, 7)")
    key = UniqueKey(table="t", columns=("k",), name="uq")
    findings = blockers(conn, key, CleanupRule())
    if extras is None:
        assert ["too-many-columns"] == [f.id for f in findings]
        assert "1,601 columns" in findings[0].message
        return
    assert [] == findings
    assert extras == sum(batch.archived for batch in cleanup(conn, key, CleanupRule()))
    list(restore(conn, 1))
    assert sql("SELECT id, k FROM t ORDER BY id") == [(1, 7), (2, 7)]


@pytest.mark.parametrize(("columns", "fits"), [(830, True), (831, False)])
@pytest.mark.representatives("831-False")
def test_before_images_of_a_table_with_many_columns(sql, conn, columns, fits):
    """A batch returns changed rows as they were and as they are, and a table that is too wide for it is refused."""
    names = ", ".join(f"c{number} int" for number in range(3, columns + 1))
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k int, {names}); INSERT INTO t (id, k) VALUES (1, 7), (2, 7)")
    key = UniqueKey(table="t", columns=("k",), name="uq")
    rule = CleanupRule(exact="amend", divergent="amend", changes=(Change("k", "k + 1"),))
    findings = blockers(conn, key, rule)
    if not fits:
        assert ["too-many-columns"] == [f.id for f in findings]
        assert "1,666 columns, of which PostgreSQL allows 1,664" in findings[0].message
        return
    assert [] == findings
    assert 1 == sum(batch.amended for batch in cleanup(conn, key, rule))
    list(restore(conn, 1))
    assert sql("SELECT id, k FROM t ORDER BY id") == [(1, 7), (2, 7)]
