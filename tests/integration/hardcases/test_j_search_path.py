"""Hard cases J: another role may create functions and operators in a schema on the search path."""

from itertools import product

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.locking import holders
from dupe_audit.preflight import blockers, preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify
from dupe_audit.writer import Writer, delivery

TYPES = (
    *(
        "oid",
        "regclass",
        "regtype",
        "regnamespace",
        "int2",
        "int4",
        "int8",
        "float4",
        "float8",
        "numeric",
        "bool",
        '"char"',
    ),
    *("name", "text", "tid", "xid", "timestamptz", "interval", "jsonb", "int2vector", "oidvector"),
    *("name[]", "text[]", "int2[]", "int4[]", "oid[]", "tid[]"),
)
OPERATORS = ("=", "<>", "<", ">", "<=", ">=", "@>", "<@", "||", "+", "-", "*", "&", "~", "!~", "->>")

#: an exact match beats every built-in operator that needs a cast or is polymorphic, wherever it is on the path
PLANT_OPERATORS = """
DO $plant$
DECLARE
    pair record;
BEGIN
    FOR pair IN
        SELECT l.type AS l, r.type AS r, o.name AS op, row_number() OVER () AS n
        FROM unnest(ARRAY[{types}]) AS l(type), unnest(ARRAY[{types}]) AS r(type), unnest(ARRAY[{operators}]) AS o(name)
        WHERE NOT EXISTS (SELECT FROM pg_operator b WHERE b.oprname = o.name
                          AND b.oprleft = l.type::regtype AND b.oprright = r.type::regtype)
    LOOP
        IF to_regprocedure(format('public.trap(%s,%s)', pair.l, pair.r)) IS NULL THEN
            EXECUTE format('CREATE FUNCTION public.trap(%s, %s) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS '
                '$$BEGIN RAISE ''trapped by an operator of %s and %s''; END$$', pair.l, pair.r, pair.l, pair.r);
        END IF;
        EXECUTE format('CREATE OPERATOR public.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = public.trap)',
            pair.op, pair.l, pair.r);
    END LOOP;
END
$plant$
"""

FUNCTIONS = ("count", "sum", "min", "max", "first_value", "array_agg", "bool_and", "bool_or")


@pytest.fixture
def traps(sql):
    """Operators, aggregates and set-returning functions that are a better match than the server's own."""
    quoted = ", ".join(f"'{type_}'" for type_ in TYPES)
    sql(PLANT_OPERATORS.format(types=quoted, operators=", ".join(f"'{name}'" for name in OPERATORS)))
    for type_ in TYPES:
        sql(
            f"CREATE FUNCTION public.step(text, {type_}) RETURNS text LANGUAGE plpgsql AS "
            f"$$BEGIN RAISE 'trapped by a function of {type_}'; END$$"
        )
    for name, type_ in product(FUNCTIONS, TYPES):
        exact = f"pg_catalog.{name}({type_})"
        if sql(f"SELECT to_regprocedure('{exact}') IS NULL") == [(True,)]:
            sql(f"CREATE AGGREGATE public.{name}({type_}) (SFUNC = public.step, STYPE = text, INITCOND = '')")
    for type_ in TYPES:
        if type_.endswith("[]"):
            sql(
                f"CREATE FUNCTION public.unnest({type_}) RETURNS SETOF {type_[:-2]} LANGUAGE plpgsql AS "
                "$$BEGIN RAISE 'trapped by unnest'; END$$"
            )


def walk(conn, key, rule):
    """Execute every step, from preflight to restore."""
    preflight(conn, key, rule, show_keys=True)
    blockers(conn, key, rule)
    assert 9 == sum(batch.archived for batch in cleanup(conn, key, rule))
    enforce(conn, key, BuildRule(comment="trapped"))
    assert [] == [f.id for f in verify(conn, key).findings if f.severity == "error"]
    drop(conn, key, BuildRule())
    (run, _), *_ = ledger.find_runs(conn, f"table_name = '{key.table}'")
    list(restore(conn, run.id))


@pytest.mark.thorough
@pytest.mark.slow
def test_h199_steps_call_nothing_on_the_search_path(sql, conn, dump, psycopg_connect, traps):
    """No step, from preflight to restore, calls an operator or function planted on the search path."""
    with pytest.raises(DBAPIError, match="trapped"):
        conn.exec_driver_sql("SELECT first_value(1::oid) OVER ()")
    rule = CleanupRule(batch_size=4, order_by=("v",), ignore=("id",), references="repoint")
    sql("CREATE TABLE t (id int PRIMARY KEY, k text, v int); CREATE TABLE u (id int, k text, v int)")
    sql("CREATE TABLE c (p int REFERENCES t, q text); CREATE INDEX ON c (p, q)")
    sql(
        "CREATE TABLE d (id int PRIMARY KEY, p int REFERENCES t, q int4range, UNIQUE (p, q, id)); CREATE INDEX ON d (p)"
    )
    sql("CREATE PUBLICATION p FOR TABLE t; ALTER TABLE t REPLICA IDENTITY FULL")
    for table in ("t", "u"):
        sql(f"INSERT INTO {table} SELECT i, md5((i / 2)::text), 1 FROM generate_series(1, 20) AS i")
        if table == "t":
            sql("INSERT INTO d SELECT id, id, '[0,3]' FROM t")
        before = dump(table), dump("d")
        walk(conn, UniqueKey(table=table, columns=("k",), name=f"uq_{table}"), rule)
        assert before == (dump(table), dump("d"))

    old = psycopg_connect()
    old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    old.execute("SELECT FROM t")
    assert f"pid {old.info.backend_pid}" in holders(conn, sql("SELECT 't'::regclass::oid")[0][0])
    with pytest.raises(Blocked, match="waited"):
        enforce(conn, UniqueKey(table="t", columns=("id", "k"), name="uq"), BuildRule(give_up_after="1s"))
    old.rollback()
    ledger.purge(conn, 1)


@pytest.mark.slow
@pytest.mark.parametrize("together_from", [1, 1000])
@pytest.mark.representatives("1000")
def test_h199_writer_calls_nothing_on_the_search_path(sql, psycopg_connect, traps, monkeypatch, together_from):
    """The writer calls only the server's own operators and functions, with and without the constraint."""
    monkeypatch.setattr(delivery, "TOGETHER_FROM", together_from)
    sql("CREATE TABLE t (id int8 PRIMARY KEY, k text, at timestamptz, n numeric, a text[], j jsonb)")
    sql("CREATE INDEX ON t (k)")
    key = UniqueKey(table="t", columns=("k", "at", "n", "a"), name="once")
    writer = Writer(psycopg_connect(autocommit=True), key, ["id", "k", "at", "n", "a", "j"])
    row = ("x", "2030-01-31T12:00:00Z", "1.5", ["a"], {"a": 1})
    for number, constraint in enumerate(("", "ALTER TABLE t ADD CONSTRAINT once UNIQUE (k, at, n, a)")):
        if constraint:
            sql(constraint)
        rows = [(number, *row), (10 + number, *row), (20 + number, *row[:-1], None), (30 + number, "y", *row[1:])]
        kinds = [outcome.kind for outcome in writer.write(rows)]
        inserted = ["inserted", "in_batch", "collision", "inserted"]
        assert (["duplicate", "duplicate", "collision", "duplicate"] if constraint else inserted) == kinds
        assert bool(constraint) is writer.probe().enforced
