"""Directives with ``schemas``: what a revision may write, how they are reversed, rendered, and read for one schema."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import render_op_text
from alembic.autogenerate.api import AutogenContext
from alembic.migration import MigrationContext

import dupe_audit.ops  # noqa: F401 - registers the directives
from dupe_audit.cli.schemas import is_named
from dupe_audit.directives.arguments import many_schemas
from dupe_audit.directives.calls import written_calls
from dupe_audit.directives.operations import (
    AmendDuplicatesOp,
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    CreateUniqueIndexOnlineOp,
    DropUniqueConstraintOnlineOp,
    DropUniqueIndexOnlineOp,
    RestoreDuplicatesOp,
)
from dupe_audit.directives.recording import Recording
from dupe_audit.directives.schemas import Elsewhere, as_written, schema_recording, spread, without_schemas
from dupe_audit.errors import WrongUsage
from dupe_audit.model import BuildRule, Change, CleanupRule, Schemas, UniqueKey

KEY = UniqueKey(table="orders", columns=("k",), name="uq")
INDEX = UniqueKey(table="orders", columns=("k",), name="uq", form="index")
LIST = Schemas(names=("a", "b"))
QUERY = Schemas(query="SELECT ':x' AS name")

OPERATIONS = {
    "archive": ArchiveDuplicatesOp(KEY, CleanupRule(), LIST),
    "amend": AmendDuplicatesOp(
        KEY, CleanupRule(exact="amend", divergent="amend", changes=(Change("v", "NULL"),)), QUERY
    ),
    "constraint": CreateUniqueConstraintOnlineOp(KEY, BuildRule(), LIST),
    "index": CreateUniqueIndexOnlineOp(INDEX, BuildRule(), QUERY),
    "drop": DropUniqueConstraintOnlineOp(KEY, BuildRule(), LIST),
    "drop index": DropUniqueIndexOnlineOp(INDEX, BuildRule(), QUERY),
    "restore": RestoreDuplicatesOp(KEY, schemas=LIST),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_reverse_keeps_the_schemas(name):
    """The reverse of a directive, and the reverse of that, are about the same schemas."""
    operation = OPERATIONS[name]
    assert operation.schemas == operation.reverse().schemas == operation.reverse().reverse().schemas


RENDERED = {
    "archive": 'op.archive_duplicates("orders", ["k"], schemas=["a", "b"])',
    "constraint": 'op.create_unique_constraint_online("uq", "orders", ["k"], schemas=["a", "b"])',
    "index": "op.create_unique_index_online(\n"
    '    "uq",\n    "orders",\n    ["k"],\n    schemas=sa.text("SELECT \'\\\\:x\' AS name"),\n)',
    "drop": 'op.drop_unique_constraint_online("uq", "orders", schemas=["a", "b"])',
    "restore": 'op.restore_duplicates("orders", ["k"], schemas=["a", "b"])',
}


@pytest.mark.parametrize("name", RENDERED)
def test_a_revision_is_written_with_the_schemas(name):
    """A generated revision names the schemas, or the query as SQL in which no colon is a parameter."""
    options = {"alembic_module_prefix": "op.", "sqlalchemy_module_prefix": "sa."}
    context = AutogenContext(MigrationContext.configure(dialect_name="postgresql"), opts=options)
    assert RENDERED[name].split() == render_op_text(context, OPERATIONS[name]).split()


def test_query_is_read_back_as_it_was_rendered():
    """The SQL of a query has the same text after it was rendered and read as Python."""
    assert QUERY == many_schemas(sa.text("SELECT '\\:x' AS name"), None)
    assert Schemas(query="SELECT 1") == many_schemas(sa.text("SELECT 1 ;\n"), None)


@pytest.mark.parametrize("value", [[], "a", ["a", "a"], [1], {"a": 1}, ["a" * 64], [""], sa.text(" ")])
def test_value_that_names_no_schemas(value):
    """A list without names, with repeated or impossible ones, or anything but a list or SQL is refused."""
    with pytest.raises(WrongUsage):
        many_schemas(value, None)


def test_one_schema_of_a_recording():
    """For one schema, each directive of it is about its own table, and every other one keeps only its position."""
    single = ArchiveDuplicatesOp(UniqueKey(table="t", columns=("k",)), CleanupRule())
    recording = Recording(items=(single, OPERATIONS["archive"], OPERATIONS["index"]))
    answers = {LIST: ("a", "b"), QUERY: ("b",)}
    kinds = [
        [type(item) for item in schema_recording(recording, name, answers.__getitem__).items] for name in ("a", "b")
    ]
    assert [Elsewhere, ArchiveDuplicatesOp, Elsewhere] == kinds[0]
    assert [Elsewhere, ArchiveDuplicatesOp, CreateUniqueIndexOnlineOp] == kinds[1]
    assert [ArchiveDuplicatesOp, Elsewhere, Elsewhere] == [type(item) for item in without_schemas(recording).items]
    spread_keys = [str(item.key) for item in spread(recording, as_written).items]
    assert ["t (k)", "a.orders (k)", "b.orders (k)", "*.orders (k)"] == spread_keys


def downgrade(op):
    op.restore_duplicates("orders", ["k"], schemas=["a", "b"])
    op.restore_duplicates("users", ["k"], schemas=sa.text("SELECT 1"))


def test_schemas_in_the_source_of_a_downgrade():
    """The schemas of a call are read from its source: each name of a list, and any schema for a query."""
    keys = written_calls(downgrade, "restore_duplicates")
    assert ["a.orders (k)", "b.orders (k)", "*.users (k)"] == [str(key) for key, _ in keys or ()]


@pytest.mark.parametrize(
    ("schema", "patterns", "expected"),
    [
        ("tenant_a", ["tenant_*"], True),
        ("tenant_a", ["tenant_?"], True),
        ("tenant_aa", ["tenant_?"], False),
        ("a[b]", ["a[b]"], True),
        ("ab", ["a[b]*"], False),
        ("a[b]c", ["a[b]*"], True),
        ("a*", ["a*"], True),
        ("b", ["a", "b"], True),
        ("B", ["b*"], False),
        (None, ["*"], False),
        ("x", [], True),
    ],
)
def test_patterns_of_schemas(schema, patterns, expected):
    """Only * and ? are special; without a pattern, every schema is meant."""
    assert expected == is_named(schema, patterns)
