"""What an ON CONFLICT clause makes of the indexes of its table."""

import pytest

from dupe_audit.checks.code.arbiters import judge
from dupe_audit.checks.code.sql_text import parse
from dupe_audit.schema.facts import Index


def unique_index(**facts):
    """Return a unique index over column a of table t."""
    standard = {
        "oid": 1,
        "schema": "public",
        "name": "uq",
        "relid": 2,
        "table": "public.t",
        "unique": True,
        "primary": False,
        "valid": True,
        "method": "btree",
        "elements": ("a",),
        "columns": ("a",),
        "include": (),
        "reads": ("a",),
        "predicate": None,
        "nulls_not_distinct": False,
        "constraint": "uq",
        "deferrable": False,
        "deferred": False,
        "definition": "CREATE UNIQUE INDEX uq ON public.t USING btree (a)",
    }
    return Index(**{**standard, **facts})


@pytest.mark.parametrize("valid", [True, False])
def test_bare_on_conflict_needs_immediate_indexes(valid):
    """ON CONFLICT DO NOTHING fails on a deferrable index, and the reason is the server's, also if it is invalid too."""
    pytest.importorskip("pglast")
    (statement,) = parse("INSERT INTO t (a) VALUES (1) ON CONFLICT DO NOTHING")
    judgement = judge(statement.stmt.onConflictClause, [unique_index(deferrable=True, valid=valid)])
    assert "unfit" == judgement.problem
    assert judgement.target.endswith("every unique index: index uq is deferrable [55000]")
