"""The order of work of a revision, and what its plain statements can change."""

import pytest
import sqlalchemy as sa
from alembic import op

import dupe_audit.ops  # noqa: F401 - registers the directives
from dupe_audit.directives.effects import effect
from dupe_audit.directives.operations import (
    ArchiveDuplicatesOp,
    CreateUniqueConstraintOnlineOp,
    DropUniqueConstraintOnlineOp,
)
from dupe_audit.directives.recording import record
from dupe_audit.directives.schedule import schedule


def drop(name, table="t"):
    return lambda: op.drop_unique_constraint_online(name, table)


def archive(table="t"):
    return lambda: op.archive_duplicates(table, ["k"])


def restore(table="t"):
    return lambda: op.restore_duplicates(table, ["k"])


def create(name, table="t"):
    return lambda: op.create_unique_constraint_online(name, table, ["k"])


def execute(text):
    return lambda: op.execute(text)


def order(*lines):
    """Return what is executed when each directive is called, as letters with names."""

    def upgrade():
        for line in lines:
            line()

    work = schedule(record(upgrade).items, lambda key: (key.schema, key.table))
    letters = {ArchiveDuplicatesOp: "A", CreateUniqueConstraintOnlineOp: "C", DropUniqueConstraintOnlineOp: "D"}
    return [
        " ".join(f"{letters.get(type(task.operation), 'R')}{task.operation.key.name or ''}" for task in work[position])
        for position in sorted(work)
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((archive(), create("x")), ["A", "Cx"]),
        ((drop("x"), restore()), ["Dx", "R"]),
        ((drop("x"), archive(), create("y")), ["", "A", "Cy Dx"]),
        ((drop("x"), archive(), create("x")), ["", "A", "Cx Dx"]),
        ((drop("x"), restore(), create("y")), ["Cy Dx", "R", ""]),
        ((drop("x"), create("y"), restore()), ["", "Cy Dx", "R"]),
        ((drop("x"), drop("y"), archive(), create("z")), ["", "", "A", "Cz Dx Dy"]),
        ((drop("x"), drop("y"), restore(), create("z")), ["Cz Dx", "Dy", "R", ""]),
        ((drop("x"), create("y"), create("z")), ["", "Cy", "Cz Dx"]),
        ((drop("x"), archive("u"), create("y", "u")), ["Dx", "A", "Cy"]),
        ((drop("x"), restore(), archive(), create("y")), ["Dx", "R", "A", "Cy"]),
        ((drop("x"), execute("UPDATE t SET k = 1"), create("y")), ["Dx", "Cy"]),
        ((drop("x"), execute("SELECT f()"), create("y")), ["Dx", "Cy"]),
        ((drop("x"), execute("SET lock_timeout = '1s'"), create("y")), ["", "Cy Dx"]),
        ((create("y"), drop("x")), ["Cy", "Dx"]),
    ],
)
def test_new_key_is_created_before_the_old_one_is_dropped(lines, expected):
    """A drop follows the creates of its table, unless something between can depend on it."""
    assert order(*lines) == expected


METADATA = sa.MetaData()
TABLE = sa.Table("t", METADATA, sa.Column("id", sa.Integer, primary_key=True), sa.Column("k", sa.Integer))


@pytest.mark.parametrize(
    ("statement", "definition", "other"),
    [
        (lambda: op.add_column("t", sa.Column("x", sa.Integer)), True, False),
        (lambda: op.add_column("t", sa.Column("x", sa.Integer), schema="app"), True, False),
        (lambda: op.drop_column("t", "x"), True, False),
        (lambda: op.alter_column("t", "x", type_=sa.Text), True, False),
        (lambda: op.create_index("ix", "t", ["k"]), True, False),
        (lambda: op.create_foreign_key("fk", "t", "parent", ["k"], ["id"]), True, False),
        (lambda: op.create_table("t", sa.Column("id", sa.Integer)), True, False),
        (lambda: op.drop_table("t"), True, False),
        (lambda: op.rename_table("before", "t"), True, False),
        (lambda: op.bulk_insert(TABLE, [{"id": 1}]), False, False),
        (lambda: op.execute(TABLE.update().values(k=1)), False, False),
        (lambda: op.execute("UPDATE t SET k = 1"), False, True),
        (lambda: op.execute("UPDATE t SET k = 1; ALTER TABLE t DROP COLUMN k"), True, True),
        (lambda: op.execute("DO $$ BEGIN END $$"), True, True),
        (lambda: op.execute("SET search_path = app"), True, True),
    ],
)
def test_effect_of_a_statement(statement, definition, other):
    """A statement concerns the table that it names, raw SQL any table; it changes rows alone or the definition too."""
    (item,) = record(statement).items
    change = effect(item.construct)
    assert (True, definition, other) == (
        change.concerns(None, "t"),
        change.definition,
        change.concerns(None, "another"),
    )


def test_schemas_are_compared_where_both_are_named():
    """A table of the same name in another schema is not concerned; one without a schema could be either."""
    (item,) = record(lambda: op.drop_column("t", "x", schema="app")).items
    change = effect(item.construct)
    assert [True, False, True] == [change.concerns(schema, "t") for schema in ("app", "other", None)]
