"""An expression of a key is computed once per scan and row, however often a statement refers to its value."""

from collections.abc import Callable

import pytest

from dupe_audit.cleanup import Horizon, cleanup
from dupe_audit.model import CleanupRule, Expression, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.verify import verify

COUNTED = Expression("counted(email)")
INSIDE = 8  #: rows in the predicate
KEYS = {
    "expression": (UniqueKey(table="users", columns=(COUNTED,), name="ux", form="index"), INSIDE + 2),
    "part": (
        UniqueKey(table="users", columns=("tenant", COUNTED), where="NOT deleted", name="ux", form="index"),
        INSIDE,
    ),
}
# A temporary sequence counts in read-only transactions too. A function that is not parallel safe runs in no worker.
USERS = f"""
CREATE TABLE users (id int PRIMARY KEY, tenant int, email text, deleted bool NOT NULL);
INSERT INTO users SELECT n, 1, 'Person ' || n, n > {INSIDE} FROM generate_series(1, {INSIDE + 2}) AS n;
CREATE FUNCTION counted(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
BEGIN
    PERFORM nextval('pg_temp.calls');
    RETURN lower(value);
END $$;
"""


@pytest.fixture
def calls(sql, conn) -> Callable[[Callable[[], object]], int]:
    """A table, and a function that returns how many values of the key an action computed."""
    sql(USERS)
    conn.exec_driver_sql("CREATE TEMP SEQUENCE calls")

    def count(action: Callable[[], object]) -> int:
        before = conn.exec_driver_sql("SELECT nextval('pg_temp.calls')").scalar_one()
        action()
        return conn.exec_driver_sql("SELECT nextval('pg_temp.calls')").scalar_one() - before - 1

    return count


@pytest.mark.parametrize("name", KEYS)
def test_steps_compute_each_value_once_per_scan(conn, calls, name):
    """Preflight scans the table twice, a ranking and the count of verify once; no scan computes a value twice."""
    (key, rows), horizon = KEYS[name], Horizon()
    rule = CleanupRule(divergent="archive")
    assert 2 * rows == calls(lambda: preflight(conn, key, rule))
    assert rows == calls(lambda: list(cleanup(conn, key, rule, horizon=horizon)))
    assert rows == calls(lambda: verify(conn, key))
    conn.exec_driver_sql("INSERT INTO users VALUES (100, 1, 'Person 100', false)")
    # The new row's own value is also compared with NULL, and hashed.
    assert rows + 1 + 2 == calls(lambda: list(cleanup(conn, key, rule, horizon=horizon)))


def test_columns_of_reserved_names_are_counted(sql, conn):
    """Columns named like those of an archive are no obstacle to counting, although they are to cleaning."""
    sql("CREATE TABLE t (id int PRIMARY KEY, dupe_audit_k1 text, dupe_audit_met bool)")
    sql("INSERT INTO t VALUES (1, 'A', true), (2, 'a', true), (3, 'a', false)")
    key = UniqueKey(
        table="t", columns=(Expression("lower(dupe_audit_k1)"),), where="dupe_audit_met", name="ux", form="index"
    )
    counts = preflight(conn, key).counts
    assert counts
    assert (1, 1, 1) == (counts.groups, counts.extras, counts.outside_rows)
    assert 1 == verify(conn, key).extras
