"""Databases and clients in other encodings than UTF-8 go up and down, or are refused before anything moves."""

import uuid
from collections.abc import Iterator

import pytest
from psycopg import sql as pgsql

from conftest import Administrator
from dupe_audit.cleanup import cleanup
from dupe_audit.connect import connect
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import DupeAuditError
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.driver import execute, require_encodable
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify


@pytest.fixture
def original(administrator: Administrator, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database in the encoding that the test names."""
    name = f"dupe_audit_template_{uuid.uuid4().hex[:8]}"
    create = "CREATE DATABASE {name} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C' ENCODING "
    administrator.execute(create + pgsql.Literal(request.param).as_string(None), name=name)
    yield name
    administrator.drop(name)


@pytest.mark.parametrize(
    ("original", "table", "letter"),
    [("LATIN1", "caf\u00e9", "\u00e4"), ("EUC_JP", "\u8868", "\u9375"), ("WIN1252", "\u20acuro", "\u20ac")],
    indirect=["original"],
)
@pytest.mark.representatives("EUC_JP*")
def test_database_in_another_encoding(conn, table, letter):
    """Names and values that the database's encoding has go there and back twice, byte for byte."""
    execute(conn, f'CREATE TABLE "{table}" (id int PRIMARY KEY, "{letter}" text)')
    execute(conn, f"INSERT INTO \"{table}\" SELECT i, '{letter}' FROM generate_series(1, 3) AS i")
    key = UniqueKey(table=table, columns=(letter,), name=f"{letter}_key")
    for number in (1, 2):
        assert [] == [f.id for f in preflight(conn, key).findings if f.severity == "error"]
        assert 2 == sum(batch.archived for batch in cleanup(conn, key, CleanupRule()))
        enforce(conn, key, BuildRule(comment=letter))
        assert verify(conn, key).ok
        drop(conn, key, BuildRule())
        list(restore(conn, number))
    assert [letter] * 3 == list(execute(conn, f'SELECT "{letter}" FROM "{table}"').scalars())


@pytest.mark.parametrize("original", ["LATIN1"], indirect=True)
def test_name_that_the_encoding_lacks_is_refused(conn):
    """A name that cannot be sent to the server is refused with a message, before anything is created."""
    execute(conn, "CREATE TABLE t (id int PRIMARY KEY, k int)")
    with pytest.raises(DupeAuditError, match="latin-1"):
        list(cleanup(conn, UniqueKey(table="t", columns=("\u20ac",)), CleanupRule()))
    with pytest.raises(DupeAuditError, match="latin-1"):
        require_encodable(conn, "\u20ac")
    assert (None,) == execute(conn, "SELECT to_regnamespace('dupe_audit')").one()


@pytest.mark.parametrize("original", ["SQL_ASCII"], indirect=True)
def test_database_without_an_encoding(database_url):
    """A database that does not know its encoding is used by the command line, which names the encoding itself."""
    with connect(database_url) as conn:
        execute(conn, "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
        assert 1 == sum(batch.archived for batch in cleanup(conn, UniqueKey(table="t", columns=("k",)), CleanupRule()))
        list(restore(conn, 1))
        assert 2 == execute(conn, "SELECT count(*) FROM t").scalar_one()
