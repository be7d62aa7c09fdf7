"""What is seen of locks, scans, builds and rewrites while a revision's statements run."""

import inspect
import re
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import Evidence, Revision, Step
from dupe_audit.checks.rules import locks
from dupe_audit.checks.tracing import tripwire
from dupe_audit.checks.tracing.trace import tracing
from dupe_audit.checks.tracing.work import can_lock
from dupe_audit.connect import connect
from dupe_audit.postgres.locks import STRONG_MODES
from dupe_audit.schema.facts import Catalog, Table

HERE = Path(__file__)
T, P = "public.orders", "public.customers"


@pytest.fixture
def tables(sql):
    """Make two tables with rows, of which one can reference the other; return them as the evidence has them."""

    def make():
        sql(
            """
            DROP TABLE IF EXISTS orders, customers;
            CREATE TABLE customers (id int PRIMARY KEY, name text);
            CREATE TABLE orders (id int PRIMARY KEY, customer int, note text, placed timestamptz DEFAULT now());
            INSERT INTO customers SELECT i, 'c' || i FROM generate_series(1, 50) AS i;
            INSERT INTO orders SELECT i, i % 50 + 1, 'n' || i FROM generate_series(1, 1000) AS i;
            CREATE UNIQUE INDEX ready ON orders (note);
            ALTER TABLE orders ADD CONSTRAINT waiting CHECK (customer > 0) NOT VALID;
            ALTER TABLE orders ADD CONSTRAINT filled CHECK (placed IS NOT NULL);
            ANALYZE orders, customers
            """
        )
        rows = sql("SELECT oid::int8, relname FROM pg_class WHERE relname IN ('orders', 'customers') ORDER BY 2")
        return tuple(Table(oid=oid, schema="public", name=name) for oid, name in rows)

    return make


@pytest.fixture
def trace(database_url, tables):
    """Run statements as a revision would, in one transaction or each by itself; return what was traced."""

    def run(*statements, alone=False, settings=""):
        level = "AUTOCOMMIT" if alone else "READ COMMITTED"
        arguments = {"options": settings}
        engine = create_engine(database_url, poolclass=NullPool, isolation_level=level, connect_args=arguments)
        there = tables()
        with (
            connect(database_url) as observer,
            engine.connect() as connection,
            tracing(observer, there, HERE) as traced,
        ):
            for one in statements:
                connection.exec_driver_sql(one)
        return traced.statements

    return run


AX, SX = "ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE"

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "rules" / "locks.md"
#: statement → lock, work and finding, as the page of the rule tells its reader
OPERATIONS = {
    statement: (lock.strip(), work.strip(), found.strip())
    for statement, lock, work, found in re.findall(
        r"^\| `(.*?)`.*? \|([A-Z a-z]*)\|([a-z ]*)\|([a-z ]*)\|$", PAGE.read_text(), flags=re.MULTILINE
    )
}


def found_by_the_rule(*statements):
    """Return the findings of the rule about these statements of a revision that has run on empty tables."""
    at = Revision(
        id="r",
        down=(),
        path=HERE,
        file="r.py",
        upgrade_line=1,
        downgrade_line=None,
        empty_upgrade=False,
        empty_downgrade=True,
        says_irreversible=False,
        accepts=frozenset(),
    )
    blank = Catalog(tables=(), indexes=(), objects={})
    step = Step(revision=at, before=blank, statements=statements)
    return list(locks.check(Evidence(heads=("r",), revisions=(at,), steps=(step,), trips=(), final=None)))


@pytest.mark.parametrize("alone", [False, True], ids=["transaction", "alone"])
def test_common_operations(trace, alone):
    """Each common operation is seen as the page of the rule says, whoever commits it."""
    seen = {}
    for statement in OPERATIONS:
        (one,) = trace(statement, alone=alone)
        lock = dict(one.held).get(T)
        found = found_by_the_rule(one)
        seen[statement] = (
            lock if lock in STRONG_MODES else "weaker",
            dict(one.worked).get(T, ""),
            "yes" if T in {each.finding.message.split()[0] for each in found} else "",
        )
    assert len(OPERATIONS) > 20
    # In a transaction without a strong lock, nobody asks for the work.
    unasked = {one for one, (lock, *_) in OPERATIONS.items() if lock == "weaker" and not alone}
    assert {one: ("weaker", "", "") if one in unasked else told for one, told in OPERATIONS.items()} == seen


