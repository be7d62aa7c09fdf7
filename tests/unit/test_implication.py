"""Whether an existing key rules out every duplicate of a new one."""

import pytest

from dupe_audit.checks.trial.implication import implies
from dupe_audit.schema.facts import Index


def key(*parts, reads=None, where=None, nulls_not_distinct=False, unique=True, valid=True):
    """Return an index over columns and expressions; a part with a parenthesis is an expression."""
    columns = tuple(None if "(" in part else part.strip('"') for part in parts)
    return Index(
        oid=1,
        schema="public",
        name="i",
        relid=2,
        table="public.t",
        unique=unique,
        primary=False,
        valid=valid,
        method="btree",
        elements=parts,
        columns=columns,
        include=(),
        reads=reads or tuple(filter(None, columns)),
        predicate=where,
        nulls_not_distinct=nulls_not_distinct,
        constraint=None,
        deferrable=False,
        deferred=False,
        definition="",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (key("a"), key("a")),
        (key("a"), key("b", "a")),
        (key("a"), key("lower(b)", "a", reads=("a", "b"))),
        (key("lower(a)", reads=("a",)), key("a")),
        (key("lower(a)", reads=("a",)), key("b", "lower(a)", reads=("a", "b"))),
        (key("a"), key("a", where="b > 0")),
        (key("a", where="b > 0"), key("a", where="b > 0")),
        (key("a", "b"), key("a", where="b = 'live'::text")),
        (key("a", '"B"'), key("a", where='"B" = 3 AND c IS NULL')),
        (key("a", "b"), key("a", where="b")),
        (key("a", "b"), key("a", where="NOT b AND (c > 0)")),
        (key("a", "b", nulls_not_distinct=True), key("a", where="b IS NULL")),
        (key("a", nulls_not_distinct=True), key("a", nulls_not_distinct=True)),
    ],
)
def test_implied(old, new):
    """Rows that the new key considers equal are equal under the old one, so none can be generated."""
    assert implies(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (key("a", "b"), key("a")),
        (key("a"), key("lower(a)", reads=("a",))),
        (key("a", where="b > 0"), key("a")),
        (key("a", "b"), key("a", where="b IS NULL")),
        (key("a", "b"), key("a", where="b > 0")),
        (key("a", "b"), key("a", where="b = 1 OR c")),
        (key("a"), key("a", nulls_not_distinct=True)),
        (key("a", unique=False), key("a")),
        (key("a", valid=False), key("a")),
    ],
)
def test_not_implied(old, new):
    """The old key allows rows that the new one forbids, so they have to be tried."""
    assert not implies(old, new)
