"""The advice about a unique index that enforces the key already works when it is followed literally."""

import ast
import re
from dataclasses import replace

import pytest

from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Refused
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.postgres import catalog
from dupe_audit.preflight import blockers, preflight
from dupe_audit.statements import ident

KEY = UniqueKey(table="t", columns=("a", "b"), name="uq")
TABLE = """
    CREATE TABLE t (id int PRIMARY KEY, a text, b int, v int);
    INSERT INTO t SELECT i, 'a' || i, i, i FROM generate_series(1, 5) AS i;
"""
#: SQL in a help text: from one of these words to the next semicolon
SQL = re.compile(r"((?:ALTER|DROP) [^;]*);")

SAME = {
    "index": "CREATE UNIQUE INDEX other ON t (a, b)",
    "constraint": "ALTER TABLE t ADD CONSTRAINT other UNIQUE (a, b)",
    "hostile names": 'CREATE UNIQUE INDEX "o""ther $at_once$" ON t (a, b)',
    "other order": "CREATE UNIQUE INDEX other ON t (b, a)",
    "constraint in another order": "ALTER TABLE t ADD CONSTRAINT other UNIQUE (b, a)",
    "include": "CREATE UNIQUE INDEX other ON t (a, b) INCLUDE (v)",
    "other order and include": "ALTER TABLE t ADD CONSTRAINT other UNIQUE (b, a) INCLUDE (v)",
    "descending": "CREATE UNIQUE INDEX other ON t (a DESC, b)",
    "nulls first": "CREATE UNIQUE INDEX other ON t (a, b NULLS FIRST)",
    "collation": 'CREATE UNIQUE INDEX other ON t (a COLLATE "POSIX", b)',
    "operator class": "CREATE UNIQUE INDEX other ON t (a text_pattern_ops, b)",
    "primary key": "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (a, b)",
    "primary key in another order": "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b, a)",
}


def as_advised(key: UniqueKey, text: str) -> UniqueKey | None:
    """Return the key as the advice says that the revision has to declare it; None if it has to leave it out."""
    if "Leave the new constraint out" in text or "leave the new constraint out" in text:
        return None
    if columns := re.search(r"columns (\[.*?\]) in this order", text):
        key = replace(key, columns=tuple(ast.literal_eval(columns[1])))
    if include := re.search(r"include=(\[.*?\])", text):
        key = replace(key, include=tuple(ast.literal_eval(include[1])))
    return key


def unique(sql) -> int:
    """Return how many unique indexes the table has, except one on its id."""
    return len(sql("SELECT 1 FROM pg_index WHERE indrelid = 't'::regclass AND indisunique AND indkey::text <> '1'"))


@pytest.mark.parametrize("form", [{}, {"deferrable": True}, {"deferrable": True, "initially": "DEFERRED"}], ids=str)
@pytest.mark.parametrize("case", SAME)
@pytest.mark.representatives(
    "constraint-{}",
    "hostile names-{}",
    "other order and include-{}",
    "primary key-{'deferrable': True, 'initially': 'DEFERRED'}",
)
def test_advice_about_an_equivalent_index_works(sql, conn, case, form):
    """After what the advice says, the upgrade succeeds with one unique index, or the key is enforced without it."""
    sql(TABLE + SAME[case])
    key = replace(KEY, **form)
    (finding,) = blockers(conn, key, CleanupRule())
    assert "equivalent-index" == finding.id
    revised = as_advised(key, finding.help)
    if revised is None:
        assert "already enforces the same key" in finding.message
        assert 1 == unique(sql)
        if not SQL.findall(finding.help):
            assert "primary key" in finding.help
            return
        revised = key  # the other half of the advice: drop it first
    for statement in SQL.findall(finding.help):
        sql(statement)
    assert [] == blockers(conn, revised, CleanupRule())
    enforce(conn, revised, BuildRule())
    assert 1 == unique(sql)
    assert [("uq",)] == sql("SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'u'")


STRICTER = {
    "index": "CREATE UNIQUE INDEX other ON t (a)",
    "constraint": "ALTER TABLE t ADD CONSTRAINT other UNIQUE (b)",
    "descending": "CREATE UNIQUE INDEX other ON t (a DESC)",
    "deferrable": "ALTER TABLE t ADD CONSTRAINT other UNIQUE (a, b) DEFERRABLE",
    "primary key": "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (a)",
    "nulls not distinct": "CREATE UNIQUE INDEX other ON t (a, b) NULLS NOT DISTINCT",
}


@pytest.mark.parametrize("case", STRICTER)
@pytest.mark.representatives("descending", "deferrable", "nulls not distinct")
def test_advice_about_a_stricter_index_works(sql, conn, case, server_version_num):
    """The upgrade succeeds beside a stricter index, and then the index can be dropped as the advice says."""
    if case == "nulls not distinct" and server_version_num < 150000:
        pytest.skip("needs PostgreSQL 15")
    sql(TABLE + STRICTER[case])
    (finding,) = [f for f in preflight(conn, KEY).findings if f.id == "stricter-index"]
    assert "eave the new constraint out" in finding.help
    assert [] == blockers(conn, KEY, CleanupRule())
    enforce(conn, KEY, BuildRule())
    assert 2 == unique(sql)
    statements = SQL.findall(finding.help)
    assert bool(statements) == (case != "primary key")
    for statement in statements:
        sql(statement)
    assert len(statements) == 2 - unique(sql)
    drop(conn, KEY, BuildRule())


