"""An extra that could not be inserted again is not archived, whatever kind of condition it violates."""

import threading

import psycopg
import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.errors import Refused
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k",), name="uq")
ANY = CleanupRule(divergent="archive")
ROWS = "INSERT INTO t (id, k, v) VALUES (1, 7, 1), (2, 7, -1), (3, 7, -1), (4, 8, -1), (5, 9, NULL), (6, 9, 2)"
TABLE = f"CREATE TABLE t (id int PRIMARY KEY, k int, v int); {ROWS}"

#: per case: the table, what is violated by rows 2 and 3 alone of the extras, and what makes them obey
CASES = {
    "check": (
        f"{TABLE}; ALTER TABLE t ADD CONSTRAINT positive CHECK (v > 0) NOT VALID",
        "2 extras: check constraint positive",
        "ALTER TABLE t DROP CONSTRAINT positive",
    ),
    "check whose function has changed": (
        (
            "CREATE FUNCTION f(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT true'; "
            f'CREATE TABLE t (id int PRIMARY KEY, k int, v int CONSTRAINT "f v" CHECK (f(v))); {ROWS}; '
            "CREATE OR REPLACE FUNCTION f(int) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1 > 0'"
        ),
        '2 extras: check constraint "f v"',
        'ALTER TABLE t DROP CONSTRAINT "f v"',
    ),
    "check of the whole row": (
        (
            f'CREATE TABLE "s t" (id int PRIMARY KEY, k int, v int); ALTER TABLE "s t" RENAME TO t; {ROWS}; '
            "CREATE FUNCTION f(t) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT $1.v > 0'; "
            "ALTER TABLE t ADD CONSTRAINT whole CHECK (f(t)) NOT VALID"
        ),
        "2 extras: check constraint whole",
        "ALTER TABLE t DROP CONSTRAINT whole",
    ),
    "foreign key": (
        (
            f"CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2); {TABLE}; "
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (v) REFERENCES p NOT VALID"
        ),
        "2 extras: foreign key f",
        "INSERT INTO p VALUES (-1)",
    ),
    "foreign key that was bypassed": (
        (
            "CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1), (2); "
            "CREATE TABLE t (id int PRIMARY KEY, k int, v int CONSTRAINT f REFERENCES p); "
            f"SET session_replication_role = replica; {ROWS}; RESET session_replication_role"
        ),
        "2 extras: foreign key f",
        "INSERT INTO p VALUES (-1)",
    ),
    "foreign key of two columns": (
        (
            "CREATE TABLE p (a int, b bigint, UNIQUE (a, b)) PARTITION BY LIST (a); "
            f"CREATE TABLE p1 PARTITION OF p DEFAULT; {TABLE}; INSERT INTO p SELECT 7, 1; "
            "ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (k, v) REFERENCES p (a, b) NOT VALID; "
            "UPDATE t SET v = NULL WHERE id = 6"
        ),
        "2 extras: foreign key f",
        "INSERT INTO p VALUES (7, -1)",
    ),
    "foreign key to the table itself": (
        (
            f"{TABLE}; ALTER TABLE t ADD CONSTRAINT f FOREIGN KEY (v) REFERENCES t NOT VALID; "
            "UPDATE t SET v = 1 WHERE v = 2"
        ),
        "2 extras: foreign key f",
        "UPDATE t SET v = 1 WHERE v = -1",
    ),
    "domain": (
        (
            "CREATE DOMAIN d AS int; CREATE TABLE t (id int PRIMARY KEY, k int, v d); "
            f"{ROWS}; ALTER DOMAIN d ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID"
        ),
        "2 extras: constraint positive of domain d (column v)",
        "ALTER DOMAIN d DROP CONSTRAINT positive",
    ),
    "domain over a domain in an array": (
        (
            "CREATE DOMAIN d AS int; CREATE DOMAIN e AS d; CREATE TABLE t (id int PRIMARY KEY, k int, v int, a e[]); "
            f"{ROWS}; UPDATE t SET a = ARRAY[1, v]::e[]; "
            "ALTER DOMAIN d ADD CONSTRAINT positive CHECK (VALUE > 0) NOT VALID"
        ),
        "2 extras: constraint positive of domain d (column a)",
        "ALTER DOMAIN d DROP CONSTRAINT positive",
    ),
    "generated column": (
        (
            "CREATE FUNCTION f(int) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT $1'; "
            "CREATE TABLE t (id int PRIMARY KEY, k int, v int, g numeric(5, 2) GENERATED ALWAYS AS (f(v)) STORED); "
            f"{ROWS}; CREATE OR REPLACE FUNCTION f(int) RETURNS numeric IMMUTABLE LANGUAGE sql AS 'SELECT abs($1)'"
        ),
        "2 extras: generated column g",
        "UPDATE t SET v = v",
    ),
    "partition": (
        (
            "CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'; "
            "CREATE TABLE root (id int, k int, v int) PARTITION BY LIST (f(v)); "
            f"CREATE TABLE t PARTITION OF root FOR VALUES IN (1); {ROWS}; "
            "CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
            "'BEGIN RETURN coalesce(sign($1), 1); END'"
        ),
        "2 extras: the bounds of the partition",
        "ALTER TABLE root DETACH PARTITION t",
    ),
}


