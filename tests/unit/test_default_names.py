"""Names of constraints and indexes that were created without one: cut as PostgreSQL cuts them."""

import pytest

from dupe_audit.postgres.names import default_name


@pytest.mark.parametrize(
    ("table", "columns", "label", "name"),
    [
        ("t", ["a", "b"], "key", "t_a_b_key"),
        ("t" * 63, ["a"], "key", "t" * 57 + "_a_key"),
        ("t" * 63, ["c" * 63], "idx", "t" * 29 + "_" + "c" * 29 + "_idx"),
        ("t", ["c" * 63, "d" * 63], "key1", "t_" + "c" * 56 + "_key1"),
        ("é" * 31, ["é" * 31], "key", "é" * 14 + "_" + "é" * 14 + "_key"),
        ("t" * 63, [], "pkey", "t" * 58 + "_pkey"),
    ],
)
def test_long_name_is_cut(table, columns, label, name):
    """The longer of table and columns is cut, between two characters, until all fit into 63 bytes."""
    assert name == default_name(table, columns, label)
    assert len(name.encode()) <= 63
