"""A run is found by what its key means, after its columns, its table, its schema or its functions were renamed."""

from dataclasses import replace

import pytest

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import DupeAuditError
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.postgres.session import transaction
from dupe_audit.restore import restore
from dupe_audit.verify import verify, verify_named

RULE = CleanupRule(divergent="archive")


def key_of(elements: str, where: str, *, table: str = "users", schema: str = "public") -> UniqueKey:
    """Return the key of two elements."""
    first, second = elements.split("; ")
    columns = (Expression(first), second)
    return UniqueKey(table=table, schema=schema, columns=columns, where=where, name="ux", form="index")


KEY = key_of("app.norm(email); tenant", "gone IS NULL")

#: the change, and the key as it is written afterwards
RENAMES = {
    "column": ("ALTER TABLE users RENAME email TO mail", key_of("app.norm(mail); tenant", "gone IS NULL")),
    "columns of the predicate and beside": (
        "ALTER TABLE users RENAME gone TO deleted; ALTER TABLE users RENAME tenant TO owner",
        key_of("app.norm(email); owner", "deleted IS NULL"),
    ),
    "swapped columns": (
        "; ".join(f"ALTER TABLE users RENAME {names}" for names in ("email TO x", "other TO email", "x TO other")),
        key_of("app.norm(other); tenant", "gone IS NULL"),
    ),
    "table": ("ALTER TABLE users RENAME TO people", key_of("app.norm(email); tenant", "gone IS NULL", table="people")),
    "schema of the table": (
        "CREATE SCHEMA moved; ALTER TABLE users SET SCHEMA moved",
        key_of("app.norm( email ); tenant", "(gone IS NULL)", schema="moved"),
    ),
    "table and column": (
        "ALTER TABLE users RENAME TO people; ALTER TABLE people RENAME email TO mail",
        key_of("app.norm(mail); tenant", "gone IS NULL", table="people"),
    ),
}
#: what the text of the run cannot follow, but its index does
OF_FUNCTIONS = {
    "function": ("ALTER FUNCTION app.norm RENAME TO folded", key_of("app.folded(email); tenant", "gone IS NULL")),
    "schema of the function": ("ALTER SCHEMA app RENAME TO lib", key_of("lib.norm(email); tenant", "gone IS NULL")),
    "function and column": (
        "ALTER FUNCTION app.norm SET SCHEMA public; ALTER TABLE users RENAME email TO mail",
        key_of("norm(mail); tenant", "gone IS NULL"),
    ),
}


@pytest.fixture
def cleaned(sql, conn, dump):
    """The table, cleaned of one extra; returns its rows from before."""
    sql("CREATE SCHEMA app")
    sql("CREATE FUNCTION app.norm(v text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN lower(v); END'")
    sql("CREATE TABLE users (dropped int, id int PRIMARY KEY, email text, tenant int, gone date, other text)")
    sql("ALTER TABLE users DROP dropped")
    sql("INSERT INTO users VALUES (1, 'Ann@x', 1), (2, 'ann@X', 1), (3, 'bob@x', 1)")
    sql("INSERT INTO users VALUES (4, 'bob@x', 1, '2026-01-01')")
    before = dump("users")
    assert 1 == sum(batch.archived for batch in cleanup(conn, KEY, RULE))
    return before


def run_of(conn, key):
    """Return the run of a key as a directive finds it."""
    located, relation = catalog.require(conn, key)
    latest = ledger.find_latest(conn, relation.relid, located)
    return latest.run.id if latest else None


@pytest.mark.parametrize("case", RENAMES)
@pytest.mark.representatives("swapped columns", "table and column")
def test_cleaned_run_is_found_and_enforced_after_a_rename(sql, conn, cleaned, case):
    """Before an index exists, the key as it is written now continues the run instead of opening a second one."""
    change, key = RENAMES[case]
    sql(change)
    assert 1 == run_of(conn, key)
    if case == "swapped columns":
        with pytest.raises(DupeAuditError, match="at other positions"):
            list(cleanup(conn, key, RULE))
        return
    assert 0 == sum(batch.archived for batch in cleanup(conn, key, RULE))
    enforce(conn, key, BuildRule())
    assert [(1,)] == sql("SELECT count(*) FROM dupe_audit.run")
    report = verify(conn, key)
    assert (True, 1) == (report.ok, report.run and report.run.id), report.findings


