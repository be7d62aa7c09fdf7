"""A revision is read without a database: its directives and the statements of plain operations, in order."""

from __future__ import annotations

import io

import pytest
import sqlalchemy as sa
from alembic import op
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy.schema import AddConstraint, CreateIndex

import dupe_audit.ops  # noqa: F401 - registers the directives
from dupe_audit.directives.operations import ArchiveDuplicatesOp, CreateUniqueConstraintOnlineOp
from dupe_audit.directives.reading.constructs import changes_of_construct
from dupe_audit.directives.recording import PlainStatement, record


def constructs(function):
    return [item.construct for item in record(function).items if isinstance(item, PlainStatement)]


def test_directives_and_plain_operations_keep_their_order():
    """The recording holds directives and the statements of plain operations in the order of the revision."""

    def upgrade():
        op.archive_duplicates("t", ["k"])
        op.add_column("t", sa.Column("note", sa.Text))
        op.create_unique_constraint_online("uq", "t", ["k"])

    first, second, third = record(upgrade).items
    assert isinstance(first, ArchiveDuplicatesOp)
    assert isinstance(second, PlainStatement)
    assert isinstance(third, CreateUniqueConstraintOnlineOp)


def test_uniqueness_of_plain_operations_is_recorded():
    """Unique constraints and indexes of Alembic's own operations are recorded, those of a batch among them."""

    def upgrade():
        op.create_unique_constraint("uq_a", "t", ["a"])
        op.create_index("ix_b", "t", ["b"], unique=True)
        with op.batch_alter_table("t") as batch:
            batch.create_unique_constraint("uq_c", ["c"])

    added, index, batched = constructs(upgrade)
    assert isinstance(added, AddConstraint)
    assert [column.name for column in added.element.columns] == ["a"]
    assert isinstance(index, CreateIndex)
    assert index.element.unique
    assert isinstance(batched, AddConstraint)
    assert batched.element.name == "uq_c"


def test_a_commit_on_the_bind_does_not_stop_the_recording():
    """What follows op.get_bind().commit(), as some revisions write before a concurrent build, is recorded."""

    def upgrade():
        op.get_bind().commit()
        op.get_bind().exec_driver_sql("CREATE UNIQUE INDEX CONCURRENTLY uq ON t (k)")

    assert record(upgrade).obstacle is None
    assert ["CREATE UNIQUE INDEX CONCURRENTLY uq ON t (k)"] == [str(construct) for construct in constructs(upgrade)]


def test_statements_on_the_bind_are_recorded():
    """A statement on op.get_bind() whose answer is not read does not stop the recording."""

    def upgrade():
        op.get_bind().execute(sa.text("UPDATE t SET k = 1"))
        op.archive_duplicates("t", ["k"])

    recording = record(upgrade)
    assert recording.obstacle is None
    assert str(recording.items[0].construct) == "UPDATE t SET k = 1"
    assert len(recording.directives) == 1


def test_naming_convention_is_applied():
    """Unnamed constraints get the name that the project's metadata gives them."""
    metadata = sa.MetaData(naming_convention={"uq": "uq_%(table_name)s_%(column_0_name)s"})
    context = MigrationContext.configure(dialect_name="postgresql", opts={"target_metadata": metadata})

    def upgrade():
        op.create_unique_constraint(None, "t", ["a"])

    (item,) = record(upgrade, context=context).items
    assert isinstance(item, PlainStatement)
    assert item.construct.element.name == "uq_t_a"


def reads_data():
    op.archive_duplicates("t", ["k"])
    if op.get_bind().execute(sa.text("SELECT count(*) FROM t")).scalar():
        op.archive_duplicates("u", ["k"])


def iterates_rows():
    for _ in op.get_bind().execute(sa.text("SELECT 1")):
        pass


def inspects():
    sa.inspect(op.get_bind())


@pytest.mark.parametrize("function", [reads_data, iterates_rows, inspects])
def test_code_that_needs_an_answer_is_an_uncertain_obstacle(function):
    """A revision that reads data is recorded up to that point, and its obstacle names the line."""
    obstacle = record(function).obstacle
    assert obstacle is not None
    assert not obstacle.certain
    assert obstacle.line is not None
    assert "test_recording.py" in obstacle.reason


def mistyped_option():
    op.archive_duplicates("t", ["k"], divergnt="archive")


def mistyped_value():
    op.archive_duplicates("t", ["k"], divergent="archiv")


def mistyped_directive():
    op.archive_duplicate("t", ["k"])


