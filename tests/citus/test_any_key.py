"""Names and types that are not plain, and NULLs in the key, on tables of Citus."""

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify

RULE = CleanupRule(divergent="archive")
ODD = """
CREATE TABLE application."Odd {table}" (
    "Tenant ""x"" w.e1 AND y" text NOT NULL, id char(4) NOT NULL, "k'1" char(3), price numeric(10, 2),
    half int GENERATED ALWAYS AS (length("k'1")) STORED, n int GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY ("Tenant ""x"" w.e1 AND y", id));
"""
MADE = {
    "distributed": """SELECT create_distributed_table('application."Odd {table}"', 'Tenant "x" w.e1 AND y')""",
    "reference": """SELECT create_reference_table('application."Odd {table}"')""",
    "local": """SELECT citus_add_local_table_to_metadata('application."Odd {table}"')""",
}
FILL = """
INSERT INTO application."Odd {table}"
SELECT 't''' || n % 3, 'x' || n, CASE WHEN n % 4 > 0 THEN 'ab' || n % 4 END, n / 7.0 FROM generate_series(1, 24) AS n
"""
ROWS = 'SELECT o::text FROM application."Odd {table}" o ORDER BY 1'


@pytest.mark.parametrize("kind", ["distributed", "reference", "local"])
@pytest.mark.parametrize("nulls_not_distinct", [True, False])
def test_odd_names_types_and_nulls(sql, conn, kind, nulls_not_distinct):
    """Names with quotes and braces, padded types, generated columns and NULLs in the key go there and back."""
    sql(ODD)
    sql(MADE[kind])
    sql(FILL)
    key = UniqueKey(
        schema="application",
        table="Odd {table}",
        columns=('Tenant "x" w.e1 AND y', "k'1"),
        name='uq "odd"',
        nulls_not_distinct=nulls_not_distinct,
    )
    before = sql(ROWS)
    assert preflight(conn, key, RULE).counts.extras == (12 if nulls_not_distinct else 9)
    list(cleanup(conn, key, RULE))
    enforce(conn, key, BuildRule())
    assert verify(conn, key).ok
    assert sql('SELECT count(*) FROM application."Odd {table}"') == [(12 if nulls_not_distinct else 15,)]
    drop(conn, key, BuildRule())
    ((run,),) = sql("SELECT id FROM dupe_audit.run")
    list(restore(conn, run))
    assert sql(ROWS) == before


@pytest.mark.parametrize("kind", ["distributed", "reference", "local"])
def test_column_whose_values_are_mostly_distinct(sql, conn, kind):
    """With statistics on the shards, too, exactly the 20 extras leave and return; ten rows share only one column."""
    sql("CREATE TABLE application.orders (shop int NOT NULL, number text, id int NOT NULL, PRIMARY KEY (shop, id))")
    make = MADE[kind].replace('"Odd {table}"', "orders").replace('Tenant "x" w.e1 AND y', "shop")
    sql("INSERT INTO application.orders SELECT n % 3, 'A-' || n, n FROM generate_series(1, 300) AS n")
    sql(make)
    sql("INSERT INTO application.orders SELECT n % 3, 'A-' || n, 300 + n FROM generate_series(1, 20) AS n")
    sql("INSERT INTO application.orders SELECT 9, 'A-' || n, 400 + n FROM generate_series(1, 10) AS n")
    sql("ANALYZE application.orders")
    key = UniqueKey(schema="application", table="orders", columns=("shop", "number"), name="uq")
    before = sql("SELECT o::text FROM application.orders o ORDER BY 1")
    assert preflight(conn, key, RULE).counts.extras == 20
    list(cleanup(conn, key, RULE))
    enforce(conn, key, BuildRule())
    assert verify(conn, key).ok
    assert sql("SELECT id FROM application.orders WHERE id BETWEEN 301 AND 320") == []
    assert sql("SELECT count(*) FROM application.orders") == [(310,)]
    drop(conn, key, BuildRule())
    ((run,),) = sql("SELECT id FROM dupe_audit.run")
    list(restore(conn, run))
    assert sql("SELECT o::text FROM application.orders o ORDER BY 1") == before
