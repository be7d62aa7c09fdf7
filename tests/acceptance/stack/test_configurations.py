"""The configurations of the three consumers, compared with the tables that the revisions create."""

import json
import re
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from dupe_audit.consumer.events import Decoder
from dupe_audit.consumer.reading import read
from dupe_audit.writer import Writer

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "deploy" / "consumers").glob("*.toml"))
ENVIRONMENT = {"KAFKA_BROKERS": "one:9092,two:9092", "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0", "ROLLOUT": "false"}

#: what PostgreSQL calls the types of a configuration
TYPES = {"text": {"text", "character varying"}, "timestamptz": {"timestamp with time zone"}}
CATALOG = """
SELECT attname, format_type(atttypid, NULL), attnotnull, atthasdef FROM pg_attribute
WHERE attrelid = '{}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
CONSTRAINT = """
SELECT array_agg(attname::text ORDER BY ord) FROM pg_constraint, unnest(conkey) WITH ORDINALITY AS k(attnum, ord)
JOIN pg_attribute a USING (attnum) WHERE conname = '{}' AND conrelid = '{}'::regclass AND attrelid = conrelid
"""

files = pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)


def test_every_table_has_a_consumer():
    """Each table of the reference project has its consumer."""
    assert ["agent-actions", "manifest-injections", "routing-decisions"] == [file.stem for file in FILES]


def test_columns_match_the_catalog(alembic, sql):
    """Every column except a random id is mapped with its type, and is required in the event if it is NOT NULL."""
    alembic("upgrade", "head")
    for file in FILES:
        config = read(file, ENVIRONMENT)
        key = config.table.key
        mapped = {column.name: column for column in config.columns}
        catalog = {
            name: (type_, never_null, default) for name, type_, never_null, default in sql(CATALOG.format(key.table))
        }

        assert {} == {n: c.type for n, c in mapped.items() if catalog[n][0] not in TYPES.get(c.type, {c.type})}
        left_out = catalog.keys() - mapped.keys()
        assert left_out <= {"id"}
        assert all(catalog[name][2] for name in left_out)
        assert [] == [name for name, c in mapped.items() if catalog[name][1] and not c.required and c.default is None]
        assert [] == [name for name, c in mapped.items() if c.required and not catalog[name][1]]
        assert [(list(key.columns),)] == sql(CONSTRAINT.format(key.name, key.table))
        assert set(config.table.ignore) <= mapped.keys()


@files
def test_file_has_one_topic_and_no_addresses(file):
    """A configuration reads one topic, has a dead-letter topic, and takes addresses from the environment."""
    config = read(file, ENVIRONMENT)

    assert 1 == len(config.kafka.topics)
    assert "one:9092,two:9092" == config.kafka.brokers
    assert f"{config.kafka.topics[0]}-dlq" == config.dlq.topic_of(config.kafka.topics[0])
    assert ENVIRONMENT.keys() == set(re.findall(r"\$\{(\w+)\}", file.read_text()))


@pytest.fixture
def deliver(psycopg_connect):
    """Write an example event, with changes if given, by a configuration's rules; return its outcome."""
    connection = psycopg_connect(autocommit=True)

    def write(name, **changes):
        config = read(ROOT / "deploy" / "consumers" / f"{name}.toml", ENVIRONMENT)
        event = json.loads((ROOT / "deploy" / "events" / f"{name}.json").read_text()) | changes
        row = Decoder(config.columns, config.events)(json.dumps(event).encode())
        columns = [column.name for column in config.columns]
        return Writer(connection, config.table.key, columns, ignore=config.table.ignore).write_one(row)

    return write


def test_redelivered_examples_are_duplicates(deliver):
    """Each example event is a row; the same instant in another time zone and with more digits is a duplicate."""
    names = ("agent-actions", "routing-decisions", "manifest-injections")
    assert ["inserted"] * 3 == [deliver(name).kind for name in names]
    assert ["duplicate"] * 3 == [deliver(name, timestamp="2026-01-31T13:00:00.1234564+01:00").kind for name in names]
    later = "2026-01-31T12:00:00.123457Z"
    ids = {"routing-decisions": {"id": str(uuid.uuid4())}}
    assert ["inserted"] * 3 == [deliver(name, timestamp=later, **ids.get(name, {})).kind for name in names]


def test_columns_filled_in_later_make_no_collision(deliver, sql):
    """A decision whose outcome was filled in later, and an injection that was repointed, are still duplicates."""
    deliver("routing-decisions")
    deliver("manifest-injections")
    other = deliver("routing-decisions", id=str(uuid.uuid4()), selected_agent="tester")
    sql("UPDATE agent_routing_decisions SET actual_success = true, actual_quality_score = 0.9")
    sql(f"UPDATE agent_manifest_injections SET routing_decision_id = '{other.id}'")

    assert "duplicate" == deliver("routing-decisions").kind
    assert "duplicate" == deliver("manifest-injections").kind
    assert "collision" == deliver("manifest-injections", manifest_version="2.1").kind


def test_injection_before_its_decision_is_rejected(deliver):
    """An injection before its decision is rejected with the foreign key's SQLSTATE, and accepted once it exists."""
    assert "23503" == deliver("manifest-injections").sqlstate
    deliver("routing-decisions")
    assert "inserted" == deliver("manifest-injections").kind


def test_invalid_values_are_rejected_by_the_table(deliver):
    """A value that violates the table's checks or lengths is rejected with its SQLSTATE, and never truncated."""
    deliver("routing-decisions", timestamp="2026-01-01T00:00:00Z")
    for name, changes, sqlstate in (
        ("agent-actions", {"action_type": "thought"}, "23514"),
        ("routing-decisions", {"confidence_score": 1.5}, "23514"),
        ("routing-decisions", {"routing_time_ms": 10_000}, "23514"),
        ("routing-decisions", {"selected_agent": "x" * 256}, "22001"),
        ("manifest-injections", {"manifest_version": "x" * 51}, "22001"),
    ):
        assert (name, sqlstate) == (name, deliver(name, **changes).sqlstate)


def test_examples_of_the_how_to_work(sql, psycopg_connect, environment, tmp_path):
    """The how-to's table, configuration, event and program fit together, and a redelivered event is a duplicate."""
    page = (ROOT / "docs" / "howto" / "consumers.md").read_text()
    table, config, event, program = (
        re.search(rf"^```{language}\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)[1]
        for language in ("sql", "toml", "json", "python")
    )
    sql(table)
    (tmp_path / "orders.toml").write_text(config)
    config_file = read(tmp_path / "orders.toml", {**ENVIRONMENT, "KAFKA_USER": "u", "KAFKA_PASSWORD": "p"})
    row = Decoder(config_file.columns, config_file.events)(event.encode())
    writer = Writer(
        psycopg_connect(autocommit=True), config_file.table.key, [column.name for column in config_file.columns]
    )

    assert ["inserted", "duplicate"] == [writer.write_one(row).kind for _ in range(2)]
    with psycopg_connect() as connection:
        info = connection.info
        place = {"PGHOST": info.host, "PGPORT": str(info.port), "PGDATABASE": info.dbname, "PGUSER": info.user}
        place["PGPASSWORD"] = info.password
    done = subprocess.run(
        [sys.executable, "-c", program], env={**environment, **place}, capture_output=True, text=True, check=True
    )
    assert "duplicate 1\n" == done.stdout