@pytest.mark.parametrize(("setup", "subject", "correction"), CASES.values(), ids=CASES)
@pytest.mark.representatives(
    "check", "foreign key to the table itself", "domain over a domain in an array", "generated column", "partition"
)
def test_h131_row_that_could_not_be_inserted_again_stays(sql, conn, dump, setup, subject, correction):
    """Extras that an INSERT would refuse are counted before any is archived; once corrected, they go up and down."""
    sql(setup)
    before = dump("t")
    reported = [f.message for f in preflight(conn, KEY, ANY).findings if f.id == "cannot-restore"]
    assert [f"Extras of public.t could not be inserted again, so a downgrade could not restore them: {subject}"] == [
        message.partition(" (its")[0].rstrip(".") for message in reported
    ]
    with pytest.raises(Refused, match="cannot-restore") as refusal:
        list(cleanup(conn, KEY, ANY))
    assert reported == [f.message for f in refusal.value.findings]
    assert before == dump("t")

    sql(correction)
    before = dump("t")
    assert 3 == sum(batch.archived for batch in cleanup(conn, KEY, ANY))
    list(restore(conn, 1))
    assert before == dump("t")


@pytest.mark.min_pg(18)
def test_h131_not_null_that_was_never_validated(sql, conn, live):
    """A row with a NULL that a NOT NULL constraint of PostgreSQL 18 tolerates stays; so do rows without a key value."""
    sql(TABLE)
    sql("INSERT INTO t VALUES (7, NULL, 1), (8, NULL, 1), (9, 9, NULL); ALTER TABLE t ADD NOT NULL v NOT VALID")
    sql("ALTER TABLE t ADD NOT NULL k NOT VALID")
    with pytest.raises(Refused, match=r"1 extra: constraint t_v_not_null \(column v is not null\)"):
        list(cleanup(conn, KEY, ANY))
    sql("UPDATE t SET v = 0 WHERE v IS NULL")
    list(cleanup(conn, KEY, ANY))
    assert [1, 4, 5, 7, 8] == live()


INVALID = ["(v)", "(k, v)", "(k) WHERE v > 0", "(abs(k))"]


@pytest.mark.parametrize("index", INVALID)
@pytest.mark.representatives("(k, v)", "(abs(k))")
def test_invalid_index_that_rejects_rows_keeps_the_extras(sql, conn, dump, index, psycopg_connect, wait_until):
    """A failed build can leave an index that rejects rows which the table has; no extra leaves until it is dropped."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int)")
    reader, builder = psycopg_connect(), psycopg_connect(autocommit=True)
    builder.execute("SET statement_timeout = '60s'")
    reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM pg_class")
    pid = builder.info.backend_pid

    def build():
        with pytest.raises(psycopg.errors.QueryCanceled):
            builder.execute(f"CREATE UNIQUE INDEX CONCURRENTLY other ON t {index}".encode())

    thread = threading.Thread(target=build)
    thread.start()
    # Every row that the older snapshot cannot see could be missing from the index, so the build waits for its end.
    wait_until(lambda: sql("SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('other') AND indisready"))
    sql(f"SELECT pg_cancel_backend({pid})")
    thread.join()
    reader.rollback()
    sql("ALTER TABLE t DISABLE TRIGGER ALL; INSERT INTO t VALUES (1, 7, 1), (3, 8, 3)")
    sql("UPDATE pg_index SET indisready = false WHERE indexrelid = 'other'::regclass; INSERT INTO t VALUES (2, 7, 1)")
    sql("UPDATE pg_index SET indisready = true WHERE indexrelid = 'other'::regclass")
    before = dump("t")
    with pytest.raises(Refused, match=r"1 extra: index other \(it is not valid, but rejects rows\)"):
        list(cleanup(conn, KEY, ANY))
    assert before == dump("t")
    sql("DROP INDEX other")
    list(cleanup(conn, KEY, ANY))
    list(restore(conn, 1))
    assert before == dump("t")


#: per case: the type of a column, how many a row of the table has, a value, how many leave room in the archive, and how
WIDE = {
    "fixed width": ("name", 126, "'x'", 123),
    "too short to leave the page": ("text", 402, "repeat('x', 19)", 395),
    "never stored elsewhere": (
        "tsquery",
        1,
        "repeat('x', 2000) || '&' || repeat('y', 2000) || '&' || repeat('z', 2000) || '&' || repeat('a', 1990)",
        0,
    ),
}


@pytest.mark.parametrize(("type_", "columns", "value", "room"), WIDE.values(), ids=WIDE)
@pytest.mark.representatives("too short to leave the page")
def test_row_that_fills_a_page_stays(sql, conn, dump, type_, columns, value, room):
    """A row that fits into a page, but not with the columns of the archive, is refused before any row leaves."""
    for name, number in (("t", columns), ("u", room)):
        listed = "".join(f", c{i} {type_}" for i in range(number))
        sql(f"CREATE TABLE {name} (id int PRIMARY KEY, k int{listed})")
        sql(f"INSERT INTO {name} SELECT i, 7{f', CAST({value} AS {type_})' * number} FROM generate_series(1, 2) AS i")
    before = dump("t")
    with pytest.raises(Refused, match="1 extra: the size of a row"):
        list(cleanup(conn, KEY, ANY))
    assert before == dump("t")
    before = dump("u")
    list(cleanup(conn, UniqueKey(table="u", columns=("k",)), ANY))
    list(restore(conn, 2))
    assert before == dump("u")


def test_row_of_many_wide_values_leaves(sql, conn, dump):
    """Values that the archive stores outside its pages, as the table does, are no obstacle."""
    listed = "".join(f", c{i} text" for i in range(300))
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k int{listed})")
    sql(f"INSERT INTO t SELECT i, 7{', repeat(md5(random()::text), 9)' * 300} FROM generate_series(1, 2) AS i")
    before = dump("t")
    assert 1 == sum(batch.archived for batch in cleanup(conn, KEY, ANY))
    list(restore(conn, 1))
    assert before == dump("t")


@pytest.fixture
def live(sql):
    """Return the ids in table t."""
    return lambda: [row[0] for row in sql("SELECT id FROM t ORDER BY id")]
