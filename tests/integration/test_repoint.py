"""Children follow the survivor, whatever their table looks like, and a restore returns each to its own parent."""

import re

import pytest

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify

KEY = UniqueKey(table="t", columns=("k",), name="uq")

#: rows 1, 2 and 3 share a key, rows 4 and 5 share another, row 6 has its own
PARENT = """
CREATE TABLE t (id int PRIMARY KEY, k int, code text, UNIQUE (code, id));
INSERT INTO t SELECT id, k, 'code ' || id FROM (VALUES (1, 7), (2, 7), (3, 7), (4, 8), (5, 8), (6, 9)) AS r(id, k);
"""
CHILD = """
CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE {action}, note text);
INSERT INTO c VALUES (10, 1, 'a'), (11, 2, 'b'), (12, 2, 'c'), (13, 3, 'd'), (14, 5, 'e'), (15, 6, 'f');
INSERT INTO c VALUES (16, NULL, 'g');
"""


def repoint(**rule):
    """Return the rule of most tests: codes may differ, and children follow the survivor."""
    return {"references": "repoint", "ignore": ("code",), **rule}


@pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"])
@pytest.mark.representatives("RESTRICT", "SET NULL")
def test_children_follow_the_survivor(sql, clean, action):
    """A child of an extra references the survivor afterwards, whatever its foreign key does on delete."""
    sql(PARENT + CHILD.format(action=action))
    batches = clean(KEY, **repoint())
    assert [(1,), (4,), (6,)] == sql("SELECT id FROM t ORDER BY id")
    expected = [(10, 1, "a"), (11, 1, "b"), (12, 1, "c"), (13, 1, "d"), (14, 4, "e"), (15, 6, "f"), (16, None, "g")]
    assert expected == sql("SELECT * FROM c ORDER BY id")
    assert 4 == sum(batch.repointed for batch in batches)


@pytest.mark.parametrize("batch_size", [1, 2, 5000])
@pytest.mark.representatives("2")
def test_parents_and_children_are_restored(sql, there_and_back, dump, batch_size):
    """Parents and children are restored byte for byte, every time, whatever the batch size."""
    sql(PARENT + CHILD.format(action="CASCADE"))
    before = dump("c")
    assert 3 == there_and_back(KEY, **repoint(batch_size=batch_size))
    assert before == dump("c")
    assert [(4, 4), (4, 4)] == sql("SELECT moved, returned FROM dupe_audit.child ORDER BY run_id")


