"""Hard cases G: what the archive holds, who can read it, and what has changed before its rows are restored."""

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k",), name="uq")
PARTITIONED = "CREATE TABLE p (LIKE t) PARTITION BY RANGE (id)"


def problems(sql):
    """Return the SQLSTATEs of the rows that were not restored, by id."""
    rows = sql("SELECT id, left(dupe_audit_problem, 5) FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL")
    return dict(rows)


def test_h128_row_is_archived_by_the_transaction_that_deletes_it(sql, clean, archived, live):
    """An error at a batch's commit rolls back both the delete and the archived row."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today'; END$$")
    sql("CREATE CONSTRAINT TRIGGER f AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f()")
    with pytest.raises(DBAPIError, match="not today"):
        clean(KEY)
    assert ([1, 2], []) == (live(), archived())
    assert [(0, 0)] == sql("SELECT archived, (SELECT count(*) FROM dupe_audit.batch) FROM dupe_audit.run")


def test_h129_ledger_shows_no_row_that_the_table_hides(sql, conn, connect, member):
    """Ledger, ranking and archive are readable to their owner only, despite default privileges and row security."""
    sql(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, {member}")
    sql(f"ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO PUBLIC, {member}")
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    sql("ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON t USING (id = 1)")
    stranger = connect(role=member)
    assert [(1,)] == stranger.exec_driver_sql("SELECT id FROM t").all()
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1))
    next(batches)
    for name in ("run", "batch", "stage_1", "archive_1"):
        for statement in ("SELECT * FROM dupe_audit.{}", "DELETE FROM dupe_audit.{}", "TRUNCATE dupe_audit.{}"):
            with pytest.raises(DBAPIError, match="permission denied"):
                stranger.exec_driver_sql(statement.format(name))
    list(batches)


def lose_the_reply(sql, connection, words):
    """Kill the connection after the server has committed the transaction with these words, before it replies."""
    pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    executed = []

    def hook(_connection, _cursor, statement, *_rest):
        if words in statement:
            executed.append(statement)
        elif executed and statement == "COMMIT":
            event.remove(connection, "after_cursor_execute", hook)
            sql(f"SELECT pg_terminate_backend({pid})")
            raise psycopg.OperationalError("the connection was lost")

    event.listen(connection, "after_cursor_execute", hook)


@pytest.mark.parametrize("identity", ["id int PRIMARY KEY", "id int"], ids=["primary key", "no primary key"])
def test_h136_commit_without_a_reply_counts_once(sql, connect, dump, identity):
    """A batch whose commit was not acknowledged is neither repeated nor counted twice, in cleanup and restore."""
    number = "i" if "KEY" in identity else "1"
    sql(f"CREATE TABLE t ({identity}, k int); INSERT INTO t SELECT {number}, 7 FROM generate_series(1, 6) AS i")
    before = dump("t")
    first = connect()
    lose_the_reply(sql, first, "DELETE FROM ONLY")
    with pytest.raises(DBAPIError, match="lost"):
        list(cleanup(first, KEY, CleanupRule(batch_size=2)))
    assert [(2,)] == sql("SELECT count(*) FROM dupe_audit.archive_1")
    second = connect()
    assert 3 == sum(batch.archived for batch in cleanup(second, KEY, CleanupRule(batch_size=2)))
    assert [(5, 5, 5)] == sql(
        "SELECT archived, (SELECT sum(archived)::int FROM dupe_audit.batch), "
        "(SELECT count(*) FROM dupe_audit.archive_1) FROM dupe_audit.run"
    )

    lose_the_reply(sql, second, "OVERRIDING SYSTEM VALUE")
    with pytest.raises(DBAPIError, match="lost"):
        list(restore(second, 1, batch_size=2))
    assert 3 == sum(batch.restored for batch in restore(connect(), 1, batch_size=2))
    assert before == dump("t")
    assert [(5, 5)] == sql("SELECT restored, (SELECT sum(restored)::int FROM dupe_audit.batch) FROM dupe_audit.run")


def test_h131_row_whose_parent_is_gone_is_reported(sql, conn, clean):
    """A row whose parent has been deleted stays archived with the reason; the other rows are restored."""
    sql("CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1), (2)")
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, p int REFERENCES parent)")
    sql("INSERT INTO t VALUES (1, 7, 1), (2, 7, 2), (3, 7, 1)")
    clean(KEY, ignore=("p",))
    sql("DELETE FROM parent WHERE id = 2")
    with pytest.raises(Refused, match="archived rows restored"):
        list(restore(conn, 1))
    assert {2: "23503"} == problems(sql)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", None),
        ("int NOT NULL DEFAULT 3", 3),
        ("positive DEFAULT 4", 4),
        ("int GENERATED ALWAYS AS (k * 2) STORED", 14),
        ("text NOT NULL DEFAULT current_schema()", "public"),
        pytest.param("int GENERATED ALWAYS AS (k * 3) VIRTUAL", 21, marks=pytest.mark.min_pg(18)),
    ],
)
@pytest.mark.representatives("text-None", "int GENERATED*")
def test_h123_column_added_during_a_run_is_in_every_row(sql, conn, clean, column, value):
    """Rows archived before a column was added are restored with the value that the table's own rows got."""
    sql("CREATE DOMAIN positive AS int NOT NULL CHECK (VALUE > 0)")
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, 7 FROM generate_series(1, 4) AS i")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1))
    next(batches)
    batches.close()
    sql(f"ALTER TABLE t ADD COLUMN c {column}")
    assert 2 == sum(batch.archived for batch in clean(KEY))
    list(restore(conn, 1))
    assert [(1, value), (2, value), (3, value), (4, value)] == sql("SELECT id, c FROM t ORDER BY id")


