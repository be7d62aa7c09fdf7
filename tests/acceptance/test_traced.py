"""The reference project, traced as in the check: no strong lock is held while a table is scanned or indexed."""

import logging
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from dupe_audit.checks.evidence import EmptyTrip, Evidence, Revision
from dupe_audit.checks.rules import locks
from dupe_audit.checks.tracing.trace import tracing
from dupe_audit.connect import connect
from dupe_audit.schema.facts import Catalog, Table

ROOT = Path(__file__).parents[2]
TABLES = (
    "SELECT oid::int8, relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
    "AND relname <> 'alembic_version'"
)


@pytest.fixture
def step(database_url, sql, monkeypatch):
    """Apply or revert one revision in this process, traced; return the trip."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    # The project's ini file would configure logging and remove caplog's handler.
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))

    def run(revision, *, down=False):
        (path,) = (ROOT / "alembic" / "versions").glob(f"{revision}*.py")
        tables = tuple(Table(oid=oid, schema="public", name=name) for oid, name in sql(TABLES))
        with connect(database_url) as observer, tracing(observer, tables, path) as traced:
            if down:
                command.downgrade(config, "-1")
            else:
                command.upgrade(config, revision)
        at = Revision(
            id=revision,
            parents=(),
            path=path,
            file=path.name,
            upgrade_line=1,
            downgrade_line=None,
            empty_upgrade=False,
            empty_downgrade=True,
            refuses_downgrade=False,
            accepts=frozenset(),
        )
        return EmptyTrip(
            revision=at, before=Catalog(tables=tables, indexes=(), objects={}), statements=traced.statements
        )

    return run


@pytest.mark.thorough
def test_directives_cause_no_finding(step, sql, caplog):
    """On a table with duplicates, up, down and up again, each directive works, and its locks cause no finding."""
    caplog.set_level(logging.INFO, "alembic.dupe_audit")
    steps = [step("014")]
    sql(
        "INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at) "
        "SELECT md5((i % 900)::text)::uuid, 'agent', 'tool_call', 'Read', timestamptz '2026-01-01' "
        "FROM generate_series(1, 1000) AS i"
    )
    steps += [step("015"), step("015", down=True), step("015"), step("016"), step("017"), step("018")]

    evidence = Evidence(heads=("018",), revisions=(), empty_trips=tuple(steps), seeded_trips=(), final_schema=None)
    assert [] == list(locks.check(evidence))
    modes = {(mode, traced.work != ()) for trip in steps for traced in trip.statements for _, mode in traced.locks}
    assert {("ACCESS EXCLUSIVE", False)} == {(mode, worked) for mode, worked in modes if mode in locks.BLOCKS}
    assert {"build"} <= {work for trip in steps for traced in trip.statements for _, work in traced.work}
    assert [(100,)] == sql("SELECT archived FROM dupe_audit.run ORDER BY id LIMIT 1")
    assert any("is enforced by" in text for text in caplog.messages)
