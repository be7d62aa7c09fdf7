"""An index that existed before the upgrade exists again after the downgrade, whatever other revisions do to its key."""

import re
from typing import NamedTuple

import pytest
from alembic import op
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import event

import dupe_audit.ops  # noqa: F401 - registers the directives
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.constraint.window import build_held
from dupe_audit.constraint.work import work_on
from dupe_audit.errors import Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.postgres import catalog

TABLE = """
CREATE TABLE t (id int PRIMARY KEY, k int, v int);
INSERT INTO t SELECT i, i, i FROM generate_series(1, 9) AS i;
CREATE UNIQUE INDEX ux ON t (k, v) WITH (fillfactor = 70);
"""
INDEXES = (
    "SELECT pg_get_indexdef(indexrelid), indisvalid, indisready FROM pg_index "
    "WHERE indrelid = 't'::regclass AND NOT indisprimary ORDER BY 1"
)
CONSTRAINTS = "SELECT conname FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'u' ORDER BY 1"


class Revision(NamedTuple):
    """The lines of a revision's two functions."""

    up: str
    down: str


def execute(engine, number, revision, direction):
    """Execute one function of a revision as Alembic does."""
    bodies = {"upgrade": revision.up, "downgrade": revision.down}
    functions = "\n".join(f"def {name}():\n    {'; '.join(body.splitlines())}" for name, body in bodies.items())
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        with context.begin_transaction(), Operations.context(context):
            names = {"op": op, "revision": f"{number:04}", "down_revision": f"{number - 1:04}"}
            exec(functions, names)  # noqa: S102 - the text is ours
            names[direction]()


def creation(form, name, columns=("k", "v"), **options):
    more = "".join(f", {option}={value!r}" for option, value in options.items())
    return f"op.create_unique_{form}_online({name!r}, 't', {list(columns)}{more})"


def removal(form, name):
    return f"op.drop_unique_{form}_online({name!r}, 't')"


def adopting(form):
    return Revision(creation(form, "ux"), removal(form, "ux"))


def replaced(first, second, name, columns=("k", "v")):
    """Return the revision that replaces the adopted form and name with others."""
    up = f"{removal(first, 'ux')}\n{creation(second, name, columns)}"
    return Revision(up, f"{removal(second, name)}\n{creation(first, 'ux')}")


def beside(form, name="other", **options):
    """Return the revision that enforces the same key a second time, in a way that no existing index equals."""
    return Revision(creation(form, name, nulls_not_distinct=True, **options), removal(form, name))


def archiving(revision, **options):
    """Return a revision that archives the duplicates of the key as well, and restores them."""
    archive = (
        f"op.archive_duplicates('t', ['k', 'v'], order_by=['id']{''.join(f', {n}={o!r}' for n, o in options.items())})"
    )
    return Revision(f"{archive}\n{revision.up}", f"{revision.down}\nop.restore_duplicates('t', ['k', 'v'])")


def later(first):
    """Return the revisions after the one that adopts the index in that form, by what they do."""
    second = "index" if first == "constraint" else "constraint"
    reordered = replaced(first, first, "ux", ("v", "k"))
    back = Revision(
        f"{removal(first, 'ux')}\n{creation(second, 'ux')}",
        f"{removal(second, 'ux')}\n{creation(first, 'ux', ('v', 'k'))}",
    )
    dropping = Revision(removal(first, "ux"), creation(first, "ux"))
    return {
        "dropped": [dropping],
        f"{first} beside it": [beside(first)],
        f"{second} beside it": [beside(second)],
        "an archive, and one beside it": [archiving(beside(second))],
        f"renamed and then a {second}": [
            replaced(first, first, "other"),
            Revision(
                f"{removal(first, 'other')}\n{creation(second, 'other')}",
                f"{removal(second, 'other')}\n{creation(first, 'other')}",
            ),
        ],
        f"{second} of the name": [replaced(first, second, "ux")],
        f"{second} of another name": [replaced(first, second, "other")],
        "other order and back": [reordered, back],
        "dropped and another form created": [
            dropping,
            Revision(creation(second, "ux", ("v", "k")), removal(second, "ux")),
        ],
        "dropped and another key created": [dropping, Revision(creation(second, "ux", ("k",)), removal(second, "ux"))],
        "replaced by another key": [replaced(first, second, "ux", ("k",))],
        "another key archived and replaced": [
            Revision(
                f"{removal(first, 'ux')}\nop.archive_duplicates('t', ['k'])\n{creation(first, 'ux', ('k',))}",
                f"{removal(first, 'ux')}\nop.restore_duplicates('t', ['k'])\n{creation(first, 'ux')}",
            )
        ],
    }


