"""Reference, Citus-local and distributed tables on a real cluster: up, down and up again, by the same directives."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from alembic_project import Project
from conftest import conninfo
from dupe_audit import citus, ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import Blocked, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres.driver import execute
from dupe_audit.preflight import blockers, preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify
from waiting import wait_for

KEY = UniqueKey(schema="application", table="events", columns=("tenant", "name", "at"), name="uq_events")
UP = """
op.archive_duplicates("events", ["tenant", "name", "at"], schema="application", divergent="archive")
op.create_unique_constraint_online("uq_events", "events", ["tenant", "name", "at"], schema="application")
"""
DOWN = """
op.drop_unique_constraint_online("uq_events", "events", schema="application")
op.restore_duplicates("events", ["tenant", "name", "at"], schema="application")
"""
#: 20,000 rows in 2,000 groups of 10
MANY = (
    "INSERT INTO application.events (tenant, id, name, at) "
    "SELECT n % 20, n, 'n' || n % 2000, '2026-01-01' FROM generate_series(1, 20000) AS n"
)
ALL_ROWS = "SELECT e::text FROM application.events e ORDER BY tenant, id"
ENFORCED = (
    "SELECT count(*) FROM pg_index i JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype = 'u' "
    "WHERE i.indrelid = '%s'::regclass AND i.indisvalid AND i.indisready"
)

every_kind = pytest.mark.parametrize("kind", ["distributed", "reference", "local"])


@every_kind
def test_key_goes_up_down_and_up(tmp_path: Path, database_url, launcher, sql, events, on_placements, kind):
    """The first row of each group survives, every shard and copy enforces the key, and each row is restored."""
    events(kind)
    project = Project(tmp_path, database_url, launcher)
    project.revision("0002", "0001", UP, DOWN)
    before = sql(ALL_ROWS)
    for _ in range(2):
        code, output = project.run("upgrade", "head")
        assert code == 0, output
        assert sql("SELECT count(*), max(id) FROM application.events") == [(400, 400)]
        assert set(on_placements(ENFORCED)) == {"1"}
        code, output = project.run("verify", program="dupe_audit.cli")
        assert code == 0, output
        with pytest.raises(psycopg.errors.UniqueViolation):
            sql("INSERT INTO application.events SELECT tenant, 9999, name, at FROM application.events WHERE id = 1")
        code, output = project.run("downgrade", "-1")
        assert code == 0, output
        assert sql(ALL_ROWS) == before
        assert set(on_placements(ENFORCED)) == {"0"}
    assert sql("SELECT state, archived, restored FROM dupe_audit.run ORDER BY id") == [("restored", 800, 800)] * 2


@every_kind
def test_preflight_counts_every_shard(conn, events, kind):
    """Preflight counts rows, groups and the columns that differ over all shards, and changes nothing."""
    events(kind)
    report = preflight(conn, KEY)
    counts = report.counts
    assert (1200, 400, 800, 3, 40) == (
        counts.rows,
        counts.groups,
        counts.extras,
        counts.largest_group,
        counts.divergent_groups,
    )
    assert {"details": 40} == dict(report.differs)
    assert {"duplicates", "divergent-duplicates"} == {finding.id for finding in report.findings}
    assert not ledger.exists(conn)


@every_kind
def test_divergent_groups_are_refused_before_a_row_moves(sql, conn, events, kind):
    """With divergent="refuse", the cleanup counts the divergent groups of all shards, and archives nothing."""
    events(kind)
    with pytest.raises(Refused, match="40 groups with 80 extras"):
        list(cleanup(conn, KEY, CleanupRule()))
    assert sql("SELECT count(*) FROM application.events") == [(1200,)]
    assert sql("SELECT state, archived FROM dupe_audit.run") == [("failed", 0)]


@every_kind
def test_row_that_cannot_go_back_stays_archived(sql, conn, events, kind):
    """An archived row whose primary key was used again is reported and kept; all others are restored, once."""
    events(kind)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    ((run, archive),) = sql("SELECT id, 'dupe_audit.archive_' || id FROM dupe_audit.run")
    sql(f"INSERT INTO application.events SELECT tenant, id, 'other' FROM {archive} WHERE id = 777")
    for _ in range(2):
        with pytest.raises(Refused, match=r"rows-not-restored"):
            list(restore(conn, run))
        assert sql(
            f"SELECT id, dupe_audit_problem LIKE '23505: %' FROM {archive} WHERE dupe_audit_restored_at IS NULL"
        ) == [(777, True)]
        assert sql("SELECT archived, restored FROM dupe_audit.run") == [(800, 799)]
    sql("DELETE FROM application.events WHERE name = 'other'")
    list(restore(conn, run))
    assert sql("SELECT count(*), count(DISTINCT id) FROM application.events") == [(1200, 1200)]
    assert verify(conn, KEY).run.restored == 800


@every_kind
def test_archive_is_private_and_beside_its_rows(sql, conn, events, kind):
    """Default privileges give no other role an archive or a part of it, which is beside the rows of the table."""
    events(kind)
    sql("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    try:
        list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    finally:
        sql("ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM PUBLIC")
    archive = sql("SELECT format('dupe_audit.archive_%s', id) FROM dupe_audit.run")[0][0]
    granted = "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) AS g WHERE g.grantee <> c.relowner"
    public = f"{granted} AND c.oid = '{{}}'::regclass"
    assert sql(public.format(archive)) == [(0,)]
    if kind == "distributed":
        quoted = public.format("%s").replace("'", "''")
        assert set(sql(f"SELECT success, result FROM run_command_on_placements('{archive}', '{quoted}')")) == {
            (True, "0")
        }
        colocated = "SELECT count(DISTINCT colocation_id) FROM citus_tables WHERE table_name::text IN ('{}', '{}')"
        assert sql(colocated.format("application.events", archive)) == [(1,)]
    left = "SELECT count(*) FROM pg_class WHERE relname LIKE ''stage%'' AND relnamespace = ''dupe_audit''::regnamespace"
    assert {result for (result,) in sql(f"SELECT result FROM run_command_on_all_nodes('{left}')")} == {"0"}


def test_key_without_the_distribution_column_is_refused(sql, conn, events):
    """A key that lacks the distribution column is refused by the rule, before anything is created."""
    events("distributed")
    (refused,) = blockers(
        conn, UniqueKey(schema="application", table="events", columns=("name",), name="uq"), CleanupRule()
    )
    assert "has to contain the distribution column tenant" in refused.message
    assert sql("SELECT to_regnamespace('dupe_audit')") == [(None,)]


@every_kind
def test_shard_without_its_index_is_not_verified(sql, conn, events, on_placements, kind):
    """A shard or copy whose constraint was dropped on its node fails verify, although the coordinator has it."""
    events(kind)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    enforce(conn, KEY, BuildRule())
    assert [] == [f for f in verify(conn, KEY).findings if f.severity == "error"]
    shard = citus.shards(conn, "'application.events'::regclass::oid")[0]
    drop_there = f"ALTER TABLE {shard.name} DROP CONSTRAINT uq_events_{shard.id}"
    assert [True] == [answer.success for answer in citus.on_shards(conn, [(shard, drop_there)])]
    (failed,) = [f for f in verify(conn, KEY).findings if f.severity == "error"]
    assert ("index-not-valid", True) == (failed.id, f"on {shard.where}" in failed.message)


@every_kind
def test_failed_build_leaves_nothing_on_any_node(sql, conn, events, on_placements, kind):
    """A build that meets a duplicate is dropped on every node; after another cleanup the next one succeeds."""
    events(kind)
    rounds = []

    def clean() -> int:
        assert set(
            on_placements("SELECT count(*) FROM pg_index WHERE indrelid = '%s'::regclass AND NOT indisprimary")
        ) == {"0"}
        rounds.append(sum(batch.archived for batch in cleanup(conn, KEY, CleanupRule(divergent="archive"))))
        return rounds[-1]

    enforce(conn, KEY, BuildRule(), clean_again=clean)
    assert rounds == [800]
    assert set(on_placements(ENFORCED)) == {"1"}
    drop(conn, KEY, BuildRule())
    assert set(on_placements(ENFORCED)) == {"0"}


CHILDREN = {
    "distributed": "SELECT create_distributed_table('application.notes', 'tenant', shard_count := 4)",
    "reference": "SELECT create_reference_table('application.notes')",
    "local": "SELECT 1",
}


@pytest.mark.parametrize(
    ("kind", "child"), [("reference", "distributed"), ("reference", "reference"), ("local", "local")]
)
def test_referenced_extra_is_refused_and_spared(sql, conn, events, kind, child):
    """Children of extras are counted on all nodes before a row moves; one that arrives later keeps its parent."""
    events(kind)
    sql(
        "CREATE TABLE application.notes (tenant int, id bigint, of_tenant int, of_id bigint, PRIMARY KEY (tenant, id), "
        "FOREIGN KEY (of_tenant, of_id) REFERENCES application.events (tenant, id))"
    )
    sql(CHILDREN[child])
    parents = "application.events, generate_series(1, 8) AS n"
    note = f"INSERT INTO application.notes SELECT n, n, tenant, id FROM {parents} WHERE id = {{}}"
    sql(note.format(777))
    rule = CleanupRule(divergent="archive")
    refused = [f for f in preflight(conn, KEY, rule).findings if f.severity == "error"]
    assert ["foreign-key-references"] == [f.id for f in refused]
    assert "8 rows of application.notes" in refused[0].message
    with pytest.raises(Refused, match=r"8 rows of application\.notes"):
        list(cleanup(conn, KEY, rule))
    sql("DELETE FROM application.notes")
    batches = cleanup(conn, KEY, rule)
    next(batches)
    left = sql("SELECT max(id) FROM application.events")[0][0]
    sql(note.format(left))
    with pytest.raises(Refused, match=r"8 rows of application\.notes"):  # by the next pass
        list(batches)
    assert sql("SELECT archived FROM dupe_audit.run") == [(799,)]
    assert sql("SELECT count(*) FROM application.events") == [(401,)]
    assert sql("SELECT count(*) FROM application.notes") == [(8,)]


@every_kind
def test_owner_needs_no_superuser(sql, conn, events, kind):
    """A plain role that owns the table cleans, enforces, verifies, drops, restores and purges on every node."""
    events(kind)
    sql("DROP ROLE IF EXISTS dupe_audit_plain")
    sql("CREATE ROLE dupe_audit_plain LOGIN")
    sql("GRANT CREATE ON DATABASE citus TO dupe_audit_plain".replace("citus", sql("SELECT current_database()")[0][0]))
    sql("GRANT USAGE, CREATE ON SCHEMA application TO dupe_audit_plain")
    sql("ALTER TABLE application.events OWNER TO dupe_audit_plain")
    try:
        sql("SET ROLE dupe_audit_plain")
        execute(conn, "SET ROLE dupe_audit_plain")
        assert [] == [f for f in blockers(conn, KEY, CleanupRule()) if f.severity == "error"]
        assert 800 == sum(batch.archived for batch in cleanup(conn, KEY, CleanupRule(divergent="archive")))
        enforce(conn, KEY, BuildRule())
        report = verify(conn, KEY)
        assert (True, 800) == (report.ok, report.run.archived)
        drop(conn, KEY, BuildRule())
        list(restore(conn, report.run.id))
        assert sql("SELECT count(*) FROM application.events") == [(1200,)]
        ledger.purge(conn, report.run.id)
    finally:
        sql("RESET ROLE")
        sql("DROP SCHEMA IF EXISTS dupe_audit CASCADE")
        sql("DROP OWNED BY dupe_audit_plain CASCADE")
        sql("DROP ROLE dupe_audit_plain")


@every_kind
def test_build_behind_an_open_writer_gives_up_and_leaves_nothing(sql, conn, database_url, events, on_placements, kind):
    """A build that meets a writer on the coordinator waits in short tries, so that others wait no longer than one."""
    events(kind)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    rule = BuildRule(lock_timeout="200ms", give_up_after="1s", build_attempts=2)
    with psycopg.connect(conninfo(database_url)) as other:
        other.execute("UPDATE application.events SET details = NULL WHERE id = 1 AND tenant = 1")
        with pytest.raises(Blocked, match=r"did not acquire a lock on application\.events in 200ms"):
            enforce(conn, KEY, rule)
    assert set(on_placements("SELECT count(*) FROM pg_index WHERE indrelid = '%s'::regclass")) == {"1"}
    enforce(conn, KEY, BuildRule())
    assert verify(conn, KEY).ok


def test_schema_that_a_stranger_prepared_on_a_worker_is_refused(sql, conn, database_url, events):
    """A schema dupe_audit that another role owns on a worker stops the cleanup before a row moves there (H199)."""
    events("distributed")
    port = sql("SELECT max(nodeport) FROM pg_dist_node")[0][0]
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    sql("INSERT INTO application.events SELECT tenant, id + 10000, name, at FROM application.events")
    sql("DROP ROLE IF EXISTS dupe_audit_stranger")
    sql("CREATE ROLE dupe_audit_stranger")
    with psycopg.connect(conninfo(database_url, port=port), autocommit=True) as worker:
        worker.execute("SET citus.enable_ddl_propagation = off")
        try:
            worker.execute("ALTER SCHEMA dupe_audit OWNER TO dupe_audit_stranger")
            with pytest.raises(Refused, match=f"on localhost:{port}, the schema belongs to role dupe_audit_stranger"):
                list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
            assert sql("SELECT count(*) FROM application.events") == [(800,)]
        finally:
            worker.execute("ALTER SCHEMA dupe_audit OWNER TO CURRENT_USER")
            sql("DROP ROLE dupe_audit_stranger")


@pytest.mark.parametrize("kind", ["distributed", "reference"])
def test_attach_behind_a_reader_on_a_worker_waits_in_short_tries(sql, conn, database_url, events, on_placements, kind):
    """The lock timeout of the attach holds on every node: it gives up behind a reader on a worker, then succeeds."""
    events(kind)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    enforce(conn, replace(KEY, form="index"), BuildRule())
    port = sql("SELECT max(nodeport) FROM pg_dist_node")[0][0]
    with psycopg.connect(conninfo(database_url, port=port)) as reader:
        reader.execute("SELECT count(*) FROM application.events")
        with pytest.raises(Blocked, match="Could not attach the index as constraint uq_events") as blocked:
            enforce(conn, KEY, BuildRule(lock_timeout="200ms", give_up_after="2s"))
        assert f"pid {reader.info.backend_pid} on localhost:{port} (" in str(blocked.value)
        assert set(on_placements(ENFORCED)) == {"0"}
        sql("UPDATE application.events SET details = '{}' WHERE id = 1")  # nobody waits behind the attach
    enforce(conn, KEY, BuildRule())
    assert set(on_placements(ENFORCED)) == {"1"}


def test_killed_upgrade_continues(tmp_path: Path, database_url, launcher, sql, events):
    """An upgrade whose process is killed in the middle of its batches is completed by the same command."""
    events("distributed", rows=MANY)
    project = Project(tmp_path, database_url, launcher)
    project.revision("0002", "0001", UP.replace('divergent="archive"', 'divergent="archive", batch_size=50'), DOWN)
    process, _ = project.start("upgrade", "head")

    def begun() -> bool:
        exists = sql("SELECT to_regclass('dupe_audit.batch') IS NOT NULL")[0][0]
        return bool(exists and sql("SELECT coalesce(max(number), 0) FROM dupe_audit.batch")[0][0] > 8)

    wait_for(begun)
    process.kill()
    process.wait()
    ((state, archived),) = sql("SELECT state, archived FROM dupe_audit.run")
    assert (state, archived < 18_000) == ("cleaning", True)
    code, output = project.run("upgrade", "head")
    assert code == 0, output
    ledger_sums = "SELECT state, archived, (SELECT sum(archived) FROM dupe_audit.batch) FROM dupe_audit.run"
    assert sql(ledger_sums) == [("enforced", 18_000, 18_000)]
    code, output = project.run("downgrade", "-1")
    assert code == 0, output
    assert sql("SELECT count(*), count(DISTINCT id) FROM application.events") == [(20_000, 20_000)]


def test_build_that_waits_on_a_worker_gives_up_and_names_the_session(sql, conn, database_url, events, on_placements):
    """A build that waits for a session on a worker for give_up_after is cancelled, and the message says where."""
    events("distributed")
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    port = sql("SELECT max(nodeport) FROM pg_dist_node")[0][0]
    with psycopg.connect(conninfo(database_url, port=port)) as other:
        other.execute("UPDATE application.events SET details = NULL WHERE id = 1 AND tenant = 1")
        with pytest.raises(Blocked, match=r"waiting for .* on localhost:\d+, \d of \d: pid \d+ \(citus_internal"):
            enforce(conn, KEY, BuildRule(give_up_after="2s"))
    enforce(conn, KEY, BuildRule())  # it drops first what could not be dropped behind that session
    assert set(on_placements(ENFORCED)) == {"1"}
    assert verify(conn, KEY).ok
