"""The commands on a partitioned table, and what they say about its leaves."""

import json

TREE = """
CREATE SCHEMA "Cold";
CREATE TABLE "Event" (id int, day date NOT NULL, kind int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF "Event" FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE "Cold".event_1 PARTITION OF "Event" FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
CREATE TABLE event_rest PARTITION OF "Event" DEFAULT;
INSERT INTO "Event" SELECT i, date '2026-01-01' + mod(i, 40), 1 FROM generate_series(1, 100) AS i
"""
UP = """
op.archive_duplicates("Event", ["day", "kind"])
op.create_unique_constraint_online("event_key", "Event", ["day", "kind"])
"""
DOWN = """
op.drop_unique_constraint_online("event_key", "Event")
op.restore_duplicates("Event", ["day", "kind"])
"""
ROWS = 'SELECT tableoid::regclass::text, t::text FROM "Event" t ORDER BY 1, 2'


def parsed(output):
    """Return the first JSON value of an output."""
    start = min(position for position in map(output.find, "[{") if position >= 0)
    return json.JSONDecoder().raw_decode(output[start:])[0]


def test_commands_on_a_partitioned_table(small_project, sql):
    """The commands report the number of leaves and which have extras; a purge keeps only what a downgrade needs."""
    sql(TREE)
    before = sql(ROWS)

    def command(*arguments):
        return small_project.run(*arguments, program="dupe_audit.cli")

    small_project.revision("0002", "0001", UP, DOWN)
    key = ["--table", "Event", "-c", "day", "-c", "kind"]
    code, output = command("preflight", *key)
    assert (1, True) == (
        code,
        'leaves 3, 2 with extras extras in public.event_1 51 extras in "Cold".event_1 9' in output,
    )
    leaves = parsed(command("preflight", *key, "--format", "json")[1])["leaves"]
    assert {
        "count": 3,
        "dirty": [
            {"table": "public.event_1", "groups": 31, "extras": 51},
            {"table": '"Cold".event_1', "groups": 9, "extras": 9},
        ],
    } == leaves
    assert 0 == small_project.run("upgrade", "head")[0]
    code, output = command("verify", "--format", "json")
    assert (0, {"count": 3}) == (code, parsed(output)[0]["leaves"])
    assert "leaves 3 extras" in command("verify")[1]
    code, output = command("runs")
    assert (0, True, False) == (code, "1 public.Event day, kind enforced 60 0" in output, "(was" in output)
    assert 0 == small_project.run("downgrade", "-1")[0]
    assert before == sql(ROWS)
    assert 0 == small_project.run("upgrade", "head")[0]
    assert 0 == command("purge", "1", "2", "--yes")[0]
    assert [(None, None, 2, 3)] == sql(
        "SELECT to_regclass('dupe_audit.archive_1'), to_regclass('dupe_audit.archive_2'), min(run_id), count(*) "
        "FROM dupe_audit.leaf"
    )
    code, output = small_project.run("downgrade", "-1")
    assert (0, True) == (code, "60 rows cannot be restored" in output)
    assert [] == sql("SELECT 1 FROM pg_class WHERE relname ~ '^event_key$|_day_kind_key$'")
