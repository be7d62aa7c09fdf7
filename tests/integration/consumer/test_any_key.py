"""A consumer whose key has expressions and a predicate writes each event once, and needs the index of that key."""

import pytest

from dupe_audit.consumer import read
from dupe_audit.consumer.database import Database
from dupe_audit.errors import WrongUsage

FILE = """
[table]
name = "users"
key = ["tenant", { expression = "lower(email)" }]
where = "gone IS NULL"
ignore = ["email"]
%s
[columns]
tenant = { type = "integer" }
email = { type = "text", required = false }
[kafka]
brokers = ["localhost:9092"]
group = "g"
topics = ["t"]
"""
USERS = "CREATE TABLE users (tenant int, email text, gone date)"
INDEX = "CREATE UNIQUE INDEX once ON users (tenant, lower(email)) WHERE gone IS NULL"


@pytest.fixture
def database(tmp_path, url):
    """Open the database of a consumer whose file has more lines in [table]; no broker is contacted."""
    opened = []

    def open_database(more=""):
        (tmp_path / "consumer.toml").write_text(FILE % more)
        opened.append(Database(url, read(tmp_path / "consumer.toml", {})))
        return opened[-1]

    yield open_database
    for each in opened:
        each.close()


def kinds(outcomes):
    """Return the kinds of the outcomes."""
    return [outcome.kind for outcome in outcomes]


def test_an_expression_and_a_predicate(database, sql):
    """Events whose keys the index takes for equal are written once; deleted rows do not count, nor do NULLs."""
    sql(f"{USERS}; {INDEX}; INSERT INTO users VALUES (1, 'old', '2026-01-01')")
    rows = [(1, "Ann"), (1, "aNN"), (2, "ann"), (1, "OLD"), (1, None), (1, None)]
    consumer = database()
    assert "columns" == consumer.probe().mode
    assert ["inserted", "in_batch", "inserted", "inserted", "inserted", "inserted"] == kinds(consumer.write(rows))
    assert ["duplicate", "duplicate", "duplicate", "duplicate"] == kinds(database().write(rows[:4]))
    assert [(6,)] == sql("SELECT count(*) FROM users")


def test_without_the_index(database, sql):
    """Without the index the consumer does not start and names the table and the key, unless it is in a rollout."""
    sql(f"{USERS}; CREATE UNIQUE INDEX other ON users (tenant, email) WHERE gone IS NULL")
    with pytest.raises(WrongUsage) as refused:
        database().probe()
    assert (
        "public.users has no arbiter for the key (tenant, lower(email)) WHERE gone IS NULL: no valid unique index fits "
        "it. The table's unique indexes are: CREATE UNIQUE INDEX other ON public.users USING btree (tenant, email) "
        "WHERE (gone IS NULL). Create the index first (op.create_unique_index_online), or give the key the elements "
        "and the predicate of an existing one. To write every copy until the index is valid, set needs_arbiter=False, "
        "or rollout = true in a consumer's file."
    ) == str(refused.value)
    sql("DROP INDEX other")
    rollout = database("rollout = true")
    assert "any" == rollout.probe().mode
    assert ["inserted", "inserted"] == kinds(rollout.write([(1, "a"), (1, "b")]))
    sql(INDEX)
    assert "columns" == rollout.probe().mode
    assert ["duplicate", "inserted"] == kinds(rollout.write([(1, "A"), (1, "c")]))


def test_the_index_is_dropped_while_the_consumer_runs(database, sql):
    """Once started, the consumer continues without the index, also over another connection, and reports its absence."""
    sql(f"{USERS}; {INDEX}")
    consumer = database()
    assert ["inserted"] == kinds(consumer.write([(1, "a")]))
    sql("DROP INDEX once")
    consumer.close()  # as after a lost connection
    assert "any" == consumer.probe().mode
    assert ["inserted"] == kinds(consumer.write([(1, "b")]))
