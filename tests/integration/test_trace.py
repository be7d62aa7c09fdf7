"""How locks, scans, builds and rewrites of a revision's statements are traced."""

import inspect
import re
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from dupe_audit.checks.evidence import EmptyTrip, Evidence, Revision
from dupe_audit.checks.rules import locks
from dupe_audit.checks.tracing import trace as trace_module
from dupe_audit.checks.tracing import tripwire
from dupe_audit.checks.tracing.table_work import can_lock
from dupe_audit.checks.tracing.trace import tracing
from dupe_audit.connect import connect
from dupe_audit.postgres.locks import STRONG_MODES
from dupe_audit.schema.facts import Catalog, Table

HERE = Path(__file__)
T, P = "public.orders", "public.customers"


@pytest.fixture
def tables(sql):
    """Create two tables with rows, one of which can reference the other; return them as in the evidence."""

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
    """Execute statements as a revision would, in one transaction or each by itself; return what was traced."""

    def run(*statements, alone=False, settings=""):
        level = "AUTOCOMMIT" if alone else "READ COMMITTED"
        arguments = {"options": settings}
        engine = create_engine(database_url, poolclass=NullPool, isolation_level=level, connect_args=arguments)
        existing = tables()
        with (
            connect(database_url) as observer,
            engine.connect() as connection,
            tracing(observer, existing, HERE) as traced,
        ):
            for statement in statements:
                connection.exec_driver_sql(statement)
        return traced.statements

    return run


AX, SX = "ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE"

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "rules" / "locks.md"
#: statement → lock, work and finding, from the page of the rule
OPERATIONS = {
    statement: (lock.strip(), work.strip(), reported.strip())
    for statement, lock, work, reported in re.findall(
        r"^\| `(.*?)`.*? \|([A-Z a-z]*)\|([a-z ]*)\|([a-z ]*)\|$", PAGE.read_text(), flags=re.MULTILINE
    )
}


def found_by_the_rule(*statements):
    """Return the findings of the rule about these statements of a revision on empty tables."""
    at = Revision(
        id="r",
        parents=(),
        path=HERE,
        file="r.py",
        upgrade_line=1,
        downgrade_line=None,
        empty_upgrade=False,
        empty_downgrade=True,
        refuses_downgrade=False,
        accepts=frozenset(),
    )
    blank = Catalog(tables=(), indexes=(), objects={})
    step = EmptyTrip(revision=at, before=blank, statements=statements)
    return list(
        locks.check(Evidence(heads=("r",), revisions=(at,), empty_trips=(step,), seeded_trips=(), final_schema=None))
    )


@pytest.mark.parametrize("alone", [False, True], ids=["transaction", "alone"])
@pytest.mark.representatives("alone")
def test_common_operations(trace, alone):
    """Each common operation is traced as the page of the rule says, however it is committed."""
    outcomes = {}
    for statement in OPERATIONS:
        (traced,) = trace(statement, alone=alone)
        lock = dict(traced.locks).get(T)
        results = found_by_the_rule(traced)
        outcomes[statement] = (
            lock if lock in STRONG_MODES else "weaker",
            dict(traced.work).get(T, ""),
            "yes" if T in {result.finding.message.split()[0] for result in results} else "",
        )
    assert len(OPERATIONS) > 20
    # In a transaction without a strong lock, the counts are not read.
    without_counts = {statement for statement, (lock, *_) in OPERATIONS.items() if lock == "weaker" and not alone}
    assert {
        statement: ("weaker", "", "") if statement in without_counts else documented
        for statement, documented in OPERATIONS.items()
    } == outcomes


def test_a_lock_stays_until_the_end_of_its_transaction(trace):
    """A backfill after ADD COLUMN in one transaction is a scan under the lock that ADD COLUMN took."""
    add, read, fill = trace("ALTER TABLE orders ADD extra int", "SELECT 1", "UPDATE orders SET extra = 1")

    assert [((T, AX),)] * 3 == [add.locks, read.locks, fill.locks]
    assert [(), (), ((T, "scan"),)] == [add.work, read.work, fill.work]


def test_a_scan_before_the_lock_is_not_counted_for_it(trace):
    """A scan before a lock is taken blocks no one."""
    count, add = trace("SELECT count(*) FROM orders", "ALTER TABLE orders ADD extra int")

    assert ((T, "ACCESS SHARE"),) == count.locks
    assert [(), ()] == [count.work, add.work]


