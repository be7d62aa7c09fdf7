"""Verify reports success only from the catalog, a count without indexes, and sums that agree."""

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.restore import restore
from dupe_audit.verify import verify

KEY = UniqueKey(table="t", columns=("k",), name="uq")


@pytest.fixture
def enforced(sql, conn):
    """Create a table, archive two of its rows, and create its constraint."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 8)")
    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())


def ids(report):
    """Return the ids of a report's findings."""
    return [f.id for f in report.findings]


@pytest.fixture
def corrupt(sql):
    """Return a function that inserts a duplicate that the index does not contain (H43)."""

    def plant(index):
        sql(f"UPDATE pg_index SET indisready = false WHERE indexrelid = '{index}'::regclass")
        sql("INSERT INTO t VALUES (50, 7)")
        sql(f"UPDATE pg_index SET indisready = true WHERE indexrelid = '{index}'::regclass")

    return plant


def test_success_with_amcheck(sql, conn, enforced):
    """An enforced key is verified without findings, and the report has the facts that prove it."""
    if not sql("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'"):
        pytest.skip("the server has no amcheck")
    report = verify(conn, KEY)
    assert (report.ok, ids(report), report.extras) == (True, [], 0)
    assert report.index
    assert (report.index.name, report.index.valid, report.index.ready) == ("uq", True, True)
    assert report.run
    assert (report.run.rows_before, report.run.archived, report.run.restored) == (4, 2, 0)


@pytest.mark.parametrize("failure", ["RAISE 'no'", "PERFORM 1 / 0", "PERFORM missing(value)"])
def test_expression_that_fails_in_amcheck_alone(sql, conn, failure):
    """If a function of the index fails under amcheck only, the report says that amcheck did not judge the index."""
    if not sql("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'"):
        pytest.skip("the server has no amcheck")
    body = f"BEGIN IF current_query() ~ 'bt_index_check' THEN {failure}; END IF; RETURN lower(value); END"
    sql(f"CREATE FUNCTION f(value text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $${body}$$")
    sql(
        "CREATE TABLE e (id int PRIMARY KEY, k text); INSERT INTO e VALUES (1, 'A'); CREATE UNIQUE INDEX ux ON e (f(k))"
    )
    report = verify(conn, UniqueKey(table="e", columns=(Expression("f(k)"),), name="ux", form="index"))
    (finding,) = [each for each in report.findings if each.id == "amcheck-missing"]
    assert (report.ok, "cannot compute an expression" in finding.message) == (True, True)


def test_success_without_amcheck(sql, conn, enforced):
    """Without amcheck everything else is still verified, and the report says what was not checked."""
    sql("DROP EXTENSION IF EXISTS amcheck")
    report = verify(conn, KEY)
    assert (report.ok, ids(report)) == (True, ["amcheck-missing"])


def test_missing_table(conn):
    """A table that does not exist is a finding."""
    report = verify(conn, KEY)
    assert (report.ok, ids(report)) == (False, ["table-missing"])


def test_missing_constraint(sql, conn, enforced):
    """A constraint that was dropped is reported as missing."""
    sql("ALTER TABLE t DROP CONSTRAINT uq")
    report = verify(conn, KEY)
    assert (report.ok, ids(report)) == (False, ["constraint-missing"])


def test_index_without_constraint(sql, conn, enforced):
    """A unique index of the right name does not count as the constraint."""
    sql("ALTER TABLE t DROP CONSTRAINT uq; CREATE UNIQUE INDEX uq ON t (k)")
    assert "constraint-missing" in ids(verify(conn, KEY))


def test_invalid_index_h177(sql, conn, enforced):
    """An index that is not valid enforces nothing, whatever its name."""
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq'::regclass")
    report = verify(conn, KEY)
    assert (report.ok, ids(report)) == (False, ["index-not-valid"])
    assert report.findings[0].help == (
        "If the revision is not applied yet, run: alembic upgrade head, which drops its own invalid index and builds "
        "it again. Otherwise downgrade and upgrade again."
    )


@pytest.mark.parametrize("form", ["UNIQUE (id)", "UNIQUE (k, id)", "UNIQUE (k) INCLUDE (id)", "UNIQUE (k) DEFERRABLE"])
@pytest.mark.representatives("UNIQUE (k, id)", "UNIQUE (k) DEFERRABLE")
def test_wrong_definition(sql, conn, enforced, form):
    """A constraint of the right name but another definition is reported."""
    sql(f"ALTER TABLE t DROP CONSTRAINT uq; ALTER TABLE t ADD CONSTRAINT uq {form}")
    report = verify(conn, KEY)
    assert not report.ok
    assert "wrong-definition" in ids(report)