@pytest.mark.parametrize(
    ("change", "unrestored"),
    [
        ("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v int GENERATED ALWAYS AS (k) STORED", {2, 3}),
        ("ALTER TABLE t DROP COLUMN v; ALTER TABLE t ADD COLUMN v int", set()),
        ("ALTER TABLE t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY", set()),
        ("ALTER TABLE t ALTER COLUMN v SET NOT NULL", {3}),
        ("ALTER TABLE t ADD COLUMN w int; ALTER TABLE t DROP CONSTRAINT t_pkey", set()),
        (f"{PARTITIONED}; ALTER TABLE p ATTACH PARTITION t FOR VALUES FROM (0) TO (3)", {3}),
    ],
    ids=["now generated", "re-created", "now identity", "now not null", "no primary key now", "now a partition"],
)
@pytest.mark.representatives("re-created", "now identity", "now a partition")
def test_h132_rows_that_fit_the_changed_table_are_restored(sql, conn, clean, change, unrestored):
    """However the table has changed, each row is restored with its own values or stays archived with a reason."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 7, 1), (2, 7, 2), (3, 7, NULL)")
    clean(KEY, divergent="archive")
    sql(change)
    if unrestored:
        with pytest.raises(Refused, match="rows-not-restored"):
            list(restore(conn, 1))
    else:
        list(restore(conn, 1))
    assert unrestored == problems(sql).keys()
    wanted = {2: (2, 7, 2), 3: (3, 7, None)}
    assert [wanted[id_] for id_ in (2, 3) if id_ not in unrestored] == sql(
        "SELECT id, k, v FROM t WHERE id > 1 ORDER BY id"
    )


def test_h143_archive_keeps_its_types_until_it_is_purged(sql, conn, clean):
    """A type that archived rows use cannot be dropped until they are purged."""
    sql("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE t (id int PRIMARY KEY, k int, m mood)")
    sql("INSERT INTO t VALUES (1, 7, 'sad'), (2, 7, 'sad')")
    clean(KEY)
    sql("ALTER TABLE t DROP COLUMN m")
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="mood"):
        sql("DROP TYPE mood")
    with pytest.raises(DupeAuditError, match="no longer has m"):
        list(restore(conn, 1))
    ledger.purge(conn, 1)
    sql("DROP TYPE mood")


def test_h145_estimates_are_of_the_right_size(sql, conn, clean):
    """The sizes of index, archive and sort are as estimated, within a small factor and a few pages."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text, v text)")
    sql("INSERT INTO t SELECT i, md5((i / 2)::text), repeat('x', 200) FROM generate_series(1, 20000) AS i")
    sql("VACUUM ANALYZE t")
    estimates = preflight(conn, KEY).estimates
    clean(KEY)
    enforce(conn, KEY, BuildRule())
    index, archive = sql("SELECT pg_relation_size('uq'), pg_relation_size('dupe_audit.archive_1')")[0]
    # The index is built after the extras are removed, but the estimate is made while they still exist.
    assert index / 2 < estimates.index_bytes < 4 * index
    assert archive / 2 < estimates.archive_bytes < 2 * archive
    assert 20000 * 33 < estimates.temp_bytes < 20000 * 33 * 4
