"""Verify of unique indexes that belong to no constraint, by key and by name."""

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.verify import verify, verify_named

KEY = UniqueKey(
    table="users", columns=(Expression("lower(email)"),), where="deleted_at IS NULL", name="ux", form="index"
)


@pytest.fixture
def users(sql):
    """A table with one duplicate among the rows of the predicate, and one outside of it."""
    sql("CREATE TABLE users (id int PRIMARY KEY, email text, tenant int, deleted_at date)")
    sql("INSERT INTO users VALUES (1, 'Ann@x', 1), (2, 'ann@X', 1), (3, 'bob@x', 1)")
    sql("INSERT INTO users VALUES (4, 'ann@x', 1, '2026-01-01'), (5, 'ann@x', 1, '2026-01-01')")


@pytest.fixture
def enforced(users, conn):
    """The key, cleaned and enforced by an index."""
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    enforce(conn, KEY, BuildRule())


def errors(report):
    """Return the ids of a report's errors."""
    return [each.id for each in report.findings if each.severity == "error"]


def test_index_of_a_run_is_found_by_its_name(conn, enforced):
    """By its name alone, an index is verified in the words of its run, whose sums are in the report."""
    report = verify_named(conn, table="users", name="ux")
    assert (True, KEY.elements, KEY.where, "index") == (
        report.ok,
        report.key.elements,
        report.key.where,
        report.key.form,
    )
    assert report.run
    assert (0, 1, 4) == (report.extras, report.run.archived, report.rows)


@pytest.mark.parametrize(
    ("definition", "elements", "where", "extras"),
    [
        ("(tenant, lower(email)) WHERE deleted_at IS NULL AND id <> 1", ("tenant", "lower(email)"), True, 0),
        ('(email COLLATE "C", id)', ('(email) COLLATE "C"', "id"), False, 0),
        ('(lower(email) COLLATE "C", id) INCLUDE (tenant)', ('(lower(email)) COLLATE "C"', "id"), False, 0),
        ("(id DESC NULLS LAST)", ("id",), False, 0),
        ("((id + tenant), (email || '{x}%'))", ("(id + tenant)", "(email || '{x}%'::text)"), False, 0),
    ],
)
def test_index_without_a_run_is_found_by_its_name(sql, conn, users, definition, elements, where, extras):
    """An index that somebody created is verified with its own expressions, collations, predicate and sort order."""
    sql(f"CREATE UNIQUE INDEX own ON users {definition}")
    report = verify_named(conn, table="users", name="own")
    assert ([], extras, elements) == (errors(report), report.extras, report.key.elements)
    assert where == (report.key.where is not None)
    assert report.index
    assert report.index.constraint is None


def test_index_is_compared_with_the_key_that_was_given(conn, enforced):
    """An index with another expression or predicate than was asked for is reported, however it is written."""
    lower = (Expression("LOWER( email )"),)
    same = verify_named(conn, table="users", name="ux", columns=lower, where="(deleted_at) IS NULL")
    assert [] == errors(same)
    for columns, where in ((lower, None), (lower, "deleted_at IS NOT NULL"), (("email",), "deleted_at IS NULL")):
        assert "wrong-definition" in errors(verify_named(conn, table="users", name="ux", columns=columns, where=where))


def test_missing_and_invalid_indexes_are_not_called_constraints(sql, conn, enforced):
    """What is said of an index calls it an index."""
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ux'::regclass")
    (invalid,) = [each for each in verify(conn, KEY).findings if each.severity == "error"]
    assert "Index ux is invalid, so it does not reliably enforce anything." == invalid.message
    sql("DROP INDEX ux")
    (missing,) = [each for each in verify(conn, KEY).findings if each.severity == "error"]
    assert ("constraint-missing", "public.users has no unique index ux.") == (missing.id, missing.message)


def test_a_constraint_of_that_name_is_no_index_of_the_key(sql, conn, users):
    """A unique constraint does not pass for the index that a partial key needs."""
    sql("ALTER TABLE users ADD CONSTRAINT ux UNIQUE (id, email)")
    assert ["wrong-definition", "duplicates-remain"] == errors(verify(conn, KEY))


@pytest.mark.parametrize("valid", [True, False], ids=["valid", "unseen by the index"])
def test_corrupt_partial_index_hides_no_duplicates_h43(sql, conn, enforced, valid):
    """The count trusts no index, not even a partial one whose predicate is that of the count."""
    if not valid:
        sql("UPDATE pg_index SET indisready = false WHERE indexrelid = 'ux'::regclass")
    sql("INSERT INTO users VALUES (50, 'carl@x', 1)")
    sql("UPDATE pg_index SET indisready = false WHERE indexrelid = 'ux'::regclass")
    sql("INSERT INTO users VALUES (51, 'BOB@x', 1), (52, 'CARL@x', 1)")
    sql("UPDATE pg_index SET indisready = true WHERE indexrelid = 'ux'::regclass")
    sql("SET enable_seqscan = off")
    report = verify_named(conn, table="users", name="ux")
    assert 2 == report.extras
    assert "duplicates-remain" in errors(report)


def test_expression_that_fails_prints_no_value(sql, conn):
    """Where nothing enforces the key and its expression fails, verify says so without the value that it met."""
    sql("CREATE TABLE t (id int PRIMARY KEY, code text); INSERT INTO t VALUES (1, 'secret')")
    report = verify_named(conn, table="t", name="ux", columns=(Expression("code::int"),))
    assert ["expression-fails", "constraint-missing"] == errors(report)
    assert "secret" not in repr(report)
