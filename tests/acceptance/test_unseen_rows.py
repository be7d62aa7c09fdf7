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
    "construct": f"{NEW}; t = sa.table('t', sa.column('k')); op.execute(t2.insert().from_select(['k'], sa.select(t.c.k)))",
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
