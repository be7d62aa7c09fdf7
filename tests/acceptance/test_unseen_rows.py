"""Preflight cannot count rows that pending revisions write, or that they bring under an existing key: it says so."""

import pytest


@pytest.fixture
def pending(generic, sql):
    """A project whose first revision is applied, and a table t with an extra; what a test adds is pending."""
    generic.revision("0001")
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, note text); INSERT INTO t VALUES (1, 1), (2, 1), (3, 2)")
    sql("CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('0001')")
    return generic


def not_counted(project):
    """Return the messages of preflight, all of which say that something was not counted."""
    findings = [finding for report in project.reports("preflight", code=1) for finding in report["findings"]]
    assert {("uniqueness-not-counted", "error")} == {(finding["id"], finding["severity"]) for finding in findings}
    return [finding["message"] for finding in findings]


NEW = "t2 = op.create_table('t2', sa.Column('k', sa.Integer, unique=True), sa.Column('n', sa.Integer))"
CREATED = f"{NEW}; op.execute('INSERT INTO t2 (k, n) {{}}')"
UNIQUE = "op.create_unique_constraint('uq', 't2', ['k'])"

FILLED = {
    "created as": f"op.execute('CREATE TABLE t2 AS SELECT * FROM t'); {UNIQUE}",
    "distinct in all": f"op.execute('CREATE TABLE t2 AS SELECT DISTINCT id, k FROM t'); {UNIQUE}",
    "select into": f"op.execute('SELECT t.k INTO t2 FROM t'); {UNIQUE}",
    "inline key": CREATED.format("SELECT k, id FROM t"),
    "with": CREATED.format("WITH a AS (SELECT * FROM t) SELECT k, id FROM a"),
    "construct": f"{NEW}; op.execute(t2.insert().from_select(['k'], sa.text('SELECT k FROM t').columns(k=sa.Integer)))",
    "block": f"{NEW}; op.execute('DO $$ BEGIN INSERT INTO t2 SELECT k FROM t; END $$')",
    "copy": f"{NEW}; op.execute(\"COPY t2 (k) FROM PROGRAM 'printf ''1\\\\n1\\\\n'''\")",
    "merge": f"{NEW}; op.execute('MERGE INTO t2 USING t ON false WHEN NOT MATCHED THEN INSERT (k) VALUES (t.k)')",
    "update": CREATED.format("SELECT k, id FROM t ON CONFLICT (k) DO UPDATE SET n = 1"),  # not twice for a row
    "no key yet": (
        "op.execute('CREATE TABLE t2 (k int)'); op.execute('INSERT INTO t2 SELECT k FROM t ON CONFLICT DO NOTHING'); "
        f"{UNIQUE}"
    ),
    "twice": (
        "op.execute('CREATE TABLE t2 (k int)'); op.execute('INSERT INTO t2 (k) SELECT DISTINCT k FROM t'); "
        f"op.execute('INSERT INTO t2 (k) SELECT DISTINCT id FROM t'); {UNIQUE}"
    ),
    "renamed": f"op.execute('CREATE TABLE t3 AS SELECT * FROM t'); op.rename_table('t3', 't2'); {UNIQUE}",
}


@pytest.mark.parametrize("line", FILLED.values(), ids=FILLED)
@pytest.mark.representatives("created as", "inline key", "construct", "block", "no key yet", "twice")
def test_a_new_table_that_is_filled_is_not_counted(pending, line):
    """A key of a table that pending revisions create and fill from another table is a finding, and can fail."""
    pending.revision("0002", line)
    (message,) = not_counted(pending)
    assert "revision 0002 fills that table" in message
    assert "t2" in message
    pending.alembic("upgrade", "head", code=1)


HARMLESS = {
    "bulk insert": f"{NEW}; op.bulk_insert(t2, [{{'k': 1}}, {{'k': 2}}])",
    "values": CREATED.format("VALUES (1, 1), (2, 1)"),
    "literals": CREATED.format("SELECT 1, 1 WHERE NOT EXISTS (SELECT 1 FROM t2 WHERE k = 1) UNION ALL SELECT 2, 1"),
    "list of values": CREATED.format("SELECT v.a, 1 FROM (VALUES (1), (2)) AS v (a)"),
    "function": CREATED.format("SELECT i, 1 FROM generate_series(1, 9) AS i"),
    "distinct": "op.execute('CREATE TABLE t2 AS SELECT DISTINCT k FROM t'); " + UNIQUE,
    "distinct on": "op.execute('CREATE TABLE t2 AS SELECT DISTINCT ON (k) * FROM t ORDER BY k, id'); " + UNIQUE,
    "grouped": CREATED.format("SELECT t.k, count(*) FROM t GROUP BY t.k HAVING count(*) > 0"),
    "conflict": CREATED.format("SELECT k, id FROM t ON CONFLICT (k) DO NOTHING"),
    "any conflict": CREATED.format("SELECT k, id FROM t ON CONFLICT DO NOTHING"),
    "no data": "op.execute('CREATE TABLE t2 AS SELECT * FROM t WITH NO DATA'); " + UNIQUE,
}