@pytest.mark.parametrize("alone", [False, True], ids=["transaction", "alone"])
def test_a_foreign_key_locks_both_tables(trace, alone):
    """A statement that locks several tables is traced on each of them."""
    (traced,) = trace("ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers", alone=alone)

    assert {T: SX, P: SX} == dict(traced.locks)
    assert {T: "scan", P: "scan"} == dict(traced.work)


def test_concurrent_work_holds_no_strong_lock(trace):
    """Concurrent builds and VALIDATE scan the table, and no writer waits for them."""
    statements = trace(
        "CREATE INDEX CONCURRENTLY i ON orders (customer)",
        "ALTER TABLE orders ADD CONSTRAINT c CHECK (customer > 0) NOT VALID",
        "ALTER TABLE orders VALIDATE CONSTRAINT c",
        "DROP INDEX CONCURRENTLY i",
        "VACUUM orders",
        alone=True,
    )
    assert [(), ((T, AX),), (), (), ()] == [traced.locks for traced in statements]
    assert [((T, "build"),), (), ((T, "scan"),), (), ()] == [traced.work for traced in statements]


def test_a_long_statement_is_traced_like_a_short_one(trace):
    """A statement longer than the second after which a session publishes its counts is traced with its scan."""
    (traced,) = trace("DO $$BEGIN PERFORM pg_sleep(1.1); ALTER TABLE orders ALTER note SET NOT NULL; END$$", alone=True)
    assert (((T, AX),), ((T, "scan"),)) == (traced.locks, traced.work)


def test_a_scan_counts_however_late_its_statement_begins(trace, monkeypatch):
    """A scan is traced although more than a second passes between the session's last publication and its statement."""

    class Late(tripwire.Tripwire):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            time.sleep(1.1)

    monkeypatch.setattr(trace_module, "Tripwire", Late)
    (traced,) = trace("ALTER TABLE orders ALTER note SET NOT NULL", alone=True)
    assert (((T, AX),), ((T, "scan"),)) == (traced.locks, traced.work)


def test_a_new_table_is_ignored(trace):
    """Locks on tables that the revision creates block no one."""
    statements = trace("CREATE TABLE fresh (id int)", "CREATE INDEX i ON fresh (id)")
    assert [((), ())] * 2 == [(traced.locks, traced.work) for traced in statements]


def test_the_tracer_never_causes_a_lock_timeout(trace):
    """A statement with a lock_timeout, however short, or with NOWAIT, succeeds as without the tracer."""
    strong = ["ALTER TABLE orders ADD extra int", "ALTER TABLE orders DROP extra"] * 10

    assert [((T, AX),)] * 20 == [traced.locks for traced in trace(*strong, alone=True, settings="-c lock_timeout=20s")]
    hasty = trace(*strong, alone=True, settings="-c lock_timeout=20ms")
    assert [()] * 20 == [traced.locks for traced in hasty], "no tripwire was set"
    trace("DO $$BEGIN LOCK TABLE orders NOWAIT; END$$", alone=True)


def test_the_wait_for_the_tripwire_is_not_counted(trace, monkeypatch):
    """The time of a statement does not include its wait for the tripwire."""

    class Slow(tripwire.Tripwire):
        def _look(self, rows):
            """Release the tripwire only after half a second."""
            super()._look([row for row in rows if not row[6] or (row[5] or 0.0) >= 0.5])

    monkeypatch.setattr(trace_module, "Tripwire", Slow)
    late = "DO $$BEGIN PERFORM pg_sleep(0.5); ALTER TABLE orders ADD extra int; END$$"
    began = time.perf_counter()
    (traced,) = trace(late, alone=True)
    elapsed = time.perf_counter() - began
    # Half a second was spent waiting, however long the machine took for the rest; the clocks are two.
    assert 0.4 <= traced.seconds < elapsed - 0.4


@pytest.mark.parametrize("alone", [False, True], ids=["transaction", "alone"])
def test_a_failed_statement_is_traced_and_nothing_stays_locked(database_url, tables, sql, alone):
    """A statement that fails is traced with its lock, its error reaches the project, and no lock remains."""
    existing = tables()
    level = "AUTOCOMMIT" if alone else "READ COMMITTED"
    engine = create_engine(database_url, poolclass=NullPool, isolation_level=level)
    with connect(database_url) as observer, engine.connect() as connection, tracing(observer, existing, HERE) as traced:
        with pytest.raises(DBAPIError, match="is violated by some row"):
            connection.exec_driver_sql("ALTER TABLE orders ADD CHECK (id > 5)")
        connection.rollback()
        connection.exec_driver_sql("ALTER TABLE orders ADD extra int")
        remaining = sql("SELECT mode FROM pg_locks WHERE mode = 'RowExclusiveLock' AND relation = 'orders'::regclass")
    failed, after = traced.statements
    assert (((T, AX),) if alone else ()) == failed.locks
    assert ((T, AX),) == after.locks
    assert [] == remaining


