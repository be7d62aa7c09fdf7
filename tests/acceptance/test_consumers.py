"""The configurations of the three consumers, against the tables that the revisions make."""

import re
from pathlib import Path

import pytest

from dupe_audit.consumer.reading import read

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy" / "consumers").glob("*.toml"))
ENVIRONMENT = {"KAFKA_BROKERS": "one:9092,two:9092", "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0"}

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


def test_there_are_three():
    """Each table of the reference project has its consumer."""
    assert ["agent-actions", "manifest-injections", "routing-decisions"] == [file.stem for file in FILES]


def test_columns_are_those_of_the_catalog(alembic, sql):
    """Every column but a random id is mapped, with its type, and is asked of the event where NULL is not allowed."""
    alembic("upgrade", "head")
    for file in FILES:
        config = read(file, ENVIRONMENT)
        key = config.table.key
        mapped = {column.name: column for column in config.columns}
        there = {
            name: (type_, never_null, default) for name, type_, never_null, default in sql(CATALOG.format(key.table))
        }

        assert {} == {n: c.type for n, c in mapped.items() if there[n][0] not in TYPES.get(c.type, {c.type})}
        left_out = there.keys() - mapped.keys()
        assert left_out <= {"id"}
        assert all(there[name][2] for name in left_out)
        assert [] == [name for name, c in mapped.items() if there[name][1] and not c.required and c.default is None]
        assert [] == [name for name, c in mapped.items() if c.required and not there[name][1]]
        assert [(list(key.columns),)] == sql(CONSTRAINT.format(key.name, key.table))
        assert set(config.table.ignore) <= mapped.keys()


@files
def test_service_is_named_after_its_group(file):
    """A configuration reads one topic, its dead letters go beside it, and nothing in it is a secret or a place."""
    config = read(file, ENVIRONMENT)

    assert 1 == len(config.kafka.topics)
    assert "one:9092,two:9092" == config.kafka.brokers
    assert f"{config.kafka.topics[0]}-dlq" == config.dlq.topic_of(config.kafka.topics[0])
    assert {"KAFKA_BROKERS", "HTTP_HOST", "HTTP_PORT"} == set(re.findall(r"\$\{(\w+)\}", file.read_text()))
