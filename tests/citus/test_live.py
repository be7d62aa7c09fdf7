"""Cleaning and enforcing while sessions on every node insert, re-key and delete rows: nothing is lost."""

from contextlib import suppress

import pytest
from sqlalchemy import make_url

from citus.traffic import Traffic, objections
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import DuplicatesKeepComing
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore
from dupe_audit.verify import verify

KEY = UniqueKey(schema="application", table="events", columns=("tenant", "name", "at"), name="uq_events")
TENANTS, NAMES, ROWS = 20, 300, 6_000
FILL = (
    "INSERT INTO application.events (tenant, id, name, at) "
    f"SELECT n % {TENANTS}, n, 'n' || n % {NAMES}, '2026-01-01' FROM generate_series(1, {ROWS}) AS n"
)
RULE = CleanupRule(divergent="archive", batch_size=100)


@pytest.fixture
def urls(database_url, sql):
    """The URLs of the coordinator and of every worker."""
    nodes = sql("SELECT nodename, nodeport FROM pg_dist_node ORDER BY nodeport")
    return [
        make_url(database_url).set(host=host, port=port).render_as_string(hide_password=False) for host, port in nodes
    ]


@pytest.mark.parametrize("kind", ["distributed", "reference", "local"])
def test_nothing_is_lost_while_writers_are_active(sql, conn, events, urls, kind):
    """Every row that writers left is in the table or in the archive, once, and each extra has left a survivor."""
    events(kind, rows=FILL)
    initial = {row: f"n{row % NAMES}" for row in range(1, ROWS + 1)}
    batches = cleanup(conn, KEY, RULE)
    with Traffic(urls, initial, tenants=TENANTS, names=NAMES) as traffic:
        moved = 0
        while moved < 4_000:  # as long as writers write, a pass meets rows that have changed, and another one follows
            moved += next(batches).archived
    list(batches)
    assert [] == [failure for writer in traffic.writers for failure in writer.failures]
    assert all(writer.statements > 20 for writer in traffic.writers)
    ((archive,),) = sql("SELECT format('dupe_audit.archive_%s', id) FROM dupe_audit.run")
    table = sql("SELECT id, name FROM application.events")
    survivor = "dupe_audit_survivor_2"
    at = "extract(epoch FROM dupe_audit_archived_at)::float8"
    archived = sql(f"SELECT id, name, {survivor}, {at} FROM {archive}")
    assert len(archived) > 5_000
    assert [] == objections(traffic.history, table, archived)
    enforce(conn, KEY, BuildRule())
    report = verify(conn, KEY)
    assert (True, len(archived)) == (report.ok, report.run.archived)
    drop(conn, KEY, BuildRule())
    list(restore(conn, report.run.id))
    assert sorted(sql("SELECT id, name FROM application.events")) == sorted(table + [row[:2] for row in archived])


@pytest.mark.parametrize("kind", ["distributed", "reference"])
def test_key_is_enforced_against_live_writers(sql, conn, events, urls, kind):
    """Duplicates that arrive during builds are cleaned, until a build succeeds or the error says how fast they come."""
    events(kind, rows=FILL)
    initial = {row: f"n{row % NAMES}" for row in range(1, ROWS + 1)}
    rule = BuildRule(give_up_after="5s", build_attempts=2)

    def clean() -> int:
        return sum(batch.archived for batch in cleanup(conn, KEY, RULE))

    with Traffic(urls, initial, tenants=TENANTS, names=NAMES, writers=2) as traffic:
        clean()
        with suppress(DuplicatesKeepComing):
            enforce(conn, KEY, rule, clean_again=clean)
    assert [] == [failure for writer in traffic.writers for failure in writer.failures]
    enforce(conn, KEY, BuildRule(), clean_again=clean)
    assert verify(conn, KEY).ok