def test_another_session_is_not_disturbed(trace, tables, psycopg_connect):
    """If another session holds a table, the statement waits for it as usual, and ends when that session ends."""
    other = psycopg_connect(autocommit=True)
    done = threading.Event()
    waiting = f"""SELECT count(*) FROM pg_locks WHERE relation = 'orders'::regclass AND NOT granted
                  AND pg_blocking_pids(pid) = ARRAY[{other.info.backend_pid}]"""  # the tripwire no longer blocks it

    def hold():
        while not other.execute("SELECT to_regclass('extra_seen')").fetchone()[0]:
            time.sleep(0.01)
        with other.transaction():
            other.execute("LOCK TABLE orders IN ACCESS SHARE MODE")
            done.set()
            while not other.execute(waiting).fetchone()[0]:
                time.sleep(0.01)
            time.sleep(1)

    thread = threading.Thread(target=hold)
    thread.start()
    _, _, traced = trace(
        "CREATE TABLE extra_seen (id int)",
        # By its pid, because on a server that is not the tests' own autovacuum also locks tables.
        f"""DO $$BEGIN
        WHILE NOT EXISTS (SELECT FROM pg_locks
                          WHERE relation = 'orders'::regclass AND pid = {other.info.backend_pid}) LOOP
            PERFORM pg_sleep(0.01);
        END LOOP; END$$""",
        "ALTER TABLE orders ADD extra int",
        alone=True,
    )
    thread.join()
    assert done.is_set()
    assert ((T, AX),) == traced.locks
    assert 0.2 < traced.seconds


def test_no_other_session_waits_for_the_tripwire(trace, sql, psycopg_connect):
    """The tripwire is released as soon as another session wants a lock, because the statement may wait for that one."""
    other = psycopg_connect(autocommit=True)
    # The statement ends when the other session has its lock.
    other.execute("SET lock_timeout = '2min'; SELECT pg_advisory_lock(5)")

    statement = "DO $$BEGIN PERFORM pg_sleep(1); PERFORM pg_advisory_xact_lock(5); END$$"
    quoted = f"$q${statement}$q$"

    def want():
        begun = f"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = {quoted}"
        while not other.execute(begun).fetchone()[0]:
            time.sleep(0.01)
        try:
            with other.transaction():
                other.execute("LOCK TABLE customers IN SHARE MODE")
        finally:
            other.execute("SELECT pg_advisory_unlock(5)")

    thread = threading.Thread(target=want)
    thread.start()
    (traced,) = trace(statement, alone=True)
    thread.join()
    assert 0.9 < traced.seconds
    assert () == traced.locks, "another's lock is not the statement's"


def test_the_line_of_the_revision_is_known(database_url, tables):
    """A statement has the line of the revision's file that caused it; statements of other files are not traced."""
    existing = tables()
    engine = create_engine(database_url, poolclass=NullPool)
    with connect(database_url) as observer, engine.connect() as connection:
        with tracing(observer, existing, HERE) as traced:
            connection.exec_driver_sql("SELECT 1"); line = inspect.currentframe().f_lineno  # fmt: skip # noqa: E702
        with tracing(observer, existing, HERE.with_name("no_such_revision.py")) as untraced:
            connection.exec_driver_sql("ALTER TABLE orders ADD extra int")
    assert [line] == [traced.line for traced in traced.statements]
    assert () == untraced.statements


def test_a_connection_to_another_database_is_not_traced(database_url, server_url, tables):
    """Work of a revision in another database takes no lock in this one."""
    existing = tables()
    engine = create_engine(server_url, poolclass=NullPool)
    with connect(database_url) as observer, engine.connect() as elsewhere, tracing(observer, existing, HERE) as traced:
        elsewhere.exec_driver_sql("CREATE TEMPORARY TABLE orders (id int)")
    assert () == traced.statements


def test_the_isolation_level_can_still_be_set_first(trace):
    """No query is sent to a session before the statement that must come first in its transaction."""
    level = "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    statements = trace(level, "ALTER TABLE orders ADD extra int")
    assert [((T, AX),)] == [traced.locks for traced in statements]


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
    """Every statement may take a strong lock, unless it is known to lock no more than a writer does."""
    assert can is can_lock(text)