@pytest.mark.parametrize("case", RENAMES | OF_FUNCTIONS)
@pytest.mark.representatives("columns of the predicate and beside", "schema of the table", "function and column")
def test_enforced_run_is_verified_dropped_and_restored_after_a_rename(sql, conn, dump, cleaned, case):
    """The key as it is written now finds the run by its index, and after the drop by what the index compared."""
    enforce(conn, KEY, BuildRule())
    change, key = (RENAMES | OF_FUNCTIONS)[case]
    sql(change)
    for report in (verify(conn, key), verify_named(conn, table=key.table, schema=key.schema, name="ux")):
        assert (True, 1) == (report.ok, report.run and report.run.id), report.findings
    index = UniqueKey(table=key.table, schema=key.schema, columns=("ux",), name="ux", form="index")
    if "column" in case:  # an archived column has another name, so that nothing is dropped before it is renamed back
        with pytest.raises(DupeAuditError, match=r"Nothing was dropped\. .*back"):
            drop(conn, index, BuildRule())
        return
    drop(conn, index, BuildRule())
    assert 1 == run_of(conn, key)
    list(restore(conn, 1))
    assert cleaned == dump(key.schema, key.table)


@pytest.mark.parametrize(
    "other",
    [
        key_of("app.norm(other); tenant", "gone IS NULL"),
        key_of("app.norm(email); id", "gone IS NULL"),
        key_of("app.norm(email); tenant", "gone IS NOT NULL"),
        key_of('app.norm(email COLLATE "POSIX") COLLATE "default"; tenant', "gone IS NULL"),
    ],
    ids=["expression", "column", "predicate", "collation inside"],
)
@pytest.mark.representatives("column", "collation inside")
def test_other_keys_do_not_find_the_run(sql, conn, cleaned, other):
    """A key that differs in an element, in the predicate or in a collation has another run, enforced or not."""
    for change in ("SELECT", "ALTER TABLE users RENAME tenant TO owner"):
        sql(change)
        assert run_of(conn, other) is None
    sql("ALTER TABLE users RENAME owner TO tenant")
    enforce(conn, KEY, BuildRule())
    assert (None, 1) == (run_of(conn, other), run_of(conn, KEY))


def test_name_of_a_column_that_another_has_now(sql, conn, cleaned):
    """After two columns have swapped names, the old text finds the run by its words, and the new one by its meaning."""
    sql(RENAMES["swapped columns"][0])
    assert (1, 1) == (run_of(conn, KEY), run_of(conn, RENAMES["swapped columns"][1]))


def test_renamed_value_of_an_enum_stops_no_other_key(sql, conn, cleaned):
    """The text of a run that names the old value of an enum cannot be planned, but other keys of the table go on."""
    sql("CREATE TYPE status AS ENUM ('active', 'closed'); ALTER TABLE users ADD status status DEFAULT 'active'")
    active, closed = (replace(KEY, where=f"status = '{value}'", name=f"ux_{value}") for value in ("active", "closed"))
    list(cleanup(conn, active, RULE))
    enforce(conn, active, BuildRule())
    sql("ALTER TYPE status RENAME VALUE 'active' TO 'enabled'")
    assert (None, 1) == (run_of(conn, closed), run_of(conn, KEY))
    list(cleanup(conn, closed, RULE))
    enforce(conn, closed, BuildRule())
    assert verify(conn, closed).ok
    enabled = replace(active, where="status = 'enabled'")
    assert (verify(conn, active).ok, verify(conn, enabled).ok) == (False, True)
    assert run_of(conn, enabled) == run_of(conn, active)


def test_index_that_got_the_name_after_the_drop(sql, conn, cleaned):
    """An index that was created by hand under the name of a dropped one does not lead to the run of that one."""
    enforce(conn, KEY, BuildRule())
    drop(conn, KEY, BuildRule())
    sql("CREATE UNIQUE INDEX ux ON users (app.norm(other), tenant) WHERE gone IS NULL")
    assert (None, 1) == (run_of(conn, key_of("app.norm(other); tenant", "gone IS NULL")), run_of(conn, KEY))


def test_run_is_found_after_a_dump(sql, conn, cleaned):
    """In another database numbers of columns mean nothing: until the key is enforced, the names of the dump count."""
    sql("UPDATE dupe_audit.run SET relid = 1, ledger_oid = 0")
    spelled = key_of("app.norm(((email))); tenant", "((gone IS NULL))")
    renamed = key_of("app.norm(mail); tenant", "gone IS NULL")
    assert (1, 1) == (run_of(conn, KEY), run_of(conn, spelled))
    sql("ALTER TABLE users RENAME email TO mail")
    assert run_of(conn, renamed) is None
    sql("ALTER TABLE users RENAME mail TO email")
    enforce(conn, KEY, BuildRule())
    ledger.mark_enforced(conn, 1, "ux")
    sql("UPDATE dupe_audit.run SET relid = 1; ALTER TABLE users RENAME email TO mail")
    assert 1 == run_of(conn, renamed)


def test_run_is_found_in_a_read_only_transaction(conn, cleaned):
    """Verify reads in a read-only transaction, in which a text that cannot be read any more is no obstacle."""
    with transaction(conn, lock_timeout="5s", read_only=True):
        assert run_of(conn, key_of("app.missing(email); tenant", "gone IS NULL")) is None
        assert 1 == run_of(conn, key_of("app.norm( email ); tenant", "gone IS NULL"))
