"""Autogenerate on a partitioned table: directives for its key, and nothing about its partitions."""

import pytest
from sqlalchemy import BigInteger, Column, Date, Integer, MetaData, Table, UniqueConstraint

from generated_project import Project, called

TREE = """
CREATE TABLE event (id bigint NOT NULL, day date NOT NULL, kind int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE event_2 PARTITION OF event DEFAULT PARTITION BY RANGE (day);
CREATE TABLE event_2a PARTITION OF event_2 DEFAULT;
INSERT INTO event SELECT i, date '2026-01-01' + mod(i, 40), 1 FROM generate_series(1, 100) AS i
"""


def models(*, leaf: bool) -> MetaData:
    """Return the model of the tree, and of a leaf too if it is asked for."""
    metadata = MetaData()
    for name in ["event", "event_1"] if leaf else ["event"]:
        key = [UniqueConstraint("day", "kind", name="event_key")] if name == "event" else []
        columns = [Column("id", BigInteger, primary_key=True), Column("day", Date, primary_key=True)]
        Table(name, metadata, *columns, Column("kind", Integer), *key)
    return metadata


@pytest.mark.parametrize("leaf", [False, True])
def test_key_of_a_partitioned_table(tmp_path, database_url, sql, leaf):
    """The revision enforces the key of the tree and drops no partition; afterwards there is nothing to generate."""
    sql(TREE)
    project = Project(tmp_path, database_url)
    up, down = project.generate(models(leaf=leaf))
    assert ["archive_duplicates", "create_unique_constraint_online"] == called(up)
    assert ["drop_unique_constraint_online", "restore_duplicates"] == called(down)
    project.upgrade()
    assert project.clean()
    assert [(4,)] == sql(
        "SELECT count(*) FROM pg_class WHERE relname ~ '^event_key$|_day_kind_key$' AND relkind IN ('i', 'I')"
    )
    project.downgrade()
    assert [(100,)] == sql("SELECT count(*) FROM event")