NULLS = pytest.mark.min_pg(15)
CASES = [
    pytest.param(form, name, marks=[NULLS] if "beside" in name else [], id=f"{form}: {name}".replace(" ", "-"))
    for form in ("constraint", "index")
    for name in later(form)
]


@pytest.mark.parametrize(("first", "name"), CASES)
@pytest.mark.representatives("constraint:-index-beside-it")
def test_adopted_index_survives_other_revisions(sql, engine, first, name):
    """Up, down and up again, the index has its old name and definition after each downgrade, and is the only one."""
    sql(TABLE)
    before = sql(INDEXES)
    revisions = [*enumerate([adopting(first), *later(first)[name]], start=2)]
    for _ in range(2):
        for number, revision in revisions:
            execute(engine, number, revision, "upgrade")
        assert (name == "dropped") == (sql(INDEXES) == [])
        for number, revision in reversed(revisions):
            execute(engine, number, revision, "downgrade")
        assert (before, []) == (sql(INDEXES), sql(CONSTRAINTS))


@pytest.mark.thorough
@pytest.mark.min_pg(15)
def test_rows_of_each_revision_are_restored_by_its_own_downgrade(sql, engine, dump):
    """Two revisions archive rows of one key; each downgrade restores its own, also if it is repeated."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int)")
    sql("INSERT INTO t VALUES (1, 1, 1), (2, 1, 1), (3, NULL, 2), (4, NULL, 2), (5, 2, 2)")
    first = archiving(adopting("constraint"))
    second = archiving(beside("index"), nulls_not_distinct=True)
    before = dump("t")
    for _ in range(2):
        execute(engine, 2, first, "upgrade")
        between = dump("t")
        for _ in range(2):
            execute(engine, 3, second, "upgrade")
        assert sql("SELECT id FROM t ORDER BY id") == [(1,), (3,), (5,)]
        for _ in range(2):
            execute(engine, 3, second, "downgrade")
            assert (between, [("ux",)]) == (dump("t"), sql(CONSTRAINTS))
        for _ in range(2):
            execute(engine, 2, first, "downgrade")
            assert (before, [], []) == (dump("t"), sql(INDEXES), sql(CONSTRAINTS))


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["constraint", "index"])
def test_interrupted_downgrade_of_a_later_revision_is_repeated(sql, engine, form):
    """A downgrade that was not stamped is executed twice, and the index still counts as adopted."""
    sql(TABLE)
    before = sql(INDEXES)
    second = "index" if form == "constraint" else "constraint"
    revisions = [*enumerate([adopting(form), replaced(form, second, "ux")], start=2)]
    for direction, numbered in (("upgrade", revisions), ("downgrade", revisions[::-1])):
        for number, revision in numbered:
            for _ in range(2):
                execute(engine, number, revision, direction)
    assert (before, []) == (sql(INDEXES), sql(CONSTRAINTS))


@pytest.mark.parametrize("form", ["constraint", "index"])
def test_published_replica_identity_is_not_dropped_by_an_upgrade(sql, engine, form):
    """An adopted index that an upgrade drops does not exist again afterwards, so the drop is refused."""
    sql(TABLE)
    sql("ALTER TABLE t ALTER k SET NOT NULL, ALTER v SET NOT NULL; ALTER TABLE t REPLICA IDENTITY USING INDEX ux")
    sql("CREATE PUBLICATION p FOR TABLE t")
    execute(engine, 2, adopting(form), "upgrade")
    before = sql(INDEXES)
    with pytest.raises(CommandError, match="constraint-in-use"):
        execute(engine, 3, later(form)["dropped"][0], "upgrade")
    assert before == sql(INDEXES)


def failing(sql, conn, key):
    """Let a build fail because of a duplicate."""
    sql("INSERT INTO t VALUES (20, 1, 1)")
    with pytest.raises(Refused, match="duplicate"):
        enforce(conn, key, BuildRule())
    sql("DELETE FROM t WHERE id = 20")


def meanwhile(sql, conn, key):
    """Let another session build the index between the decision to build it and the build."""

    def build(_conn, _cursor, statement, *_) -> None:
        if statement.startswith("CREATE UNIQUE INDEX CONCURRENTLY"):
            sql("CREATE UNIQUE INDEX IF NOT EXISTS ux ON t (k, v)")

    event.listen(conn.engine, "before_cursor_execute", build)
    enforce(conn, key, BuildRule())
    event.remove(conn.engine, "before_cursor_execute", build)


@pytest.mark.parametrize("form", ["constraint", "index"])
@pytest.mark.parametrize("before", [failing, meanwhile])
def test_index_that_another_session_built_is_not_taken_for_ours(sql, conn, form, before):
    """After a build that failed or was too late, an index that another session built is adopted, and stays."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 1, 1)")
    key = UniqueKey(table="t", columns=("k", "v"), name="ux", form=form)
    before(sql, conn, key)
    assert sql("SELECT building, built FROM dupe_audit.run") == [(False, False)]
    sql("CREATE UNIQUE INDEX IF NOT EXISTS ux ON t (k, v)")
    enforce(conn, key, BuildRule())
    drop(conn, key, BuildRule())
    assert [("CREATE UNIQUE INDEX ux ON public.t USING btree (k, v)", True, True)] == sql(INDEXES)