PART = UniqueKey(table="t", columns=(Expression("lower(a)"), "b"), where="v IN (1, 2)", name="uq", form="index")
SAME_PART = {
    "index": "(lower(a), b) WHERE v = ANY (ARRAY[1, 2])",
    "hostile names": "(LOWER( a ), (b)) WHERE (v IN (1, 2))",
    "other order": "(b, lower(a)) WHERE v IN (1, 2)",
    "descending": "(lower(a) DESC, b) WHERE v IN (1, 2)",
    "include": "(lower(a), b) INCLUDE (v) WHERE v IN (1, 2)",
}


@pytest.mark.parametrize("case", SAME_PART)
@pytest.mark.representatives("hostile names", "include")
def test_advice_about_an_equivalent_index_for_a_part_works(sql, conn, case):
    """An index with the key's expressions and predicate is reported, and the advice leads to a single index."""
    sql(TABLE)
    name = 'o"ther' if case == "hostile names" else "other"
    sql(f"CREATE UNIQUE INDEX {ident(name)} ON t {SAME_PART[case]}")
    (finding,) = blockers(conn, PART, CleanupRule())
    assert ("equivalent-index", True) == (finding.id, finding.message.startswith(f"Index {name} "))
    (advised,) = SQL.findall(finding.help)
    assert advised.startswith("ALTER" if case in ("index", "hostile names") else "DROP")
    sql(advised)
    assert [] == blockers(conn, PART, CleanupRule())
    enforce(conn, PART, BuildRule())
    assert 1 == unique(sql)
    (existing,) = preflight(conn, replace(PART, name=None)).findings
    assert ("already-enforced", True) == (existing.id, "Index uq " in existing.message)


@pytest.mark.parametrize(
    "definition",
    [
        "(lower(a), b) WHERE v IN (1, 3)",
        "(lower(a), b)",
        "(lower(a), v) WHERE v IN (1, 2)",
        "(lower(a)) WHERE v IN (1, 2)",
        "(lower(a) bpchar_ops, b) WHERE v IN (1, 2)",
        '(lower(a COLLATE "POSIX") COLLATE "default", b) WHERE v IN (1, 2)',
    ],
)
@pytest.mark.representatives(
    "(lower(a), b)", "(lower(a)) WHERE v IN (1, 2)", "(lower(a) bpchar_ops, b) WHERE v IN (1, 2)"
)
def test_index_for_another_part_or_expression_is_not_equivalent(sql, conn, definition):
    """An index that differs in the predicate, an element or its equality is not reported: another one is built."""
    sql(f"{TABLE}; CREATE UNIQUE INDEX other ON t {definition}")
    assert [] == blockers(conn, PART, CleanupRule())
    enforce(conn, PART, BuildRule())


def test_index_with_another_equality_is_not_equivalent(sql, conn):
    """An index whose collation or operator class compares otherwise does not enforce the same key."""
    sql(TABLE)
    try:
        sql("CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except Exception as error:  # noqa: BLE001 - a server without ICU
        pytest.skip(str(error))
    sql("CREATE UNIQUE INDEX other ON t (a COLLATE ci, b)")
    assert [] == [f.id for f in preflight(conn, KEY).findings]


DEFINITIONS = [
    "(a, b)",
    "(a DESC, b)",
    "(a DESC NULLS LAST, b NULLS FIRST)",
    '(a COLLATE "C" DESC, b)',
    "(a text_pattern_ops, b)",
    '(a COLLATE "POSIX" text_pattern_ops DESC NULLS LAST, b) INCLUDE (v)',
    '("K k" DESC) WITH (fillfactor = 60, deduplicate_items = off)',
    "(b, a)",
    pytest.param("(a, b) NULLS NOT DISTINCT", marks=pytest.mark.min_pg(15)),
    "(a, b) INCLUDE (v, id)",
]


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_definitions_are_printed_as_postgresql_does(sql, conn, definition):
    """The definition of an index is printed as pg_get_indexdef() does, so that a difference can be seen."""
    sql(TABLE + f'ALTER TABLE t ADD COLUMN "K k" int; CREATE UNIQUE INDEX uq ON t {definition}')
    state = catalog.index_state(conn, sql("SELECT 't'::regclass::oid::bigint")[0][0], KEY)
    assert state
    assert sql("SELECT pg_get_indexdef('uq'::regclass)") == [(state.definition,)]


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        ("CREATE UNIQUE INDEX uq ON t (a DESC, b)", "CREATE UNIQUE INDEX uq ON public.t USING btree (a DESC, b)."),
        (
            "ALTER TABLE t ADD CONSTRAINT uq UNIQUE (a, b) DEFERRABLE",
            "btree (a, b); it belongs to constraint uq (UNIQUE DEFERRABLE).",
        ),
        (
            "ALTER TABLE t DROP CONSTRAINT t_pkey, ADD CONSTRAINT uq PRIMARY KEY (a, b)",
            "btree (a, b); it belongs to constraint uq (PRIMARY KEY).",
        ),
    ],
)
def test_wrong_definition_shows_what_differs(sql, conn, other, shown):
    """The index with the constraint's name is printed with the sort order or the constraint that makes it different."""
    sql(TABLE + other)
    with pytest.raises(Refused) as error:
        enforce(conn, KEY, BuildRule())
    assert shown in str(error.value)
    assert "sort order, collation, operator class" in str(error.value)
