"""A cleanup of a table of Citus that was killed continues, and neither loses a row nor counts one twice."""

import re

import psycopg
import pytest

from conftest import conninfo
from dupe_audit import citus
from dupe_audit.cleanup import cleanup
from dupe_audit.errors import Blocked, DupeAuditError
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.restore import restore
from dupe_audit.verify import ledger_findings, verify

KEY = UniqueKey(schema="application", table="events", columns=("tenant", "name", "at"), name="uq_events")
RULE = CleanupRule(divergent="archive", batch_size=20)
SUMS = "SELECT archived, (SELECT sum(archived) FROM dupe_audit.batch), (SELECT count(*) FROM {}) FROM dupe_audit.run"


@pytest.mark.parametrize("kind", ["distributed", "reference", "local"])
def test_abandoned_cleanup_continues_under_its_run(sql, conn, events, kind):
    """A cleanup that ended in the middle continues under the same run; nothing is archived or counted twice."""
    events(kind)
    batches = cleanup(conn, KEY, RULE)
    first = sum(next(batches).archived for _ in range(2))
    batches.close()
    assert 0 < first < 800
    second = sum(batch.archived for batch in cleanup(conn, KEY, RULE))
    ((archive,),) = sql("SELECT format('dupe_audit.archive_%s', id) FROM dupe_audit.run")
    assert first + second == 800
    assert sql(SUMS.format(archive)) == [(800, 800, 800)]
    assert sql(f"SELECT count(DISTINCT dupe_audit_id) FROM {archive}") == [(800,)]


def test_block_that_outlives_its_client_is_counted(sql, conn, events, monkeypatch):
    """Rows that shards archived after their client was gone are counted by the next cleanup, and restored."""
    events("distributed")
    send = citus.on_shards

    def killed_afterwards(connection, commands):
        blocks = list(commands)
        answers = send(connection, blocks)
        if any("dupe_audit_batch$" in sql for _, sql in blocks):
            raise KeyboardInterrupt
        return answers

    monkeypatch.setattr("dupe_audit.cleanup.sharded.on_shards", killed_afterwards)
    with pytest.raises(KeyboardInterrupt):
        list(cleanup(conn, KEY, RULE))
    monkeypatch.undo()
    ((run, archive),) = sql("SELECT id, format('dupe_audit.archive_%s', id) FROM dupe_audit.run")
    ((uncounted,),) = sql(f"SELECT count(*) FROM {archive}")
    assert uncounted > 0
    assert sql("SELECT archived FROM dupe_audit.run") == [(0,)]
    archived = sum(batch.archived for batch in cleanup(conn, KEY, RULE))
    assert archived == 800 - uncounted
    assert sql(SUMS.format(archive)) == [(800, 800, 800)]
    restored = restore(conn, run, batch_size=30)
    next(restored)
    restored.close()
    list(restore(conn, run, batch_size=30))
    assert [] == ledger_findings(conn, verify(conn, KEY).run)
    assert sql("SELECT count(*), count(DISTINCT id) FROM application.events") == [(1200, 1200)]


@pytest.mark.parametrize("kind", ["distributed", "reference", "local"])
def test_locked_row_is_skipped_and_named(sql, conn, database_url, events, kind):
    """While a session on a worker holds an extra, the others are archived, and the error says that not all could be."""
    events(kind)
    port = sql("SELECT max(nodeport) FROM pg_dist_node")[0][0]
    with psycopg.connect(conninfo(database_url, port=port)) as other:
        other.execute("UPDATE application.events SET details = NULL WHERE id = 777")
        with pytest.raises(Blocked, match=r"[Cc]ould not (be archived|archive extras)") as blocked:
            list(cleanup(conn, KEY, RULE, give_up_after="2s"))
        # On its own node by its pid; elsewhere by the number that Citus gives it in the whole cluster.
        pid = other.info.backend_pid
        assert re.search(rf"pid {pid} on localhost:{port} \(|citus_internal gpid=\d+{pid}, ", str(blocked.value))
        if kind != "reference":  # there, the writer of one row holds off every other writer of the table
            assert sql("SELECT count(*) FROM application.events") == [(401,)]
        other.rollback()
    list(cleanup(conn, KEY, RULE))
    assert sql("SELECT count(*) FROM application.events") == [(400,)]


@pytest.mark.parametrize("kind", ["distributed", "reference", "local"])
def test_survivor_that_changes_its_key_keeps_its_group(sql, conn, events, kind):
    """Extras whose survivor got another key after the ranking are judged again: no key loses its last row."""
    events(kind)
    batches = cleanup(conn, KEY, RULE)
    next(batches)
    ((archive,),) = sql("SELECT format('dupe_audit.archive_%s', id) FROM dupe_audit.run")
    whole = sql("SELECT count(*) FROM (SELECT FROM application.events WHERE id > 400 GROUP BY tenant, name) AS g")[0][0]
    sql("UPDATE application.events SET name = 'moved ' || name WHERE id <= 400")
    list(batches)
    assert whole > 300
    assert sql("SELECT count(*) FROM application.events WHERE name LIKE 'moved%'") == [(400,)]
    assert sql("SELECT count(*) FROM application.events WHERE name NOT LIKE 'moved%'") == [(whole,)]
    assert sql(f"SELECT count(*) FROM {archive}") == [(800 - whole,)]


def test_archive_that_is_not_divided_is_not_restored(sql, conn, events):
    """A table that was distributed after its cleanup is not restored from an archive on the coordinator."""
    events("local")
    list(cleanup(conn, KEY, RULE))
    sql("SELECT undistribute_table('application.events')")
    sql("UPDATE dupe_audit.run SET relation = 'application.events', relid = 'application.events'::regclass")
    sql("SELECT create_distributed_table('application.events', 'tenant', shard_count := 4)")
    ((run,),) = sql("SELECT id FROM dupe_audit.run")
    with pytest.raises(DupeAuditError, match=r"is not divided among the nodes as application\.events is"):
        list(restore(conn, run))
    assert sql("SELECT archived, restored FROM dupe_audit.run") == [(800, 0)]


@pytest.mark.parametrize("kind", ["distributed", "reference", "local"])
def test_batch_takes_few_wide_rows(sql, conn, events, kind):
    """A batch on a table of Citus takes no more rows than fit into 8 MiB, however few that is."""
    wide = "(SELECT string_agg(md5(n || '.' || i), '') FROM generate_series(1, 90000) AS i)"
    columns = "INSERT INTO application.events (tenant, id, name, at, details)"
    events(kind, rows=f"{columns} SELECT 1, n, 'n', '2026-01-01', to_jsonb({wide}) FROM generate_series(1, 8) AS n")
    sizes = [batch.archived for batch in cleanup(conn, KEY, CleanupRule(divergent="archive"))]
    assert (7, 2) == (sum(sizes), max(sizes))