def test_duplicates_behind_a_corrupt_index_h43(conn, enforced, corrupt):
    """The count uses no index, so a corrupt index hides nothing (H43)."""
    corrupt("uq")
    report = verify(conn, KEY)
    assert (report.ok, report.extras) == (False, 1)
    assert "duplicates-remain" in ids(report)


def test_corrupt_index_is_reported_by_amcheck(sql, conn, enforced, corrupt):
    """If amcheck is installed, an index that lacks a row is reported."""
    if not sql("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'"):
        pytest.skip("the server has no amcheck")
    corrupt("uq")
    assert "index-corrupt" in ids(verify(conn, KEY))


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM dupe_audit.archive_1 WHERE id = 2",
        "UPDATE dupe_audit.run SET archived = 3",
        "DELETE FROM dupe_audit.batch",
        "UPDATE dupe_audit.archive_1 SET dupe_audit_restored_at = now() WHERE id = 2",
    ],
)
@pytest.mark.representatives("DELETE FROM dupe_audit.archive_1*", "DELETE FROM dupe_audit.batch")
def test_sums_that_do_not_agree(sql, conn, enforced, tampering):
    """A manual change to the ledger or to an archive is detected."""
    sql(tampering)
    report = verify(conn, KEY)
    assert not report.ok
    assert set(ids(report)) - {"amcheck-missing"} == {"ledger-mismatch"}


def test_missing_archive(sql, conn, enforced):
    """An archive that is missing although its run was neither restored nor purged is reported."""
    sql("DROP TABLE dupe_audit.archive_1")
    assert "archive-missing" in ids(verify(conn, KEY))


def test_unfinished_run(sql, conn):
    """A run that stopped halfway is reported as unfinished."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    batches = cleanup(conn, KEY, CleanupRule(batch_size=1))
    next(batches)
    batches.close()
    report = verify(conn, KEY)
    assert (report.ok, report.extras) == (False, 1)
    assert {"constraint-missing", "duplicates-remain", "run-unfinished"} <= set(ids(report))


def test_sums_agree_after_a_restore(sql, conn, enforced):
    """The sums still agree after a restore."""
    sql("ALTER TABLE t DROP CONSTRAINT uq")
    list(restore(conn, 1))
    assert "ledger-mismatch" not in ids(verify(conn, KEY))


def test_nulls_count_as_in_the_constraint(sql, conn):
    """Two NULLs are not duplicates of each other unless the key says so."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, NULL), (2, NULL)")
    enforce(conn, KEY, BuildRule())
    assert verify(conn, KEY).extras == 0


def test_wait_for_a_locked_table_is_limited(conn, enforced, psycopg_connect):
    """Verify does not wait for ever for a table that another session has locked."""
    other = psycopg_connect()
    other.execute("LOCK t")
    conn.exec_driver_sql("SET statement_timeout = '9s'")
    with pytest.raises(Exception, match="lock timeout"):
        verify(conn, KEY)


def test_table_that_needed_no_cleanup(sql, conn):
    """The constraint of a table that needed no cleanup is verified as well."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 1), (2, 2)")
    enforce(conn, KEY, BuildRule())
    assert [f.id for f in verify(conn, KEY).findings if f.severity == "error"] == []


def test_rows_archived_for_another_key_are_no_traffic(sql, conn):
    """Rows that another key's run has archived since, or restored, are not counted as the application's."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, j int)")
    sql("INSERT INTO t VALUES (1, 7, 1), (2, 7, 2), (3, 8, 3), (4, 9, 3), (5, 10, 3)")
    other = UniqueKey(table="t", columns=("j",), name="uq_j")
    rule = CleanupRule(divergent="archive")
    list(cleanup(conn, KEY, rule))
    list(cleanup(conn, other, rule))
    enforce(conn, KEY, BuildRule())
    sql("INSERT INTO t VALUES (6, 11, 11)")
    assert [1, 1] == [verify(conn, key).traffic for key in (KEY, other)]
    list(restore(conn, 2))
    assert 1 == verify(conn, KEY).traffic
