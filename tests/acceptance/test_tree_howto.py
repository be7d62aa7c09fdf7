"""The code of the how-to about partitioned tables, as a revision."""

import pytest

from howtos import HEADER, blocks_of, project_of, revision_of

TREE = """
CREATE TABLE measurements (sensor_id int, taken_on date NOT NULL, value float) PARTITION BY RANGE (taken_on);
CREATE TABLE measurements_1 PARTITION OF measurements FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE measurements_2 PARTITION OF measurements DEFAULT PARTITION BY HASH (taken_on);
CREATE TABLE measurements_2a PARTITION OF measurements_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO measurements SELECT mod(i, 20), date '2026-01-01' + mod(i, 60), 1 FROM generate_series(1, 100) AS i
"""
ROWS = "SELECT tableoid::regclass::text, t::text FROM measurements t ORDER BY 1, 2"
PARTS = """
SELECT i.indrelid::regclass::text, ic.relname::text
FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
WHERE i.indrelid::regclass::text LIKE 'measurements%' ORDER BY 1
"""
NAMES = [
    ("measurements", "unique_measurement"),
    ("measurements_1", "measurements_1_sensor_id_taken_on_key"),
    ("measurements_2", "measurements_2_sensor_id_taken_on_key"),
    ("measurements_2a", "measurements_2a_sensor_id_taken_on_key"),
]


def test_revision_of_the_page(tmp_path, database_url, launcher, sql):
    """The page's revision goes up and down; parts and archive name the leaves as the page says."""
    sql(TREE)
    before = sql(ROWS)
    project = project_of(tmp_path, database_url, launcher, revision_of("partitioned-table", "The revision"))
    code, output = project.run("upgrade", "head")
    assert code == 0, output
    assert NAMES == sql(PARTS)
    assert [("public.measurements_1",), ("public.measurements_2a",)] == sql(
        "SELECT DISTINCT dupe_audit_leaf FROM dupe_audit.archive_1 ORDER BY 1"
    )
    assert [(3,)] == sql(
        "SELECT count(*) FROM dupe_audit.leaf WHERE index_name = table_name || '_sensor_id_taken_on_key'"
    )
    code, output = project.run("downgrade", "-1")
    assert code == 0, output
    assert before == sql(ROWS)
    assert [] == sql(PARTS)


@pytest.mark.thorough
def test_partition_that_is_prepared_before_it_is_attached(tmp_path, database_url, launcher, sql):
    """The page's revision for a new partition: its constraint is adopted, and undone once the partition is detached."""
    sql(f"{TREE}; DROP TABLE measurements_2; CREATE TABLE measurements_2027 (LIKE measurements)")
    sql("INSERT INTO measurements_2027 VALUES (1, '2027-01-01', 1), (1, '2027-01-01', 1)")
    project = project_of(tmp_path, database_url, launcher, revision_of("partitioned-table", "The revision"))
    code = "\n".join(blocks_of("partitioned-table", "Partitions that come and go"))
    back = """
def downgrade():
    op.drop_unique_constraint_online("measurements_2027_key", "measurements_2027")
    op.restore_duplicates("measurements_2027", KEY)
"""
    header = HEADER.replace("'0002', '0001'", "'0003', '0002'") + 'KEY = ["sensor_id", "taken_on"]\n'
    (tmp_path / "migrations" / "versions" / "0003.py").write_text(header + code + back)
    assert 0 == project.run("upgrade", "head")[0]
    sql("ALTER TABLE measurements ATTACH PARTITION measurements_2027 FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')")
    assert ("measurements_2027", "measurements_2027_key") in sql(PARTS)
    assert 2 == len([name for table, name in sql(PARTS) if table in {"measurements_1", "measurements_2027"}])
    assert 0 == project.run("verify", program="dupe_audit.cli")[0]
    code, output = project.run("downgrade", "-1")
    assert (255, True) == (code, "ALTER TABLE public.measurements DETACH PARTITION public.measurements_2027;" in output)
    sql("ALTER TABLE measurements DETACH PARTITION measurements_2027")
    assert 0 == project.run("downgrade", "-1")[0]
    assert [(2,)] == sql("SELECT count(*) FROM measurements_2027")
    assert 0 == project.run("downgrade", "-1")[0]
    assert [] == sql(PARTS)
