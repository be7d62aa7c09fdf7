"""The default operator class of another type can compare differently from the column's own."""

import pytest

from dupe_audit.constraint import enforce
from dupe_audit.errors import Refused
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.preflight import blockers
from dupe_audit.verify import verify_named

PLAIN = UniqueKey(table="t", columns=("v",), name="ux", form="index")

#: type of the column, its default operator class, and one that accepts the type and is the default of another
FOREIGN = {
    "text": ("text_ops", "bpchar_ops"),
    "varchar(9)": ("text_ops", "bpchar_ops"),
    "citext": ("citext_ops", "text_ops"),
    "line_of_text": ("text_ops", "bpchar_ops"),
    "int4": ("int4_ops", "oid_ops"),
    "bit(4)": ("bit_ops", "varbit_ops"),
}
#: types that have no operator class of their own, or one with another storage
BORROWED = {
    "cidr": "inet_ops",
    "name": "name_ops",
    "int4[]": "array_ops",
    "regclass": "oid_ops",
    "int4range": "range_ops",
    "mood": "enum_ops",
    "pair": "record_ops",
}


@pytest.fixture
def make(sql):
    """Create the table with a column of that type and an index of that operator class."""
    sql("CREATE EXTENSION IF NOT EXISTS citext")
    sql("CREATE DOMAIN short AS text; CREATE DOMAIN line_of_text AS short; CREATE TYPE mood AS ENUM ('a', 'b')")
    sql("CREATE TYPE pair AS (a int, b int)")

    def make(type_: str, element: str) -> None:
        sql(f"CREATE TABLE t (id int PRIMARY KEY, v {type_}); CREATE UNIQUE INDEX ux ON t ({element})")

    return make


@pytest.mark.parametrize("type_", FOREIGN)
@pytest.mark.parametrize("expression", [False, True], ids=["column", "expression"])
@pytest.mark.representatives("column-text", "column-int4", "expression-citext")
def test_class_of_another_type_is_another_key(conn, sql, make, type_, expression):
    """An index with the default class of another type is neither adopted nor verified, and its class is shown."""
    usual, foreign = FOREIGN[type_]
    value = "coalesce(v, v)" if expression else "v"
    key = UniqueKey(table="t", columns=(Expression(value) if expression else "v",), name="ux", form="index")
    make(type_, f"({value}) {foreign}")
    with pytest.raises(Refused, match=rf"wrong-definition.*{foreign}"):
        enforce(conn, key, BuildRule())
    assert "wrong-definition" in [each.id for each in verify_named(conn, table="t", name="ux").findings]
    other = UniqueKey(table="t", columns=key.columns, name="another", form="index")
    assert "equivalent-index" not in [each.id for each in blockers(conn, other, CleanupRule())]
    sql(f"DROP INDEX ux; CREATE UNIQUE INDEX ux ON t (({value}) {usual})")
    enforce(conn, key, BuildRule())
    assert verify_named(conn, table="t", name="ux").ok


@pytest.mark.parametrize("type_", FOREIGN | BORROWED)
@pytest.mark.representatives("varchar(9)", "citext", "int4[]", "mood")
def test_class_that_the_server_chooses_is_the_usual_one(conn, sql, make, type_):
    """An index without a named operator class is adopted and verified, whatever class its type gets."""
    make(type_, "v")
    state = catalog.index_state(conn, sql("SELECT 't'::regclass::oid::bigint")[0][0], PLAIN)
    assert state
    assert (True, sql("SELECT pg_get_indexdef('ux'::regclass)")) == (state.same_definition, [(state.definition,)])
    assert verify_named(conn, table="t", name="ux").ok
    sql("DROP INDEX ux; CREATE UNIQUE INDEX ux ON t (coalesce(v, v))")
    key = UniqueKey(table="t", columns=(Expression("coalesce(v, v)"),), name="ux", form="index")
    enforce(conn, key, BuildRule())
    assert verify_named(conn, table="t", name="ux").ok


@pytest.mark.parametrize("type_", FOREIGN | BORROWED)
@pytest.mark.parametrize("foreign", [False, True], ids=["usual", "foreign"])
@pytest.mark.representatives("usual-text", "usual-mood", "foreign-varchar(9)", "foreign-int4range")
def test_class_is_shown_as_the_server_does(conn, sql, make, type_, foreign):
    """The definition names an operator class exactly where pg_get_indexdef() does."""
    classes = FOREIGN.get(type_) or (BORROWED[type_],) * 2
    make(type_, f"v {classes[foreign]}")
    state = catalog.index_state(conn, sql("SELECT 't'::regclass::oid::bigint")[0][0], PLAIN)
    assert state
    assert sql("SELECT pg_get_indexdef('ux'::regclass)") == [(state.definition,)]


def test_class_with_the_same_equality_is_the_same_key(conn, sql, make):
    """A pattern class of the column's own type compares equally: its index is reported, but cannot be a constraint."""
    make("varchar(9)", "v varchar_pattern_ops")
    key = UniqueKey(table="t", columns=("v",), name="another")
    (equivalent,) = blockers(conn, key, CleanupRule())
    assert "equivalent-index" == equivalent.id
    assert "operator class it cannot become a constraint" in equivalent.help