def undefined_name():
    op.archive_duplicates(table, ["k"])  # noqa: F821


@pytest.mark.parametrize("function", [mistyped_option, mistyped_value, mistyped_directive, undefined_name])
def test_mistakes_are_certain_obstacles(function):
    """A mistake that would fail with a database too is marked as certain."""
    obstacle = record(function).obstacle
    assert obstacle is not None
    assert obstacle.certain


def test_exit_of_a_revision_is_an_obstacle():
    """A revision that exits does not end the program that reads it."""

    def upgrade():
        raise SystemExit("stop")

    assert record(upgrade).obstacle is not None


def test_output_of_a_revision_is_suppressed(capsys):
    """What a revision prints does not reach stdout, which is the stream of offline SQL."""
    record(lambda: print("hello"))  # noqa: T201 - a revision may print
    assert capsys.readouterr().out == ""


def test_enclosing_operations_are_put_back():
    """A revision that is being executed continues with its own operations after it was recorded."""
    buffer = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": buffer})
    with Operations.context(context) as operations:
        record(lambda: op.execute("SELECT 1"), enclosing=operations)
        assert buffer.getvalue() == ""
        op.execute("SELECT 2")
    assert "SELECT 2" in buffer.getvalue()


def test_statements_on_another_connection_are_not_executed():
    """A revision that connects by itself is read up to that line, because its statements would be executed twice."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE t (k int)"))

    def upgrade():
        op.archive_duplicates("t", ["k"])
        with engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO t VALUES (1)"))

    obstacle = record(upgrade).obstacle
    assert obstacle is not None
    assert not obstacle.certain
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM t")).scalar_one() == 0


def test_all_wrong_arguments_are_noted():
    """One reading finds the wrong arguments of every directive, each with its line."""

    def upgrade():
        op.archive_duplicates("t", ["k"], pause=-1)
        op.archive_duplicates("t", ["k"])
        op.create_unique_constraint_online("uq", "t", ["k"], build_attempts=0)

    recording = record(upgrade)
    assert len(recording.directives) == 1
    assert [str(mistake.error).split(":")[0] for mistake in recording.mistakes] == [
        "op.archive_duplicates()",
        "op.create_unique_constraint_online()",
    ]
    assert recording.obstacle is recording.mistakes[0]


def test_a_revision_that_refuses_scripts_makes_no_mistake():
    """An error that a revision raises only in a script is not counted as a mistake on a live database."""

    def upgrade():
        if op.get_context().as_sql:
            raise CommandError("online only")

    obstacle = record(upgrade).obstacle
    assert obstacle is not None
    assert not obstacle.certain


def decides_by_a_result():
    rows = op.get_bind().execute(sa.text("SELECT 1"))
    if rows:
        op.archive_duplicates("t", ["k"])


def compares_a_result():
    if op.get_bind().execute(sa.text("SELECT 1")) == 1:
        op.archive_duplicates("t", ["k"])


@pytest.mark.parametrize("function", [decides_by_a_result, compares_a_result])
def test_no_decision_is_taken_by_a_result_that_does_not_exist(function):
    """A revision that decides by a result is not read beyond it, so that the wrong branch is never read."""
    recording = record(function)
    assert recording.obstacle is not None
    assert not recording.obstacle.certain
    assert not recording.directives


def test_mode_of_the_enclosing_context_is_visible():
    """A revision that chooses by the mode is read as it is executed: online, unless a script is being written."""

    def upgrade():
        with op.get_context().autocommit_block():
            op.execute("SELECT 1")
        if not op.get_context().as_sql:
            op.archive_duplicates("t", ["k"])

    with sa.create_engine("sqlite://").connect() as connection:
        online = MigrationContext.configure(connection=connection)
        assert len(record(upgrade, context=online).directives) == 1
    assert not record(upgrade).directives


def test_an_escaped_colon_is_read_as_it_is_executed():
    r"""Text in which ``\:`` stands for a colon is read with the colon, which is what PostgreSQL gets."""

    def upgrade():
        op.execute(r"ALTER TABLE t ALTER a TYPE date USING a\:\:date")
        op.get_bind().execute(sa.text(r"ALTER TABLE t ALTER a TYPE date USING a\:\:date"))
        op.get_bind().exec_driver_sql("ALTER TABLE t ALTER a TYPE date USING a::date")

    read = [change.using for construct in constructs(upgrade) for change in changes_of_construct(construct)]
    assert ["a::date"] * 3 == read