def test_a_lock_stays_until_the_end_of_its_transaction(trace):
    """A backfill after ADD COLUMN in one transaction is seen as a scan under the lock that ADD COLUMN took."""
    add, read, fill = trace("ALTER TABLE orders ADD extra int", "SELECT 1", "UPDATE orders SET extra = 1")

    assert [((T, AX),)] * 3 == [add.held, read.held, fill.held]
    assert [(), (), ((T, "scan"),)] == [add.worked, read.worked, fill.worked]


def test_a_scan_before_the_lock_is_not_counted_for_it(trace):
    """What is read before a lock is taken is nobody's wait."""
    count, add = trace("SELECT count(*) FROM orders", "ALTER TABLE orders ADD extra int")

    assert ((T, "ACCESS SHARE"),) == count.held
    assert [(), ()] == [count.worked, add.worked]


@pytest.mark.parametrize("alone", [False, True], ids=["transaction", "alone"])
def test_a_foreign_key_locks_both_tables(trace, alone):
    """A statement that locks several tables is seen at each of them."""
    (one,) = trace("ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers", alone=alone)

    assert {T: SX, P: SX} == dict(one.held)
    assert {T: "scan", P: "scan"} == dict(one.worked)


def test_work_beside_the_application_holds_no_strong_lock(trace):
    """Concurrent builds and VALIDATE go through the table, and no writer waits for them."""
    seen = trace(
        "CREATE INDEX CONCURRENTLY i ON orders (customer)",
        "ALTER TABLE orders ADD CONSTRAINT c CHECK (customer > 0) NOT VALID",
        "ALTER TABLE orders VALIDATE CONSTRAINT c",
        "DROP INDEX CONCURRENTLY i",
        "VACUUM orders",
        alone=True,
    )
    assert [(), ((T, AX),), (), (), ()] == [one.held for one in seen]
    assert [((T, "build"),), (), ((T, "scan"),), (), ()] == [one.worked for one in seen]


def test_a_long_statement_is_seen_as_well_as_a_short_one(trace):
    """A statement that outlasts the second after which a session hands on its counts is seen with its scan."""
    (one,) = trace("DO $$BEGIN PERFORM pg_sleep(1.1); ALTER TABLE orders ALTER note SET NOT NULL; END$$", alone=True)
    assert (((T, AX),), ((T, "scan"),)) == (one.held, one.worked)


def test_a_table_that_is_new_is_not_looked_at(trace):
    """What a revision does to tables that it makes itself is nobody's wait."""
    seen = trace("CREATE TABLE fresh (id int)", "CREATE INDEX i ON fresh (id)")
    assert [((), ())] * 2 == [(one.held, one.worked) for one in seen]


def test_a_lock_timeout_is_never_reached_for_us(trace):
    """A statement that waits for a lock no longer than half a second, or not at all, succeeds as if nobody looked."""
    strong = ["ALTER TABLE orders ADD extra int", "ALTER TABLE orders DROP extra"] * 10

    assert [((T, AX),)] * 20 == [one.held for one in trace(*strong, alone=True, settings="-c lock_timeout=500ms")]
    hasty = trace(*strong, alone=True, settings="-c lock_timeout=20ms")
    assert [()] * 20 == [one.held for one in hasty], "no wire was spanned"
    trace("DO $$BEGIN LOCK TABLE orders NOWAIT; END$$", alone=True)


def test_our_wait_is_not_counted(trace, monkeypatch):
    """The time of a statement is its own, without its wait at the wire."""
    monkeypatch.setattr(tripwire, "EVERY", 0.2)
    late = "DO $$BEGIN PERFORM pg_sleep(0.02); ALTER TABLE orders ADD extra int; END$$"  # after the first look
    began = time.perf_counter()
    (one,) = trace(late, alone=True)
    assert 0.2 <= time.perf_counter() - began
    assert 0.02 <= one.seconds < 0.1


