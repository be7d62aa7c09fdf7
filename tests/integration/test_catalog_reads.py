"""For one table, the steps read no more from the catalog if the database has many other tables."""

from collections.abc import Iterator
from typing import Any

import pytest

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.postgres import catalog
from tenants import counted

KEY = UniqueKey(schema="tenant_1", table="t", columns=("k",), name="uq")
MANY = 40
TENANTS = "; ".join(
    f"CREATE SCHEMA tenant_{n}; CREATE TABLE tenant_{n}.t (id int PRIMARY KEY, k int); "
    f"INSERT INTO tenant_{n}.t VALUES (1, 7), (2, 7); ANALYZE tenant_{n}.t"
    for n in range(1, MANY + 1)
)
#: a run for every other tenant, as an upgrade of all leaves it
RUNS = f"""
INSERT INTO dupe_audit.run (relid, relation, ledger_oid, schema_name, table_name, key_columns, key_numbers,
                            nulls_not_distinct, keep, state, software_version)
SELECT r.relation, r.relation, 'dupe_audit.run'::regclass, 'tenant_' || n, 't', ARRAY['k'], ARRAY[2],
       false, 'first', 'enforced', '1'
FROM generate_series(2, {MANY}) AS n CROSS JOIN LATERAL (SELECT ('tenant_' || n || '.t')::regclass AS relation) AS r
"""


@pytest.fixture
def relation(sql, conn):
    """The table of one tenant among many, each of which has a run in the ledger."""
    sql(TENANTS)
    list(cleanup(conn, KEY, CleanupRule()))
    sql(RUNS)
    match = catalog.find(conn, KEY)
    assert match
    return match[1]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the nodes of a plan."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def explained(conn, statement: str) -> list[dict[str, Any]]:
    """Return the nodes of a statement's plan, as it was executed."""
    ((plan,),) = conn.exec_driver_sql(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", execution_options={"no_parameters": True}
    ).all()
    return list(nodes(plan[0]["Plan"]))


@pytest.mark.parametrize("columns", [("k",), ("id", "k")], ids=["one", "two"])
def test_statistics_are_read_only_if_they_decide_an_order(conn, relation, columns):
    """A key of several columns reads statistics, to compare the selective ones first; an integer alone needs none."""
    key = UniqueKey(schema="tenant_1", table="t", columns=columns, name="uq")
    with counted() as statements:
        catalog.fragments(conn, relation, key, CleanupRule())
    (statement,) = (text for text in statements if "pg_stats" in text)
    loops = [node["Actual Loops"] for node in explained(conn, statement) if node.get("Relation Name") == "pg_statistic"]
    assert (len(columns) > 1) == any(loops)
    assert loops


def test_run_of_a_table_is_found_without_a_look_at_the_tables_of_others(conn, relation):
    """A run records its table, so only runs of this table are compared with the catalog."""
    with counted() as statements:
        assert ledger.find_latest(conn, relation.relid, KEY)
    (statement,) = (text for text in statements if "archive_bytes" in text)
    looked_at = [node for node in explained(conn, statement) if node.get("Relation Name") == "pg_class"]
    assert {1} == {node["Actual Loops"] for node in looked_at}
