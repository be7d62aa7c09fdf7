"""Scripts for a key with a column whose values are mostly distinct, on a table with statistics."""

ORDERS = """
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, shop int, number text);
INSERT INTO orders (shop, number) SELECT n % 3, 'A-' || n FROM generate_series(1, 200) AS n;
INSERT INTO orders (shop, number) SELECT n % 3, 'A-' || n FROM generate_series(1, 20) AS n;
INSERT INTO orders (shop, number) SELECT 9, 'A-' || n FROM generate_series(1, 10) AS n;
ANALYZE orders
"""
#: the columns of one leaf are in another order, and one was dropped
EVENTS = """
CREATE TABLE event (day date NOT NULL, code text, id int) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE event_2 (gone int, id int, code text, day date NOT NULL);
ALTER TABLE event_2 DROP COLUMN gone;
ALTER TABLE event ATTACH PARTITION event_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO event SELECT date '2026-01-01' + n % 50, 'A-' || n, n FROM generate_series(1, 200) AS n;
INSERT INTO event SELECT date '2026-01-01' + n % 50, 'A-' || n, -n FROM generate_series(1, 40) AS n;
ANALYZE event
"""
CLEAN = 'op.archive_duplicates("{0}", {1}, divergent="archive")'
CREATE = 'op.create_unique_constraint_online("{0}_key", "{0}", {1})'
DROP = 'op.drop_unique_constraint_online("{0}_key", "{0}")'
RESTORE = 'op.restore_duplicates("{0}", {1})'


def revise(project, table, columns):
    """Add a revision that archives the duplicates of a key and enforces it, and upgrade to the one before."""
    up, down = (f"{first}\n{then}".format(table, columns) for first, then in ((CLEAN, CREATE), (DROP, RESTORE)))
    project.revision("0002", "0001", up, down)
    assert project.run("upgrade", "0001")[0] == 0


def test_script_and_upgrade_archive_the_same_rows(small_project, sql, psql):
    """The script archives exactly the 20 extras and restores them; ten further rows share only a number."""
    sql(ORDERS)
    rows = "SELECT * FROM orders ORDER BY id"
    before = sql(rows)
    revise(small_project, "orders", '["shop", "number"]')
    done = psql(small_project.script("upgrade", "0001:0002"))
    assert done.returncode == 0, done.stderr
    after = sql(rows)
    assert after == [row for row in before if not 200 < row[0] <= 220]
    done = psql(small_project.script("downgrade", "0002:0001"))
    assert (0, before) == (done.returncode, sql(rows)), done.stderr
    assert (0, after) == (small_project.run("upgrade", "0002")[0], sql(rows))


def test_script_of_a_tree_whose_leaves_have_other_columns(small_project, sql, psql):
    """Leaf by leaf, the script archives the 40 extras and restores them."""
    sql(EVENTS)
    rows = "SELECT tableoid::regclass::text, day, code, id FROM event ORDER BY id"
    before = sql(rows)
    revise(small_project, "event", '["day", "code"]')
    done = psql(small_project.script("-x", "dupe_audit.partitioned=event", "upgrade", "0001:0002"))
    assert done.returncode == 0, done.stderr
    assert sql("SELECT count(*), count(DISTINCT (day, code)) FROM event") == [(200, 200)]
    done = psql(small_project.script("downgrade", "0002:0001"))
    assert (0, before) == (done.returncode, sql(rows)), done.stderr
