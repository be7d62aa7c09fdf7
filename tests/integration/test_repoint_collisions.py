"""The rows that would collide on the indexes of a child are those that a plain model in Python counts."""

import re
from collections import Counter
from typing import NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.preflight import preflight
from thoroughness import THOROUGH

KEY = UniqueKey(table="t", columns=("k",), name="uq")
RULE = CleanupRule(references="repoint", divergent="archive")
SURVIVORS = {2: 1, 3: 1, 5: 4}
TABLES = """
DROP TABLE IF EXISTS c, t;
CREATE TABLE t (id int PRIMARY KEY, k int);
INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 8), (5, 8), (6, 9);
CREATE TABLE c (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int REFERENCES t, b int REFERENCES t, tag text);
CREATE UNIQUE INDEX a_tag ON c (a, tag);
CREATE UNIQUE INDEX b_a ON c (b, a);
CREATE UNIQUE INDEX halves ON c ((a / 2), tag) WHERE b IS NULL;
CREATE UNIQUE INDEX lowered ON c (lower(tag)) WHERE a <> 2;
CREATE UNIQUE INDEX unhashed ON c ((b::bit(4)), (tag::varbit)) WHERE tag IN ('0', '1')
"""
NULLS_EQUAL = "CREATE UNIQUE INDEX nulls_equal ON c (b, tag) NULLS NOT DISTINCT"


class Row(NamedTuple):
    """A child without its primary key."""

    a: int | None
    b: int | None
    tag: str | None


#: per index, the entry of a row, and whether the index covers it
INDEXES = {
    "a_tag": (lambda row: (row.a, row.tag), lambda _: True),
    "b_a": (lambda row: (row.b, row.a), lambda _: True),
    "halves": (lambda row: (row.a and row.a // 2, row.tag), lambda row: row.b is None),
    "lowered": (lambda row: (row.tag and row.tag.lower(),), lambda row: row.a not in (None, 2)),
    "unhashed": (lambda row: (row.b, row.tag), lambda row: row.tag in ("0", "1")),
    "nulls_equal": (lambda row: (row.b, row.tag), lambda _: True),
}

references = st.sampled_from([None, 1, 2, 3, 4, 5, 6])
children = st.lists(st.builds(Row, references, references, st.sampled_from([None, "x", "X", "0", "1"])), max_size=12)


def model(rows):
    """Return, per index, how many rows of the groups with a moved row have to go until one is left."""
    counts = {}
    for name, (entry, covers) in INDEXES.items():
        sizes, moved = Counter(), set()
        for row in rows:
            after = Row(SURVIVORS.get(row.a, row.a), SURVIVORS.get(row.b, row.b), row.tag)
            key = entry(after)
            if not covers(after) or (None in key and name != "nulls_equal"):
                continue
            sizes[key] += 1
            if after != row:
                moved.add(key)
        if count := sum(sizes[key] - 1 for key in moved):
            counts[name] = count
    return counts


@given(rows=children)
@example(rows=[Row(None, 4, None), Row(None, 5, None)])
@settings(
    max_examples=300 if THOROUGH else 12,
    derandomize=not THOROUGH,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_collisions_are_those_of_the_model(sql, conn, server_version_num, rows):
    """Whatever children there are, NULLs among them, each index of theirs gets the count of the model."""
    sql(TABLES + (f";{NULLS_EQUAL}" if server_version_num >= 150000 else ""))
    for row in rows:
        a, b, tag = ("NULL" if value is None else f"'{value}'" for value in row)
        sql(f"INSERT INTO c (a, b, tag) VALUES ({a}, {b}, {tag}) ON CONFLICT DO NOTHING")
    expected = model([Row(*row) for row in sql("SELECT a, b, tag FROM c")])
    if server_version_num < 150000:
        expected.pop("nulls_equal", None)
    messages = [finding.message for finding in preflight(conn, KEY, RULE).findings if finding.id == "repoint-collision"]
    counts = [re.search(r"(\d+) rows? of public\.c would collide on (\w+)", message).groups() for message in messages]
    assert expected == {name: int(count) for count, name in counts}
