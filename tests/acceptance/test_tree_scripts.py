"""Scripts of `alembic --sql` on a partitioned table: one that was not printed for it is refused; downgrades work."""

import re

import pytest

TREE = """
CREATE TABLE event (id int, day date NOT NULL, kind int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE event_2 PARTITION OF event DEFAULT PARTITION BY RANGE (day);
CREATE TABLE event_2a PARTITION OF event_2 DEFAULT;
INSERT INTO event SELECT i, date '2026-01-01' + mod(i, 40), 1 FROM generate_series(1, 100) AS i
"""
ROWS = "SELECT tableoid::regclass::text, t::text FROM event t ORDER BY 1, 2"
CLEAN = 'op.archive_duplicates("event", ["day", "kind"])'
RESTORE = 'op.restore_duplicates("event", ["day", "kind"])'
CONSTRAINT = 'op.create_unique_constraint_online("event_key", "event", ["day", "kind"])'
INDEX = 'op.create_unique_index_online("event_key", "event", ["day", "kind"])'
DROP_CONSTRAINT = 'op.drop_unique_constraint_online("event_key", "event")'
DROP_INDEX = 'op.drop_unique_index_online("event_key", "event")'


@pytest.mark.representatives(
    'op.create_unique_constraint_online("event_key", "event", ["day", "kind"])-0',
    'op.create_unique_constraint_online("event_key", "event", ["day", "kind"])-1',
    'op.create_unique_index_online("event_key", "event", ["day", "kind"])-0',
)
@pytest.mark.parametrize("stop", ["0", "1"])
@pytest.mark.parametrize("up", [f"{CLEAN}\n{CONSTRAINT}", CLEAN, CONSTRAINT, INDEX])
def test_upgrade_script_not_printed_for_a_tree_is_refused_before_it_writes(small_project, sql, psql, up, stop):
    """Whatever its directives and psql's settings, the script says how to print it, and creates not even the ledger."""
    sql(TREE)
    small_project.revision("0002", "0001", up)
    assert small_project.run("upgrade", "0001")[0] == 0
    done = psql(small_project.script("upgrade", "0001:0002"), stop=stop)
    assert "dupe-audit: partitioned-table: " in done.stderr
    assert "print it again with alembic -x dupe_audit.partitioned=event upgrade --sql" in done.stderr
    assert [("0001",)] == sql("SELECT version_num FROM alembic_version")
    assert [(None, 100)] == sql("SELECT to_regclass('dupe_audit.archive_1')::text, count(*) FROM event")
    if stop == "1":
        assert done.returncode == 3
        assert [(None,)] == sql("SELECT to_regnamespace('dupe_audit')::text")


@pytest.mark.parametrize(
    ("create", "drop"), [(CONSTRAINT, DROP_CONSTRAINT), (INDEX, DROP_INDEX)], ids=["constraint", "index"]
)
@pytest.mark.representatives("index")
def test_downgrade_script_of_a_tree(small_project, sql, psql, create, drop):
    """The script drops the part of every leaf, and restores each row to the leaf that it was in."""
    sql(TREE)
    before = sql(ROWS)
    small_project.revision("0002", "0001", f"{CLEAN}\n{create}", f"{drop}\n{RESTORE}")
    code, output = small_project.run("upgrade", "head")
    assert code == 0, output
    assert before != sql(ROWS)
    script = small_project.script("downgrade", "0002:0001")
    assert {"500ms"} == set(
        re.findall(r"DO \$attach\$.+?'lock_timeout', '(\w+)'", script, re.DOTALL)
    )  # all wait for it
    done = psql(script)
    assert done.returncode == 0, done.stderr
    assert before == sql(ROWS)
    assert [] == sql("SELECT relname FROM pg_class WHERE relname ~ '^event_.*_(key|idx)$|^event_key$'")
    assert [("0001", "restored")] == sql("SELECT version_num, state FROM alembic_version, dupe_audit.run")


@pytest.mark.parametrize(
    ("create", "part", "drop"),
    [
        (CONSTRAINT, "event_1_day_kind_key", "op.drop_unique_constraint_online"),
        (INDEX, "event_1_day_kind_idx", "op.drop_unique_index_online"),
    ],
    ids=["constraint", "index"],
)
@pytest.mark.representatives("constraint")
def test_part_of_a_whole_is_not_dropped_by_a_script(small_project, sql, psql, create, part, drop):
    """A script that would drop the part of one partition stops before that, and names the whole and the way out."""
    sql(TREE)
    small_project.revision("0002", "0001", f"{CLEAN}\n{create}")
    code, output = small_project.run("upgrade", "head")
    assert code == 0, output
    small_project.revision("0003", "0002", f'{drop}("{part}", "event_1")')
    done = psql(small_project.script("upgrade", "0002:0003"))
    assert done.returncode == 3
    assert f"dupe-audit: constraint-in-use: {part} of event_1 is part of event_key of public.event" in done.stderr
    assert "ALTER TABLE public.event DETACH PARTITION event_1;" in done.stderr
    assert [("0002",)] == sql("SELECT version_num FROM alembic_version")
    assert [(True,)] == sql("SELECT indisvalid FROM pg_index WHERE indexrelid = 'event_key'::regclass")


@pytest.mark.thorough
def test_script_restores_no_row_of_a_detached_partition_into_a_default_one(small_project, sql, psql):
    """Such rows stay archived with the reason; once the partition is attached again, the same script restores them."""
    sql(TREE)
    before = sql(ROWS)
    small_project.revision("0002", "0001", f"{CLEAN}\n{CONSTRAINT}", f"{DROP_CONSTRAINT}\n{RESTORE}")
    code, output = small_project.run("upgrade", "head")
    assert code == 0, output
    ((of_event_1,),) = sql("SELECT count(*) FROM dupe_audit.archive_1 WHERE dupe_audit_leaf = 'public.event_1'")
    sql("ALTER TABLE event DETACH PARTITION event_1")
    script = small_project.script("downgrade", "0002:0001")
    done = psql(script)
    assert done.returncode == 3
    assert f"rows-not-restored: rows stay in dupe_audit.archive_1 (rows: {of_event_1})" in done.stderr
    problems = "SELECT DISTINCT dupe_audit_leaf, dupe_audit_problem FROM dupe_audit.archive_1"
    problem = "P0001: its partition public.event_1 was detached or dropped, so it would go to a DEFAULT partition"
    assert [("public.event_1", problem)] == sql(f"{problems} WHERE dupe_audit_restored_at IS NULL")
    sql("ALTER TABLE event_1 DROP CONSTRAINT event_1_day_kind_key")
    sql("ALTER TABLE event ATTACH PARTITION event_1 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
    done = psql(script)
    assert done.returncode == 0, done.stderr
    assert before == sql(ROWS)