def test_rolled_back_build_that_held_the_writers_leaves_no_claim(sql, conn):
    """A build that holds the writers is recorded in its own transaction, so its failure leaves no claim."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 1, 1)")
    key = UniqueKey(table="t", columns=("k", "v"), name="ux")
    list(cleanup(conn, key, CleanupRule()))
    sql("INSERT INTO t VALUES (2, 1, 1)")
    work = work_on(conn, catalog.require(conn, key)[1], key, BuildRule(), 1)
    assert build_held(work, lambda: 0)  # the reason why it was not built
    assert sql("SELECT building, built FROM dupe_audit.run") == [(False, False)]


def test_adopted_index_that_an_interrupted_drop_has_left_invalid_is_built_again(sql, engine):
    """If a later upgrade was killed while it dropped the index, the downgrade leaves a valid one of its definition."""
    sql(TABLE)
    sql("COMMENT ON INDEX ux IS 'theirs'")
    before = sql(INDEXES)
    execute(engine, 2, adopting("index"), "upgrade")

    def kill(_conn, _cursor, statement, *_) -> None:
        if statement.startswith("DROP INDEX CONCURRENTLY"):
            raise KeyboardInterrupt

    event.listen(engine, "before_cursor_execute", kill)
    with pytest.raises(CommandError):
        execute(engine, 3, later("index")["dropped"][0], "upgrade")
    event.remove(engine, "before_cursor_execute", kill)
    # As DROP INDEX CONCURRENTLY leaves it.
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ux'::regclass")
    statements = []
    event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    execute(engine, 2, adopting("index"), "downgrade")
    assert before == sql(INDEXES)
    assert sql("SELECT obj_description('ux'::regclass)") == [("theirs",)]
    (place,) = (number for number, text in enumerate(statements) if re.search("DROP INDEX (?!CONCURRENTLY)", text))
    limits = [text for text in statements[:place] if "set_config('lock_timeout'" in text]
    assert "'500ms'" in limits[-1]  # the application waits behind a drop that is not concurrent
