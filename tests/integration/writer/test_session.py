"""With a SQLAlchemy session, an INSERT gets the conflict clause of a key."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dupe_audit.errors import DupeAuditError
from dupe_audit.model import UniqueKey
from dupe_audit.writer import enforced, on_conflict

KEY = UniqueKey(table="t", columns=("k",), name="once")
T = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("k", Text))


@pytest.fixture
def session(conn, sql):
    """A session on a table whose key is enforced."""
    sql("CREATE TABLE t (id serial PRIMARY KEY, k text, CONSTRAINT once UNIQUE (k))")
    with Session(conn) as session:
        yield session


def test_a_duplicate_gives_no_row(session):
    """The statement returns the id of a new row, and nothing for a duplicate."""
    statement = on_conflict(insert(T).values(k="a"), KEY).returning(T.c.id)
    assert 1 == session.execute(statement).scalar_one()
    assert session.execute(statement).scalar_one_or_none() is None


def test_columns_of_a_key_without_a_name(session):
    """A key without a name is the target by its columns."""
    statement = on_conflict(insert(T).values(k="a"), UniqueKey(table="t", columns=("k",))).returning(T.c.id)
    assert [1, None] == [session.execute(statement).scalar_one_or_none() for _ in range(2)]


def test_conflict_with_another_index_is_an_error(session):
    """A conflict with the primary key is an error if the clause names the key's constraint, and skipped otherwise."""
    session.execute(on_conflict(insert(T).values(id=7, k="a"), KEY))
    other = insert(T).values(id=7, k="b").returning(T.c.id)
    assert session.execute(on_conflict(other, KEY, enforced=False)).scalar_one_or_none() is None
    with pytest.raises(IntegrityError):
        session.execute(on_conflict(other, KEY))


def test_whether_the_key_is_enforced(session, conn, sql):
    """A key is enforced while its constraint exists, is valid, not deferrable and on its columns."""
    assert enforced(conn, KEY)
    sql("ALTER TABLE t DROP CONSTRAINT once")
    assert not enforced(conn, KEY)
    sql("ALTER TABLE t ADD CONSTRAINT once UNIQUE (k) DEFERRABLE")
    assert not enforced(conn, KEY)
    sql("ALTER TABLE t DROP CONSTRAINT once; CREATE UNIQUE INDEX once ON t (k)")
    assert not enforced(conn, KEY)
    with pytest.raises(DupeAuditError, match="Table 'nowhere' does not exist"):
        enforced(conn, UniqueKey(table="nowhere", columns=("k",), name="once"))


@pytest.mark.parametrize(
    ("made", "key"),
    [
        ("CREATE UNIQUE INDEX ON u (a, b)", UniqueKey(table="u", columns=("a", "b"))),
        ("ALTER TABLE u ADD PRIMARY KEY (a, b)", UniqueKey(table="u", columns=("a", "b"))),
        ("ALTER TABLE u ADD CONSTRAINT uq UNIQUE (a, b)", UniqueKey(table="u", columns=("b", "a"), name="uq")),
        (
            "ALTER TABLE u ADD CONSTRAINT uq UNIQUE (a, b) INCLUDE (c)",
            UniqueKey(table="u", columns=("a", "b"), name="uq"),
        ),
    ],
)
def test_key_that_on_conflict_can_use_is_enforced(conn, sql, made, key):
    """A key without a name, in another order or with INCLUDE columns is enforced if ON CONFLICT can use its index."""
    sql("CREATE TABLE u (a int, b int, c int)")
    assert not enforced(conn, key)
    sql(made)
    assert enforced(conn, key)
    table = Table("u", MetaData(), Column("a", Integer), Column("b", Integer))
    once = on_conflict(insert(table).values(a=1, b=2), key).returning(table.c.a)
    assert [1, None] == [conn.execute(once).scalar_one_or_none() for _ in range(2)]
