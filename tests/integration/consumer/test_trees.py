"""A consumer that writes to a partitioned table: an event without a partition is an event that cannot be stored."""

from dupe_audit.consumer import read
from dupe_audit.consumer.database import Database

FILE = """
[table]
name = "t"
key = ["k", "r"]
constraint = "uq"
[columns]
k = { type = "integer" }
r = { type = "integer" }
[kafka]
brokers = ["localhost:9092"]
group = "g"
topics = ["t"]
"""


def test_event_without_a_partition(tmp_path, url, sql):
    """Only the event without a partition is rejected, with the reason; a replay writes it once that exists."""
    sql("CREATE TABLE t (k int, r int, CONSTRAINT uq UNIQUE (k, r)) PARTITION BY LIST (r)")
    sql("CREATE TABLE t_1 PARTITION OF t FOR VALUES IN (1)")
    (tmp_path / "consumer.toml").write_text(FILE)
    database = Database(url, read(tmp_path / "consumer.toml", {}))
    assert "named" == database.probe().mode
    outcomes = database.write([(1, 1), (1, 2), (2, 1), (1, 1)])
    assert ["inserted", "rejected", "inserted", "in_batch"] == [outcome.kind for outcome in outcomes]
    assert ("23514", 'no partition of relation "t" found for row') == (outcomes[1].sqlstate, outcomes[1].reason)
    sql("CREATE TABLE t_2 PARTITION OF t FOR VALUES IN (2)")
    assert ["inserted", "duplicate"] == [outcome.kind for outcome in database.write([(1, 2), (1, 1)])]
    database.close()