@pytest.mark.parametrize("line", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.representatives("bulk insert", "literals", "distinct", "grouped", "any conflict", "no data")
def test_rows_that_cannot_repeat_are_no_finding(pending, line):
    """Rows written out in the revision, or distinct in the key's columns, raise no alarm about a new table."""
    pending.revision("0002", line)
    assert [] == pending.reports("preflight")
    pending.alembic("upgrade", "head")


ADDED = "op.add_column('t', sa.Column('a', sa.Integer))"
ADDED_KEY = "op.create_unique_constraint('uq', 't', ['a'])"


@pytest.mark.parametrize(
    "lines",
    [
        (ADDED, "op.execute('UPDATE t SET a = k')", ADDED_KEY),
        (ADDED, "op.execute(sa.update(sa.table('t', sa.column('a'))).values(a=1))", ADDED_KEY),
        ("op.add_column('t', sa.Column('a', sa.Integer, unique=True))", "op.execute('UPDATE t SET a = k')"),
        (ADDED, "op.execute('DO $$ BEGIN UPDATE t SET a = k; END $$')", ADDED_KEY),
        (ADDED, ADDED_KEY.replace(")", ", postgresql_nulls_not_distinct=True)")),
    ],
    ids=["sql", "construct", "afterwards", "block", "nulls"],
)
@pytest.mark.representatives("sql", "afterwards", "nulls")
def test_a_new_column_whose_values_can_repeat_is_not_counted(pending, lines):
    """A key of a column that pending revisions add and fill, or whose NULLs are equal, is a finding."""
    pending.revision("0002", *lines)
    (message,) = not_counted(pending)
    assert "column a is added by revision 0002" in message
    pending.alembic("upgrade", "head", code=1)


def test_a_new_column_without_values_is_no_finding(pending):
    """A key with a new column that stays NULL cannot be violated, whatever else the revision writes."""
    pending.revision(
        "0002", ADDED, "op.add_column('t', sa.Column('b', sa.Text))", "op.execute('UPDATE t SET b = note')", ADDED_KEY
    )
    assert [] == pending.reports("preflight")
    pending.alembic("upgrade", "head")


TREE = """
CREATE TABLE p (k int, d int, UNIQUE (k, d)) PARTITION BY LIST (d);
CREATE TABLE p1 (k int, d int);
CREATE TABLE p2 (k int, d int, CONSTRAINT own UNIQUE (d, k));
INSERT INTO p1 VALUES (1, 1), (1, 1);
INSERT INTO p2 VALUES (1, 2), (2, 2);
"""
ATTACH = "op.execute('ALTER TABLE p ATTACH PARTITION {0} FOR VALUES IN ({1})')"


def test_an_attached_partition_is_not_counted(pending, sql):
    """A partition that comes with rows and without a unique index of its own is a finding, which names the parent's."""
    sql(TREE)
    pending.revision("0002", ATTACH.format("p1", 1))
    (message,) = not_counted(pending)
    assert "public.p (p_k_d_key): it attaches partition p1 with its rows" in message
    pending.alembic("upgrade", "head", code=1)


def test_the_new_key_of_a_tree_is_not_counted_without_its_new_partition(pending, sql):
    """A key that is declared on a partitioned table before or after a partition is attached is a finding."""
    sql(TREE)
    pending.revision("0002", "op.drop_constraint('p_k_d_key', 'p')", ATTACH.format("p1", 1))
    pending.revision("0003", "op.create_unique_constraint('uq', 'p', ['d', 'k'])")
    (message,) = not_counted(pending)
    assert "revision 0002 attaches partition p1" in message
    pending.alembic("upgrade", "head", code=1)


@pytest.mark.parametrize(
    "line",
    [
        ATTACH.format("p2", 2),
        f"op.execute('CREATE TABLE p3 (k int, d int)'); {ATTACH.format('p3', 3)}",
    ],
    ids=["unique", "empty"],
)
def test_a_partition_without_duplicates_is_no_finding(pending, sql, line):
    """A partition with a unique index on the same columns, or without rows, raises no alarm."""
    sql(TREE)
    pending.revision("0002", line)
    assert [] == pending.reports("preflight")
    pending.alembic("upgrade", "head")


TYPES = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE v (i int UNIQUE, s varchar(9), at timestamp, low text, n numeric(10, 4), m mood, x text,
                CONSTRAINT uq_at UNIQUE (at), CONSTRAINT uq_s UNIQUE (s), CONSTRAINT uq_n UNIQUE (n, i) INCLUDE (x));
CREATE UNIQUE INDEX uq_m ON v (m, i); CREATE UNIQUE INDEX uq_low ON v (upper(low)) WHERE i > 0;
INSERT INTO v VALUES (1, 'a', '2026-01-01 10:00', 'a', 1, 'good'), (2, 'b', '2026-01-01 11:00', 'b', 2, 'bad');
"""


@pytest.mark.parametrize(
    ("line", "name", "code"),
    [
        ("op.alter_column('v', 'at', type_=sa.Date)", "uq_at): column at gets type DATE", 1),
        ("op.execute('ALTER TABLE v ALTER n TYPE numeric(10, 2)')", "uq_n): column n gets type numeric(10, 2)", 0),
        ("op.alter_column('v', 's', type_=sa.Text, postgresql_using=\"'x'\")", "uq_s): column s gets type TEXT", 1),
        (
            "op.execute('ALTER TABLE v ALTER low TYPE varchar(1) USING low::varchar(1)')",
            "uq_low): column low gets type varchar(1)",
            0,
        ),
    ],
    ids=["date", "numeric", "using", "expression"],
)
@pytest.mark.representatives("date", "using", "expression")
def test_another_type_under_a_unique_index_is_not_counted(pending, sql, line, name, code):
    """A type in which values can become equal is a finding, which names the unique indexes of the column."""
    sql(TYPES)
    pending.revision("0002", line)
    (message,) = not_counted(pending)
    assert f"revision 0002 enforces through existing unique indexes of public.v ({name}" in message
    pending.alembic("upgrade", "head", code=code)


def test_another_type_that_keeps_values_apart_is_no_finding(pending, sql):
    """A wider type, a column without a unique index, and a unique index that was dropped before raise no alarm."""
    sql(TYPES)
    pending.revision(
        "0002",
        "op.alter_column('v', 'i', type_=sa.BigInteger)",
        "op.alter_column('v', 's', type_=sa.Text)",
        "op.alter_column('v', 'x', type_=sa.String(3), postgresql_using='left(x, 3)')",
        "op.execute('CREATE TYPE feeling AS ENUM (\\'good\\', \\'bad\\')')",
        "op.execute('ALTER TABLE v ALTER m TYPE feeling USING m::text::feeling')",
        "op.drop_constraint('uq_at', 'v')",
        "op.alter_column('v', 'at', type_=sa.Date)",
    )
    assert [] == pending.reports("preflight")
    pending.alembic("upgrade", "head")


BODY = "LANGUAGE plpgsql AS $$ BEGIN CREATE UNIQUE INDEX uq ON t (k); END $$"


@pytest.mark.parametrize(
    "lines",
    [
        (f"op.execute('CREATE FUNCTION f() RETURNS void {BODY}; SELECT f()')",),
        (f"op.execute('CREATE OR REPLACE PROCEDURE f() {BODY}')", "op.execute('CALL public.f()')"),
        (f"op.execute('CREATE PROCEDURE f() {BODY}')", "op.execute('DO $$ BEGIN CALL f(); END $$')"),
        (f"op.execute('CREATE FUNCTION f() RETURNS int {BODY}')", "op.execute(sa.select(sa.func.f()))"),
        ("op.execute(\"DO 'BEGIN CREATE UNIQUE INDEX uq ON t (k); END'\")",),
    ],
    ids=["function", "procedure", "block", "construct", "string"],
)
@pytest.mark.representatives("function", "procedure", "block")
def test_uniqueness_in_a_function_that_the_revision_calls_is_not_counted(pending, lines):
    """A function or a procedure that a pending revision creates and calls may declare a key: that is a finding."""
    pending.revision("0002", *lines)
    (message,) = not_counted(pending)
    assert "its SQL cannot be read" in message
    assert "CREATE UNIQUE INDEX uq ON t (k)" in message
    pending.alembic("upgrade", "head", code=1)


def test_a_function_that_is_only_created_is_no_finding(pending):
    """A function that mentions uniqueness and is not called raises no alarm, nor does another one that is."""
    pending.revision(
        "0002", f"op.execute('CREATE FUNCTION f() RETURNS void {BODY}')", "op.execute('SELECT abs(1), count(*) FROM t')"
    )
    assert [] == pending.reports("preflight")
