"""One row that cannot go back stops no other, and a change of the table since the cleanup is named for what it is."""

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k",))

#: text that no compression makes fit into an index entry
LONG = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) AS i)"


@pytest.fixture
def archived(sql, conn, dump):
    """Clean a table with these columns besides id and k, and return its rows as they were before."""

    def prepare(columns, *rows):
        sql(f"CREATE TABLE t (id int PRIMARY KEY, k int, {columns})")
        for number, row in enumerate(rows, 1):
            sql(f"INSERT INTO t VALUES ({number}, 7, {row})")
        before = dump("t")
        list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
        return before

    return prepare


def problems(sql):
    """Return the reasons of the archived rows that were not restored."""
    return sql(
        "SELECT id, dupe_audit_problem FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL ORDER BY id"
    )


def test_row_too_wide_for_a_later_index_stays_alone(sql, conn, dump, archived):
    """A row that does not fit into an index created since stays archived with the reason; all others go back."""
    before = archived("v text", "'a'", "'b'", LONG, "'d'")
    sql("CREATE INDEX narrow ON t (v)")
    with pytest.raises(Refused, match="2 of 3 archived rows restored"):
        list(restore(conn, 1))
    ((id_, reason),) = problems(sql)
    assert (3, "54000") == (id_, reason[:5])
    sql("DROP INDEX narrow")
    list(restore(conn, 1))
    assert before == dump("t")


def test_lone_row_is_compared_byte_for_byte(sql, conn, dump, archived):
    """A single row is compared by its image, which no limit of a text's length applies to; a change is noticed."""
    archived("v numeric, j json, f float8", "1.0, '{\"a\": 1}', '-0'", "1.00, '{ \"a\":1}', 'nan'", "NULL, NULL, NULL")
    sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.v := NEW.v + 0.000; RETURN NEW; END$$")
    sql("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 2) EXECUTE FUNCTION f()")
    with pytest.raises(Refused, match="1 of 2 archived rows restored"):
        list(restore(conn, 1, batch_size=1))
    assert [(2, "a trigger on the table changed the row or kept it out")] == problems(sql)


CHANGED = [
    "ALTER TABLE t DROP COLUMN g; ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (v * 10) STORED",
    pytest.param("ALTER TABLE t ALTER COLUMN g SET EXPRESSION AS (v * 10)", marks=pytest.mark.min_pg(17)),
]


@pytest.mark.parametrize("change", CHANGED, ids=["created again", "set"])
@pytest.mark.parametrize("batch_size", [1, 5000])
@pytest.mark.representatives("1-set", "5000-created again")
def test_generated_column_is_computed_by_its_new_expression(sql, conn, archived, change, batch_size):
    """A row whose generated column has another expression since is restored, with the newly computed value."""
    archived("v int, g int GENERATED ALWAYS AS (v * 2) STORED", "1", "2", "3")
    sql(change)
    list(restore(conn, 1, batch_size=batch_size))
    assert [(1, 1, 10), (2, 2, 20), (3, 3, 30)] == sql("SELECT id, v, g FROM t ORDER BY id")
    assert [("restored",)] == sql("SELECT state FROM dupe_audit.run")


@pytest.mark.min_pg(18)
def test_virtual_column_is_computed_by_its_new_expression(sql, conn, archived):
    """The same for a column that is computed when it is read."""
    archived("v int, g int GENERATED ALWAYS AS (v * 2) VIRTUAL", "1", "2")
    sql("ALTER TABLE t ALTER COLUMN g SET EXPRESSION AS (v * 10)")
    list(restore(conn, 1))
    assert [(1, 10), (2, 20)] == sql("SELECT id, g FROM t ORDER BY id")


def test_column_that_became_generated_is_named(sql, conn, archived):
    """A row whose archived value differs from what the table computes now stays, and the reason names the column."""
    archived("v int, g int", "1, 2", "2, 4", "3, 99")
    sql("ALTER TABLE t DROP COLUMN g; ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (v * 2) STORED")
    with pytest.raises(Refused, match="1 of 2 archived rows restored"):
        list(restore(conn, 1))
    ((id_, reason),) = problems(sql)
    assert (3, True) == (id_, reason.startswith("the value of column g, which is generated now, differs"))


def test_column_that_is_no_longer_generated_gets_the_archived_value(sql, conn, dump, archived):
    """A generated column that became an ordinary one gets back what was archived."""
    before = archived("v int, g int GENERATED ALWAYS AS (v * 2) STORED", "1", "2")
    sql("ALTER TABLE t ALTER COLUMN g DROP EXPRESSION")
    list(restore(conn, 1))
    assert before == dump("t")


def test_identity_column_keeps_its_values(sql, conn, dump, archived):
    """A column that became GENERATED ALWAYS AS IDENTITY gets the archived values, not new ones."""
    before = archived("n int NOT NULL", "5", "6", "7")
    sql("ALTER TABLE t ALTER COLUMN n ADD GENERATED ALWAYS AS IDENTITY")
    list(restore(conn, 1))
    assert before == dump("t")


def test_row_that_violates_a_new_check_of_a_domain_is_restored(sql, conn, dump, archived):
    """A check that a domain got since is not asked of an archived value, which has the domain's type already."""
    sql("CREATE DOMAIN percentage AS int")
    before = archived("p percentage", "1", "2", "300")
    sql("ALTER DOMAIN percentage ADD CHECK (VALUE <= 100) NOT VALID")
    list(restore(conn, 1))
    assert before == dump("t")


def test_enum_replaced_by_another_is_refused(sql, conn, archived):
    """A column whose enum was replaced, to remove a value, has another type: nothing is restored."""
    sql("CREATE TYPE mood AS ENUM ('ok', 'gone'); CREATE TYPE mood_2 AS ENUM ('ok')")
    archived("m mood", "'ok'", "'gone'")
    sql("ALTER TABLE t ALTER COLUMN m TYPE mood_2 USING 'ok'")
    with pytest.raises(DupeAuditError, match=r"another type for m.*Nothing was restored"):
        list(restore(conn, 1))
