"""What is said about tables of Citus, by a catalog like that of Citus in an ordinary database."""

from dataclasses import replace

import pytest

from dupe_audit.model import Change, CleanupRule, Expression, Merge, UniqueKey
from dupe_audit.preflight import blockers, preflight

CATALOG = """
SET allow_system_table_mods = on;
CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass NOT NULL, partmethod "char" NOT NULL, partkey text,
    colocationid int NOT NULL, repmodel "char" NOT NULL);
CREATE TABLE pg_catalog.pg_dist_shard (logicalrelid regclass NOT NULL, shardid bigint NOT NULL);
CREATE TABLE pg_catalog.pg_dist_placement (placementid bigint NOT NULL, shardid bigint NOT NULL, groupid int NOT NULL);
CREATE TABLE pg_catalog.pg_dist_local_group (groupid int NOT NULL);
INSERT INTO pg_catalog.pg_dist_local_group VALUES (0)
"""
KEY = UniqueKey(table="t", columns=("k",), name="uq")
TENANT = "{VAR :varno 1 :varattno 2 :vartype 23}"


@pytest.fixture
def managed(sql):
    """Create table t (id, tenant, k), and enter it into the catalog of Citus as its partmethod, key and so on say."""

    def enter(partmethod, repmodel, *, partkey=None, colocationid=0, groups=(0,)):
        sql("CREATE TABLE t (id int, tenant int, k int, hits int, PRIMARY KEY (tenant, id))")
        sql("CREATE TABLE u (id int PRIMARY KEY, k int)")
        sql(CATALOG)
        key = "NULL" if partkey is None else f"'{partkey}'"
        entry = f"'t', '{partmethod}', {key}, {colocationid}, '{repmodel}'"
        sql(f"INSERT INTO pg_catalog.pg_dist_partition VALUES ({entry})")
        sql("INSERT INTO pg_catalog.pg_dist_shard VALUES ('t', 1)")
        for place, group in enumerate(groups):
            sql(f"INSERT INTO pg_catalog.pg_dist_placement VALUES ({place}, 1, {group})")

    return enter


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"partmethod": "h", "repmodel": "s", "partkey": TENANT},
            "as a distributed table, distributed by tenant: a unique key has to contain the distribution column tenant",
        ),
        ({"partmethod": "a", "repmodel": "c"}, "as an append- or range-distributed table: only tables distributed"),
        (
            {"partmethod": "n", "repmodel": "s", "colocationid": 3},
            "as a single-shard table: only tables distributed",
        ),
        ({"partmethod": "n", "repmodel": "t", "groups": (1,)}, "as a reference table: the coordinator has no copy"),
    ],
    ids=["no distribution column", "append", "single shard", "no copy"],
)
def test_kind_is_refused_in_its_own_words(sql, conn, managed, arguments, words):
    """A kind of table that does not work, or not with this key, is refused without a count; other tables are not."""
    managed(**arguments)
    report = preflight(conn, KEY)
    assert (["citus-table"], None) == ([f.id for f in report.findings], report.counts)
    assert f"Citus manages public.t, {words}" in report.findings[0].message
    assert ["citus-table"] == [f.id for f in blockers(conn, KEY, CleanupRule())]
    assert [] == blockers(conn, replace(KEY, table="u"), CleanupRule())
    assert sql("SELECT to_regnamespace('dupe_audit')") == [(None,)]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (CleanupRule(exact="amend", divergent="amend", changes=(Change("k", "NULL"),)), "not amended or merged"),
        (CleanupRule(merges=(Merge("hits", "max"),)), "not amended or merged"),
        (CleanupRule(references="repoint"), "children cannot be pointed at the survivor there"),
    ],
    ids=["amend", "merge", "repoint"],
)
def test_rule_that_does_not_work_is_refused(conn, managed, rule, words):
    """Amending, merging and pointing children elsewhere are refused on a reference table; archiving is not."""
    managed("n", "t")
    (refused,) = blockers(conn, KEY, rule)
    assert ("citus-table", True) == (refused.id, words in refused.message)
    assert [] == blockers(conn, KEY, CleanupRule())


@pytest.mark.parametrize(("partmethod", "repmodel"), [("h", "s"), ("n", "t"), ("n", "s")])
def test_expression_is_refused(conn, managed, partmethod, repmodel):
    """A key or an order with an expression, and a key with a predicate, are refused on every kind of table."""
    managed(partmethod, repmodel, partkey=TENANT if partmethod == "h" else None)
    (refused,) = blockers(conn, replace(KEY, columns=("tenant", Expression("abs(k)")), form="index"), CleanupRule())
    assert "can contain only columns" in refused.message
    partial = replace(KEY, columns=("tenant", "k"), where="k > 0", form="index")
    (refused,) = blockers(conn, partial, CleanupRule())
    assert "can contain only columns" in refused.message
    ordered = CleanupRule(order_by=(Expression("abs(k)"),))
    (refused,) = blockers(conn, replace(KEY, columns=("tenant", "k")), ordered)
    assert "can contain only columns" in refused.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", "it has no primary key"),
        (
            "CREATE TABLE c (tenant int, id int, FOREIGN KEY (tenant, id) REFERENCES t ON DELETE CASCADE)",
            "deleting its rows would also change rows of other tables (c_tenant_id_fkey of c)",
        ),
        ("UPDATE pg_catalog.pg_dist_local_group SET groupid = 1", "this session is connected to a worker"),
    ],
    ids=["primary key", "cascade", "worker"],
)
def test_table_that_cannot_be_cleaned_is_refused(sql, conn, managed, change, words):
    """A reference table without an identity or with acting foreign keys, and a session on a worker, are refused."""
    managed("n", "t")
    sql(change)
    (refused,) = blockers(conn, KEY, CleanupRule())
    assert ("citus-table", True) == (refused.id, words in refused.message)