@pytest.mark.parametrize("alone", [False, True], ids=["transaction", "alone"])
def test_a_failed_statement_is_told_and_nothing_stays_locked(database_url, tables, sql, alone):
    """A statement that fails is traced with the lock that it had, its error is the project's, and no lock is left."""
    there = tables()
    level = "AUTOCOMMIT" if alone else "READ COMMITTED"
    engine = create_engine(database_url, poolclass=NullPool, isolation_level=level)
    with connect(database_url) as observer, engine.connect() as connection, tracing(observer, there, HERE) as traced:
        with pytest.raises(DBAPIError, match="is violated by some row"):
            connection.exec_driver_sql("ALTER TABLE orders ADD CHECK (id > 5)")
        connection.rollback()
        connection.exec_driver_sql("ALTER TABLE orders ADD extra int")
        left = sql("SELECT mode FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = 'orders'::regclass")
    failed, after = traced.statements
    assert (((T, AX),) if alone else ()) == failed.held
    assert ((T, AX),) == after.held
    assert [] == left


def test_another_session_of_the_application_is_left_alone(trace, tables, psycopg_connect):
    """Where somebody else holds a table, the statement waits for them as it would, and ends when they end."""
    other = psycopg_connect(autocommit=True)
    done = threading.Event()

    def hold():
        while not other.execute("SELECT to_regclass('extra_seen')").fetchone()[0]:
            time.sleep(0.01)
        with other.transaction():
            other.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
            done.set()
            time.sleep(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    _, _, one = trace(
        "CREATE TABLE extra_seen (id int)",
        "DO $$BEGIN PERFORM pg_sleep(0.2); END$$",
        "ALTER TABLE orders ADD extra int",
        alone=True,
    )
    thread.join()
    assert done.is_set()
    assert ((T, AX),) == one.held
    assert 0.05 < one.seconds


def test_who_else_wants_a_table_does_not_wait_for_us(trace, sql, psycopg_connect):
    """The wire is let go as soon as another session wants a lock, which the traced statement might wait for."""
    other = psycopg_connect(autocommit=True)
    waited = []

    def want():
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while not other.execute(sleeping).fetchone()[0]:
            time.sleep(0.01)
        began = time.perf_counter()
        with other.transaction():
            other.execute("LOCK TABLE customers IN SHARE MODE")
            waited.append(time.perf_counter() - began)

    thread = threading.Thread(target=want)
    thread.start()
    (one,) = trace("DO $$BEGIN PERFORM pg_sleep(1); END$$", alone=True)
    thread.join()
    assert 0.5 > waited[0]
    assert 0.9 < one.seconds
    assert () == one.held, "another's lock is not the statement's"


def test_the_line_of_the_revision_is_known(database_url, tables):
    """A statement is told with the line of the revision's file that caused it; others' statements are not traced."""
    there = tables()
    engine = create_engine(database_url, poolclass=NullPool)
    with connect(database_url) as observer, engine.connect() as connection:
        with tracing(observer, there, HERE) as traced:
            connection.exec_driver_sql("SELECT 1"); line = inspect.currentframe().f_lineno  # fmt: skip # noqa: E702
        with tracing(observer, there, HERE.with_name("no_such_revision.py")) as others:
            connection.exec_driver_sql("ALTER TABLE orders ADD extra int")
    assert [line] == [one.line for one in traced.statements]
    assert () == others.statements


def test_a_connection_to_another_database_is_not_traced(database_url, server_url, tables):
    """What a revision does in another database is no lock in this one."""
    there = tables()
    engine = create_engine(server_url, poolclass=NullPool)
    with connect(database_url) as observer, engine.connect() as elsewhere, tracing(observer, there, HERE) as traced:
        elsewhere.exec_driver_sql("CREATE TEMPORARY TABLE orders (id int)")
    assert () == traced.statements


def test_the_isolation_level_can_still_be_set_first(trace):
    """Nothing is asked of a session before the statement that has to come first in its transaction."""
    level = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    seen = trace(level, "ALTER TABLE orders ADD extra int")
    assert [((T, AX),)] == [one.held for one in seen]


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("SELECT 1", False),
        ("  -- ALTER TABLE\n(select 1);", False),
        ("/* a; b */ WITH x AS (SELECT 1) DELETE FROM t", False),
        ("SET lock_timeout = '1s'; ALTER TABLE t ADD x int", True),
        ("ALTER TABLE t ADD x int", True),
        ("DO $$BEGIN END$$", True),
        ("call p()", True),
        ("", True),
    ],
)
def test_which_statements_can_lock(text, can):
    """Only statements that are known to lock no more than a writer does are taken for mild."""
    assert can is can_lock(text)
