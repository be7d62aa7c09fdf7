"""Autogenerate on a partitioned table: directives for its key, and nothing about its partitions."""

import pytest
from sqlalchemy import BigInteger, Column, Date, Index, Integer, MetaData, Table, UniqueConstraint, text

from generated_project import Project, called

TREE = """
CREATE TABLE event (id bigint NOT NULL, day date NOT NULL, kind int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE event_2 PARTITION OF event DEFAULT PARTITION BY RANGE (day);
CREATE TABLE event_2a PARTITION OF event_2 DEFAULT;
INSERT INTO event SELECT i, date '2026-01-01' + mod(i, 40), 1 FROM generate_series(1, 100) AS i
"""

ROOT = {"postgresql_partition_by": "RANGE (day)"}


def models(*, leaf: bool = False, key: str | None = "constraint") -> MetaData:
    """Return the model of the tree, and of a leaf too if it is asked for."""
    metadata = MetaData()
    keys = {
        "constraint": UniqueConstraint("day", "kind", name="event_key"),
        "index": Index("event_key", "day", text("lower(kind::text)"), unique=True, postgresql_where=text("kind > 0")),
    }
    for name in ["event", "event_1"] if leaf else ["event"]:
        own = [keys[key]] if key and name == "event" else []
        columns = [Column("id", BigInteger, primary_key=True), Column("day", Date, primary_key=True)]
        Table(name, metadata, *columns, Column("kind", Integer), *own, **ROOT)
    return metadata


@pytest.mark.parametrize("leaf", [False, True])
@pytest.mark.representatives("True")
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


@pytest.mark.thorough
@pytest.mark.parametrize("key", ["constraint", "index"])
def test_tree_whose_partitions_change_after_the_upgrade(tmp_path, database_url, sql, key):
    """Renamed, detached, attached and new partitions are no difference; without the key in the model, it is dropped."""
    sql(TREE)
    project = Project(tmp_path, database_url)
    project.generate(models(key=key))
    project.upgrade()
    assert project.clean()
    sql(
        "ALTER TABLE event_1 RENAME TO event_p2026_01; CREATE SCHEMA cold; ALTER TABLE event_p2026_01 SET SCHEMA cold; "
        "CREATE TABLE event_p2027_01 PARTITION OF event FOR VALUES FROM ('2027-01-01') TO ('2027-02-01'); "
        "CREATE TABLE event_p2027_02 (LIKE event); "
        "ALTER TABLE event ATTACH PARTITION event_p2027_02 FOR VALUES FROM ('2027-02-01') TO ('2027-03-01'); "
        "ALTER TABLE event DETACH PARTITION cold.event_p2026_01"
    )
    assert project.clean()
    up, down = project.generate(models(key=None))
    form = "constraint" if key == "constraint" else "index"
    assert [f"drop_unique_{form}_online", "restore_duplicates"] == called(up)
    assert ["archive_duplicates", f"create_unique_{form}_online"] == called(down)
