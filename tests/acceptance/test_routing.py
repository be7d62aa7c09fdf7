"""Revisions 016 to 018: duplicated decisions, and injections that reference different copies of them."""

import pytest

DECISIONS = "agent_routing_decisions"
INJECTIONS = "agent_manifest_injections"
UNIQUE = (
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'u' AND conrelid = '{}'::regclass"
)
#: the id of a copy of a decision
DECISION = "md5({n} || 'decision' || {copy})::uuid"

SEED = f"""
INSERT INTO {DECISIONS} (id, correlation_id, user_request, selected_agent, confidence_score, routing_strategy,
    alternatives, matched_triggers, routing_time_ms, cache_hit, actual_success, actual_quality_score, created_at)
SELECT {DECISION.format(n="n", copy="copy")}, md5(n::text)::uuid, 'request ' || n, 'agent-' || n % 7, 0.9, 'fuzzy',
    '[{{"agent": "other", "confidence": 0.10}}]', ARRAY['a', NULL, 'b "c"'], n, true,
    CASE WHEN n % 2 = 0 AND copy = 2 THEN n % 4 = 0 END, CASE WHEN n % 2 = 0 AND copy = 2 THEN 0.5 END,
    timestamptz '2026-01-01' + n * interval '1 ms'
FROM generate_series(1, 40) AS n, generate_series(1, 3) AS copy WHERE n <= 20 OR copy = 1;
INSERT INTO {INJECTIONS} (correlation_id, routing_decision_id, agent_name, manifest_version, generation_source,
    sections_included, query_times, total_query_time_ms, full_manifest_snapshot, created_at)
SELECT d.correlation_id, d.id, d.selected_agent, '2.0', 'live', ARRAY['models'], '{{"models": 1.50}}', 2,
    jsonb_build_object('text', (SELECT string_agg(md5(d.routing_time_ms::text || i), '')
                                FROM generate_series(1, 200) AS i)),
    d.created_at + interval '1 s'
FROM {DECISIONS} AS d;
INSERT INTO {INJECTIONS} (correlation_id, agent_name, manifest_version, generation_source, sections_included,
    query_times, total_query_time_ms, full_manifest_snapshot, created_at)
SELECT md5('alone')::uuid, 'agent', '2.0', 'fallback', '{{}}', '{{}}', 0, '{{}}', '2026-01-02'
FROM generate_series(1, 2)
"""


@pytest.fixture
def checksums(sql):
    """Return the number of rows and a hash of all rows of both tables."""
    query = "SELECT count(*), md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM {} AS t"
    return lambda: [sql(query.format(table)) for table in (DECISIONS, INJECTIONS)]


@pytest.fixture
def seeded(sql) -> None:
    """Forty decisions, twenty of them three times, half of those with an outcome; an injection for each row."""
    sql(SEED)


@pytest.mark.thorough
def test_injections_follow_their_decision_and_return(alembic, dupe_audit, sql, seeded, checksums):
    """Injections follow the copy that stays, their own copies become one row, and the downgrade restores everything."""
    before = checksums()

    alembic("upgrade", "head")
    assert [("018",)] == sql("SELECT version_num FROM alembic_version")
    assert [
        ("unique_routing_decision_per_correlation_timestamp", "UNIQUE (correlation_id, selected_agent, created_at)")
    ] == sql(UNIQUE.format(DECISIONS))
    assert [
        ("unique_manifest_injection_per_correlation_timestamp", "UNIQUE (correlation_id, agent_name, created_at)")
    ] == sql(UNIQUE.format(INJECTIONS))
    assert [(40, 10)] == sql(f"SELECT count(*), count(actual_success) FROM {DECISIONS}")
    assert [(41, 40)] == sql(f"SELECT count(*), count(routing_decision_id) FROM {INJECTIONS}")
    assert [(0,)] == sql(
        f"SELECT count(*) FROM {INJECTIONS} AS i JOIN {DECISIONS} AS d ON d.id = i.routing_decision_id "
        "WHERE d.correlation_id <> i.correlation_id OR d.selected_agent <> i.agent_name"
    )
    assert [(DECISIONS, 40, 40), (INJECTIONS, 41, None)] == sql(
        "SELECT r.table_name, r.archived, c.moved FROM dupe_audit.run AS r LEFT JOIN dupe_audit.child AS c "
        "ON c.run_id = r.id WHERE r.archived > 0 ORDER BY r.id"
    )
    dupe_audit("verify")

    alembic("downgrade", "016")
    assert before == checksums()
    assert [] == sql(UNIQUE.format(DECISIONS)) + sql(UNIQUE.format(INJECTIONS))

    alembic("upgrade", "head")
    assert [(40, 41)] == sql(f"SELECT (SELECT count(*) FROM {DECISIONS}), (SELECT count(*) FROM {INJECTIONS})")
    alembic("downgrade", "base")
    assert [(None, None)] == sql(f"SELECT to_regclass('{DECISIONS}'), to_regclass('{INJECTIONS}')")


