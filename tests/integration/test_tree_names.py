"""Trees whose tables, schemas and columns have names that need quotes or are cut, and the names of their parts."""

import pytest
from sqlalchemy import make_url

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.model import BuildRule, CleanupRule, Expression, UniqueKey
from dupe_audit.restore import restore
from dupe_audit.verify import verify

ROOT = "Röot %s \"q\" 'a'.b"
LONG = "x" * 55
#: names with spaces, quotes, dots, percent signs, upper case and 63 bytes; equal ones in two schemas; two that are
#: what the part of another one would be called; twelve that differ after byte 55 only
LEAVES = [
    ("Part S", "leaf one"),
    ("public", "leaf one"),
    ("public", "a.b"),
    ("public", "p%s%%d{name}'q"),
    ("public", 'quo"te'),
    ("public", "UPPER"),
    ("public", "é" * 31),
    ("public", "UPPER_Key a_r_key"),
    ("Part S", "leaf one_abs_r_abs1_note_idx"),
    *(("public", f"{LONG}_{number:07}") for number in range(12)),
]
KEYS = {
    "constraint": (UniqueKey(table=ROOT, columns=("Key a", "r"), name='uq "%s" ' + "n" * 55), 'UNIQUE ("Key a", r)'),
    "included": (
        UniqueKey(table=ROOT, columns=("Key a", "r"), include=("note",), name="uq"),
        'UNIQUE ("Key a", r) INCLUDE (note)',
    ),
    "index": (
        UniqueKey(
            table=ROOT, form="index", name="ux", columns=(Expression("abs(id)"), "r", Expression("abs(r)"), "note")
        ),
        "(abs(id), r, abs(r), note)",
    ),
    "nameless": (
        UniqueKey(
            table=ROOT,
            form="index",
            name="ux",
            columns=(Expression("id + 1"), "r", Expression("id * 2"), Expression("CASE WHEN id > 1 THEN 1 END")),
        ),
        "((id + 1), r, (id * 2), (CASE WHEN id > 1 THEN 1 END))",
    ),
}
NAMES = """
SELECT n.nspname, t.relname, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT i.indisprimary AND n.nspname IN ('public', 'Part S') ORDER BY 1, 2, 3
"""


def quoted(*names):
    """Return identifiers, quoted."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def tree():
    """Return the statements that create the tree, with an extra in each leaf."""
    root = quoted(ROOT)
    yield 'CREATE SCHEMA "Part S"'
    yield f'CREATE TABLE {root} (id int, "Key a" int, r int, note text, PRIMARY KEY (id, r)) PARTITION BY RANGE (r)'
    for start, names in enumerate(LEAVES):
        yield f"CREATE TABLE {quoted(*names)} PARTITION OF {root} FOR VALUES FROM ({start}) TO ({start + 1})"
    yield f'CREATE TABLE "inner S" PARTITION OF {root} FOR VALUES FROM (100) TO (200) PARTITION BY LIST (r)'
    yield 'CREATE TABLE "inner S_rest" PARTITION OF "inner S" DEFAULT'
    rows = f"generate_series(0, {len(LEAVES) - 1})"
    yield f"INSERT INTO {root} SELECT i, 7, r FROM generate_series(1, 2) AS i, {rows} AS r"
    yield f"INSERT INTO {root} VALUES (1, 7, 101), (2, 7, 101)"


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KEYS)
def test_parts_are_named_as_the_server_names_them(sql, conn, kind):
    """The upgraded tree has the names that one statement of PostgreSQL gives, and loses them with the downgrade."""
    key, definition = KEYS[kind]
    sql("; ".join(tree()))
    sql(f"DELETE FROM {quoted(ROOT)} WHERE id = 2")
    own = f"CREATE UNIQUE INDEX {quoted(key.name)} ON {quoted(ROOT)} {definition}"
    if key.form == "constraint":
        own = f"ALTER TABLE {quoted(ROOT)} ADD CONSTRAINT {quoted(key.name)} {definition}"
    sql(f"BEGIN; {own}")
    expected = sql(NAMES)
    sql("ROLLBACK")
    for _ in range(2):
        enforce(conn, key, BuildRule())
        assert expected == sql(NAMES)
        drop(conn, key, BuildRule())
        assert [] == sql(NAMES)


@pytest.mark.thorough
def test_names_that_need_quotes(sql, conn):
    """A tree whose names need quotes goes up, down and up, and each row returns to the leaf that it was in."""
    key = KEYS["constraint"][0]
    sql("; ".join(tree()))
    rows = f"SELECT tableoid::regclass::text, t::text FROM {quoted(ROOT)} t ORDER BY 1, 2"
    before = sql(rows)
    for run in (1, 2):
        assert len(LEAVES) + 1 == sum(batch.archived for batch in cleanup(conn, key, CleanupRule()))
        enforce(conn, key, BuildRule())
        assert verify(conn, key).ok
        assert [(len(LEAVES) + 1,)] == sql(f"SELECT count(DISTINCT dupe_audit_leaf) FROM dupe_audit.archive_{run}")
        drop(conn, key, BuildRule())
        list(restore(conn, run))
        assert before == sql(rows)


@pytest.mark.min_pg(15)
def test_tree_in_several_tablespaces(sql, conn, database_url):
    """Leaves in other tablespaces are cleaned and enforced; their parts are in the default one, as PostgreSQL's are."""
    name = f"space_{make_url(database_url).database}"
    key = UniqueKey(table="t", columns=("k", "r"), name="uq")
    sql("SET allow_in_place_tablespaces = on")
    sql(f"CREATE TABLESPACE {name} LOCATION ''")
    try:
        sql(
            "CREATE TABLE t (id int, k int, r int) PARTITION BY LIST (r); "
            "CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1); "
            f"CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2) TABLESPACE {name}; "
            "INSERT INTO t SELECT 1, 7, r FROM generate_series(1, 3) AS i, generate_series(1, 2) AS r"
        )
        before = sql("SELECT tableoid::regclass::text, t::text FROM t ORDER BY 1, 2")
        for run in (1, 2):
            list(cleanup(conn, key, CleanupRule()))
            enforce(conn, key, BuildRule())
            assert verify(conn, key).ok
            assert [("t_1_k_r_key", 0), ("t_2_k_r_key", 0), ("uq", 0)] == sql(
                "SELECT relname, reltablespace::int FROM pg_class WHERE relname ~ '^uq$|^t_._k_r_key$' ORDER BY 1"
            )
            drop(conn, key, BuildRule())
            list(restore(conn, run))
            assert before == sql("SELECT tableoid::regclass::text, t::text FROM t ORDER BY 1, 2")
    finally:
        sql("DROP TABLE IF EXISTS t")
        sql(f"DROP TABLESPACE {name}")