SHAPES = {
    "part of the child's key": """
        CREATE TABLE c (t_id int REFERENCES t, line int, PRIMARY KEY (line, t_id));
        INSERT INTO c VALUES (1, 1), (2, 2), (2, 3), (3, 4), (5, 1), (6, 9)""",
    "composite": """
        CREATE TABLE c (id int PRIMARY KEY, t int, t_code text, FOREIGN KEY (t_code, t) REFERENCES t (code, id));
        INSERT INTO c SELECT t.id + 10 * i, t.id, t.code FROM t, generate_series(1, 2) AS i;
        INSERT INTO c VALUES (99, NULL, 'nobody')""",
    "match full": """
        CREATE TABLE c (id int PRIMARY KEY, a text, b int, FOREIGN KEY (a, b) REFERENCES t (code, id) MATCH FULL);
        INSERT INTO c SELECT t.id, t.code, t.id FROM t; INSERT INTO c VALUES (99, NULL, NULL)""",
    "several from one table": """
        CREATE TABLE c (id int PRIMARY KEY, a int REFERENCES t, b int REFERENCES t ON DELETE CASCADE);
        INSERT INTO c VALUES (1, 2, 3), (2, 5, 2), (3, 1, 4), (4, 3, 3), (5, NULL, 2)""",
    "several in the child's key": """
        CREATE TABLE c (a int REFERENCES t, b int REFERENCES t, PRIMARY KEY (a, b));
        INSERT INTO c VALUES (2, 5), (6, 3), (5, 6), (4, 4)""",
    "children of children": """
        CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t);
        CREATE TABLE g (id int PRIMARY KEY, c_id int REFERENCES c ON DELETE CASCADE);
        INSERT INTO c VALUES (10, 2), (11, 5); INSERT INTO g VALUES (100, 10), (101, 11)""",
    "children of children that follow": """
        CREATE TABLE c (t_id int REFERENCES t, line int, PRIMARY KEY (t_id, line));
        CREATE TABLE g (id int PRIMARY KEY, a int, b int, FOREIGN KEY (a, b) REFERENCES c ON UPDATE CASCADE);
        INSERT INTO c VALUES (2, 1), (5, 1); INSERT INTO g VALUES (100, 2, 1), (101, 5, 1)""",
    "partitioned": """
        CREATE TABLE c (id int, t_id int REFERENCES t ON DELETE CASCADE, PRIMARY KEY (id)) PARTITION BY RANGE (id);
        CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) TO (10);
        CREATE TABLE c2 PARTITION OF c FOR VALUES FROM (10) TO (20);
        INSERT INTO c VALUES (1, 2), (2, 3), (11, 5), (12, 1)""",
    "partitioned by the reference": """
        CREATE TABLE c (id int, t_id int REFERENCES t, PRIMARY KEY (t_id, id)) PARTITION BY LIST (t_id);
        CREATE TABLE c1 PARTITION OF c FOR VALUES IN (1, 4); CREATE TABLE c2 PARTITION OF c DEFAULT;
        INSERT INTO c VALUES (1, 1), (2, 2), (3, 3), (4, 5)""",
    "deferred": """
        CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t DEFERRABLE INITIALLY DEFERRED);
        INSERT INTO c VALUES (1, 2), (2, 3), (3, 5)""",
    "another type": """
        CREATE TABLE c (id int PRIMARY KEY, t_id bigint REFERENCES t); INSERT INTO c VALUES (1, 2), (2, 3), (3, 5)""",
    "equal, not identical": """
        CREATE TABLE c (id int PRIMARY KEY, n numeric);
        ALTER TABLE t ADD n numeric UNIQUE; UPDATE t SET n = id;
        ALTER TABLE c ADD FOREIGN KEY (n) REFERENCES t (n); INSERT INTO c VALUES (1, 2.00), (2, 3.0), (3, 5)""",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.representatives("part of the child's key", "children of children that follow")
def test_every_shape_is_restored(sql, there_and_back, dump, shape):
    """Composite, multiple, nested, partitioned and deferred references are moved and restored byte for byte."""
    sql(PARENT + SHAPES[shape])
    children = ["c", "g"] if "children of" in shape else ["c"]
    before = [dump(name) if "partitioned" not in shape else sql("SELECT * FROM c ORDER BY id") for name in children]
    assert 3 == there_and_back(
        KEY, **repoint(ignore=("code", "n") if "identical" in shape else ("code",), batch_size=2)
    )
    after = [dump(name) if "partitioned" not in shape else sql("SELECT * FROM c ORDER BY id") for name in children]
    assert before == after
    assert [] == sql("SELECT run_id FROM dupe_audit.child WHERE moved <> returned")
    assert [] != sql("SELECT run_id FROM dupe_audit.child WHERE moved > 0")


@pytest.mark.parametrize("name", ['quote"d', "brace {s_names}", "per%cent", "a:b", "dollar$statement$", "Ünï"])
@pytest.mark.representatives('quote"d')
def test_every_valid_name_is_accepted(sql, clean, conn, name):
    """The schema, table, columns and constraint of a foreign key can have any name."""
    quoted = '"' + name.replace('"', '""') + '"'
    sql(
        PARENT + f"CREATE SCHEMA {quoted};"
        f"CREATE TABLE {quoted}.{quoted} (id int PRIMARY KEY, {quoted} int, UNIQUE (id, {quoted}))"
    )
    sql(f"ALTER TABLE {quoted}.{quoted} ADD CONSTRAINT {quoted} FOREIGN KEY ({quoted}) REFERENCES t")
    sql(f"INSERT INTO {quoted}.{quoted} VALUES (1, 2), (2, 5)")
    assert [2] == [reference.rows for reference in preflight(conn, KEY, CleanupRule(**repoint())).references]
    clean(KEY, **repoint())
    assert [(1, 1), (2, 4)] == sql(f"SELECT * FROM {quoted}.{quoted} ORDER BY id")
    list(restore(conn, 1))
    assert [(1, 2), (2, 5)] == sql(f"SELECT * FROM {quoted}.{quoted} ORDER BY id")


@pytest.mark.thorough
def test_parent_without_a_primary_key(sql, there_and_back, dump):
    """Children that reference a unique key of a table without a primary key follow the survivor as well."""
    sql("CREATE TABLE t (id int UNIQUE, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 8), (4, 8)")
    sql("CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t (id)); INSERT INTO c SELECT id, id FROM t")
    before = dump("c")
    assert 2 == there_and_back(KEY, references="repoint", ignore=("id",))
    assert before == dump("c")


def test_child_that_moved_twice_returns_to_its_parent(sql, conn, clean, dump):
    """A child that moved twice, because its first survivor later became an extra, returns to its first parent."""
    sql(PARENT + CHILD.format(action="CASCADE"))
    before = dump("c")
    clean(KEY, **repoint())
    sql("INSERT INTO t VALUES (0, 7, 'code 0')")
    clean(KEY, **repoint())
    assert [(0,)] == sql("SELECT DISTINCT t_id FROM c WHERE id BETWEEN 10 AND 13")

    list(restore(conn, 1, batch_size=1))
    assert before == dump("c")
    assert [(8, 8)] == sql("SELECT moved, returned FROM dupe_audit.child")


def test_batch_is_limited_by_children(sql, clean):
    """Children count as rows of a batch, and an extra with more children than a batch holds gets its own batch."""
    sql(PARENT + "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t)")
    sql("INSERT INTO c SELECT i, CASE WHEN i <= 5 THEN 2 ELSE 3 END FROM generate_series(1, 25) AS i")
    batches = clean(KEY, **repoint(batch_size=10))
    assert [(1, 5), (1, 20), (1, 0)] == [(batch.archived, batch.repointed) for batch in batches]


@pytest.mark.parametrize("references", ["refuse", "repoint"])
@pytest.mark.representatives("repoint")
def test_no_batch_scans_a_child(sql, conn, plans_of_a_batch, references):
    """Each batch finds the children of its extras by an index, however many rows the child table has."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    sql("INSERT INTO t SELECT i, i % 8000 FROM generate_series(1, 10000) AS i")
    sql("CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t); CREATE INDEX c_t_id ON c (t_id)")
    share = "i % 10000 + 1" if references == "repoint" else "i % 1000 + 1"
    sql(f"INSERT INTO c SELECT i, {share} FROM generate_series(1, 50000) AS i; ANALYZE")
    plans = plans_of_a_batch(cleanup(conn, KEY, CleanupRule(references=references, batch_size=600)))
    assert "Seq Scan on c " not in plans
    reads = re.findall(r"Scan using c_\w+ on c .*\n\s+(\w+ \w+)", plans)
    assert {"Index Cond"} == set(reads)
    # With two million children, an anti join made the planner read the whole index; only the batch's list may have one.
    assert (1 if references == "repoint" else 0) == plans.count("Anti Join")


def test_moved_children_are_recorded(sql, clean, conn):
    """The record has each child's key, its old and new parent and the batch; the ledger has the totals."""
    sql(PARENT + CHILD.format(action="CASCADE"))
    clean(KEY, **repoint(batch_size=2))
    rows = sql("SELECT i1, o1, s1, dupe_audit_batch FROM dupe_audit.children_1_1 ORDER BY i1")
    assert [(11, 2, 1), (12, 2, 1), (13, 3, 1), (14, 5, 4)] == [row[:3] for row in rows]
    assert [("public.c", "c_t_id_fkey", 4, 0)] == sql(
        "SELECT child, constraint_name, moved, returned FROM dupe_audit.child"
    )
    run, rule = ledger.get_run(conn, 1)
    assert (4, 0) == (run.children_moved, run.children_returned)
    assert rule
    assert "repoint" == rule.references


def test_record_is_private(sql, clean, member):
    """Default privileges that would open new tables to other roles do not open the record of moved children (H129)."""
    sql(f'ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC, "{member}"')
    sql(PARENT + CHILD.format(action="CASCADE"))
    clean(KEY, **repoint())
    granted = sql("SELECT DISTINCT grantee::regrole FROM pg_class, aclexplode(relacl) WHERE relname = 'children_1_1'")
    assert [("postgres",)] == granted


def test_sums_are_verified(sql, clean, conn):
    """A record of moved children that was changed or dropped is detected."""
    sql(PARENT + CHILD.format(action="CASCADE"))
    clean(KEY, **repoint())
    assert "ledger-mismatch" not in {finding.id for finding in verify(conn, KEY).findings}
    sql("DELETE FROM dupe_audit.children_1_1 WHERE i1 = 11")
    assert "ledger-mismatch" in {finding.id for finding in verify(conn, KEY).findings}
    sql("DROP TABLE dupe_audit.children_1_1")
    assert "ledger-mismatch" in {finding.id for finding in verify(conn, KEY).findings}


def test_purge_drops_the_records(sql, clean, conn):
    """A purge drops the archive and the records of moved children, and the children stay where they are."""
    sql(PARENT + CHILD.format(action="CASCADE"))
    clean(KEY, **repoint())
    ledger.purge(conn, 1)
    tables = sql("SELECT relname FROM pg_class WHERE relnamespace = 'dupe_audit'::regnamespace AND relkind = 'r'")
    assert {"run", "batch", "child", "leaf"} == {row[0] for row in tables or []}
    assert "ledger-mismatch" not in {finding.id for finding in verify(conn, KEY).findings}


@pytest.mark.thorough
def test_continued_run_follows_the_new_rule(sql, conn, clean):
    """A run that is continued with another rule follows the new rule."""
    sql(PARENT + CHILD.format(action="CASCADE"))
    batches = cleanup(conn, KEY, CleanupRule(**repoint(batch_size=1)))
    next(batches)
    batches.close()
    sql("DELETE FROM c WHERE t_id = 3 OR t_id = 5")
    clean(KEY, ignore=("code",))
    assert [("clean", 3)] == sql("SELECT state, archived FROM dupe_audit.run")