@pytest.mark.thorough
def test_offline_script_does_the_same(alembic, psql, sql, seeded, checksums, dupe_audit):
    """The printed SQL does the same as the upgrade, and the downgrade's SQL restores every byte."""
    before = checksums()

    up = psql(alembic("upgrade", "016:018", "--sql").stdout)
    assert (0, [("018",)]) == (up.returncode, sql("SELECT version_num FROM alembic_version")), up.stderr
    assert [(40, 40), (41, 40)] == [
        sql(f"SELECT count(*), count(DISTINCT correlation_id) - {alone} FROM {table}")[0]
        for table, alone in ((DECISIONS, 0), (INJECTIONS, 1))
    ]
    dupe_audit("verify")

    down = psql(alembic("downgrade", "018:016", "--sql").stdout)
    assert 0 == down.returncode, down.stderr
    assert before == checksums()


@pytest.mark.thorough
def test_empty_tables_are_upgraded_and_downgraded(alembic, dupe_audit, sql):
    """Empty tables are upgraded and downgraded with nothing archived and nothing on standard output."""
    assert "" == alembic("upgrade", "head").stdout
    assert [("enforced", 0)] * 3 == sql("SELECT state, archived FROM dupe_audit.run")
    dupe_audit("verify")
    assert "" == alembic("downgrade", "base").stdout
    assert [("restored",)] * 3 == sql("SELECT state FROM dupe_audit.run")


@pytest.mark.parametrize(
    ("table", "change", "reached"),
    [(DECISIONS, "reasoning = 'another'", "016"), (INJECTIONS, "manifest_version = '2.1'", "017")],
)
@pytest.mark.representatives("agent_manifest_injections*")
def test_rows_with_different_data_are_refused(alembic, sql, seeded, table, change, reached):
    """Two rows of one key with different data stop the upgrade before any row is archived."""
    decision = f"(SELECT max(id::text)::uuid FROM {table} WHERE correlation_id = md5('3')::uuid)"
    sql(f"UPDATE {table} SET {change} WHERE id = {decision}")
    before = sql(f"SELECT count(*) FROM {table}")

    done = alembic("upgrade", "head", code=255)

    assert "divergent-duplicates" in done.stderr
    assert before == sql(f"SELECT count(*) FROM {table}")
    assert [(reached,)] == sql("SELECT version_num FROM alembic_version")


def test_decision_with_an_outcome_stays(alembic, sql, seeded):
    """A copy with an outcome stays; of two contradictory ones the worse outcome; otherwise the lesser id."""
    sql(
        f"UPDATE {DECISIONS} SET actual_success = true, actual_quality_score = 0.9 "
        f"WHERE id = {DECISION.format(n=2, copy=1)}"
    )
    alembic("upgrade", "017")
    stayed = dict(sql(f"SELECT routing_time_ms, id::text FROM {DECISIONS} WHERE routing_time_ms <= 4"))
    wanted = {
        n: sql(f"SELECT {survivor}::text")[0][0]
        for n, survivor in {
            1: f"least({', '.join(DECISION.format(n=1, copy=copy) for copy in (1, 2, 3))})",
            2: DECISION.format(n=2, copy=2),
            4: DECISION.format(n=4, copy=2),
        }.items()
    }
    assert wanted == {n: stayed[n] for n in wanted}
