"""A backend that dies at any statement loses nothing and leaves no false claim, and the same call completes later."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import CommandError
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import dupe_audit.ops  # noqa: F401 - registers the directives
from dupe_audit.directives.operations import RestoreDuplicatesOp
from dupe_audit.model import CleanupRule, UniqueKey
from torture.kills import Kill, Moment, armed
from torture.promises import broken, runs

pytestmark = pytest.mark.torture

TABLES = {
    "primary key": "CREATE TABLE t (id int PRIMARY KEY, k int, v text)",
    "no primary key": "CREATE TABLE t (id int, k int, v text)",
    "children": "CREATE TABLE t (id int PRIMARY KEY, k int, v text)",
}
ROWS = """
    INSERT INTO t VALUES (1, 1, 'a'), (2, 1, 'a'), (3, 1, 'b'), (4, 1, 'a'), (5, 2, 'c'), (6, 2, 'c'), (7, 3, 'd'),
                         (8, 3, 'd'), (9, 4, 'e'), (10, NULL, 'f'), (11, NULL, 'f')
"""
#: two for each row; a child's id contains the id of its first parent
CHILDREN = """
    CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE);
    INSERT INTO c SELECT t.id * 10 + i, t.id FROM t, generate_series(1, 2) AS i
"""
BATCH = 2

#: statements to die at, evenly spread, and different ones in each test; in thorough mode it is all of them
KILLS = None if os.environ.get("DUPE_AUDIT_TEST_THOROUGH") else 4

LOST = "SELECT k FROM unnest(ARRAY[1, 2, 3, 4]) AS k EXCEPT SELECT k FROM t"
FALSE_INDEX = """
    SELECT k FROM t WHERE EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('uq') AND indisvalid)
    AND k IS NOT NULL GROUP BY k HAVING count(*) > 1
"""


class World:
    """A database with the table, an application that writes one late duplicate, and the two directions."""

    def __init__(self, database_url: str, sql: Callable[[str], Any], table: str, *, children: bool) -> None:
        self.engine = create_engine(database_url, poolclass=NullPool)
        self.sql, self.table, self.has_children = sql, table, children
        self.original: list[str] = []

    def create(self) -> None:
        """Drop everything and create it again."""
        self.sql(f"DROP SCHEMA IF EXISTS dupe_audit CASCADE; DROP TABLE IF EXISTS c, t; {self.table}; {ROWS}")
        if self.has_children:
            self.sql(CHILDREN)
        self.original = self.rows("t")

    def upgrade(self) -> None:
        """Do what a revision's upgrade does; a duplicate arrives between its two directives, once."""
        with self.operations() as op:
            self.clean(op)
            if "(12,4,late)" not in self.original:
                self.sql("INSERT INTO t VALUES (12, 4, 'late')")
                self.original = sorted([*self.original, "(12,4,late)"])
            op.create_unique_constraint_online("uq", "t", ["k"], comment="one row per key")

    def clean(self, op: Any) -> None:
        """Do what the first directive of the revision does."""
        references = "repoint" if self.has_children else "refuse"
        rule = {"divergent": "archive", "references": references, "batch_size": BATCH}
        op.archive_duplicates("t", ["k"], order_by=["id"], **rule)

    def downgrade(self) -> None:
        """Do what the revision's downgrade does, in small batches."""
        with self.operations() as op:
            op.drop_unique_constraint_online("uq", "t")
            op.invoke(RestoreDuplicatesOp(UniqueKey(table="t", columns=("k",)), rule=CleanupRule(batch_size=BATCH)))

    @contextmanager
    def operations(self) -> Iterator[Any]:
        """Provide what a revision knows as ``op``."""
        with self.engine.connect() as connection:
            context = MigrationContext.configure(connection)
            with context.begin_transaction():
                yield Operations(context)

    @property
    def archive(self) -> str | None:
        """The newest archive, if there is one."""
        archived = [run for run, has_archive in runs(self.sql).items() if has_archive]
        return f"dupe_audit.archive_{archived[-1]}" if archived else None

    def rows(self, source: str) -> list[str]:
        """Return rows as PostgreSQL writes them."""
        return sorted(row[0] for row in self.sql(f"SELECT ROW(id, k, v)::text FROM {source}"))

    def all_rows(self) -> list[str]:
        """Return the rows of the table and those in the archive that are not restored."""
        archived = self.rows(f"{self.archive} WHERE dupe_audit_restored_at IS NULL") if self.archive else []
        return sorted(self.rows("t") + archived)

    def children(self) -> list[tuple[int, int]]:
        """Return each child with the row that it references."""
        return list(self.sql("SELECT id, t_id FROM c ORDER BY id")) if self.has_children else []

    def away(self) -> list[tuple[int, int]]:
        """Return the children that are lost (parent 0), and those that reference another row than at first."""
        parents = dict(self.children())
        children = [10 * row + n for row in range(1, 12) for n in (1, 2)] if self.has_children else []
        return [(child, parents.get(child, 0)) for child in children if parents.get(child) != child // 10]

    def recorded(self) -> list[tuple[int, int]]:
        """Return the children that the ledger has as moved and not returned."""
        names = self.sql(r"SELECT relname FROM pg_class WHERE relname ~ '^children_\d+_\d+$' ORDER BY 1")
        moved = "SELECT i1, s1 FROM dupe_audit.{} WHERE dupe_audit_returned_at IS NULL"
        return sorted(row for (name,) in names for row in self.sql(moved.format(name)))

    def broken(self) -> list[str]:
        """Return the promises that do not hold."""
        faults = broken(self.sql)
        faults += [] if self.original == self.all_rows() else ["a row in neither table nor archive, or in both"]
        faults += ["a key without a row"] if self.sql(LOST) else []
        faults += ["a child that is elsewhere than the ledger says"] if self.away() != self.recorded() else []
        return faults + (["a valid index over duplicates"] if self.sql(FALSE_INDEX) else [])

    def state(self) -> dict[str, Any]:
        """Return everything that has to be the same after an undisturbed run and after a continued one."""
        archive = self.archive
        columns = "ROW(id, k, v)::text, dupe_audit_survivor_1::text, dupe_audit_batch, dupe_audit_restored_at IS NULL"
        return {
            "table": self.rows("t"),
            "children": self.children(),
            "moved": self.has_children and self.sql("SELECT child, moved, returned FROM dupe_audit.child"),
            "archive": self.sql(f"SELECT {columns} FROM {archive} ORDER BY 1, 2, 3") if archive else None,
            "run": self.sql(
                "SELECT state, building, constraint_name, rows_before, groups, extras, archived, restored, "
                "finished_at IS NOT NULL FROM dupe_audit.run"
            ),
            "batches": self.sql("SELECT sum(archived), sum(restored), sum(spared) FROM dupe_audit.batch"),
            "indexes": self.sql(
                "SELECT indexrelid::regclass::text, indisvalid, indisready, conname, obj_description(c.oid) "
                "FROM pg_index LEFT JOIN pg_constraint c ON conindid = indexrelid "
                "WHERE indrelid = 't'::regclass ORDER BY 1"
            ),
            "ledger": self.sql(
                "SELECT regexp_replace(relname, '[0-9]+', '', 'g') FROM pg_class "
                "WHERE relnamespace = 'dupe_audit'::regnamespace AND relkind = 'r' ORDER BY 1"
            ),
        }


@pytest.fixture(params=TABLES, ids=lambda name: name.replace(" ", "-"))
def world(request, database_url, sql):
    """The table, with or without a primary key, and the two directions."""
    return World(database_url, sql, TABLES[request.param], children=request.param == "children")


@pytest.fixture
def sweep(request, world, psycopg_connect) -> Callable[..., None]:
    """Kill *work* at one statement after the other; check the promises; then *resume*, and expect the same outcome."""
    killer = psycopg_connect(autocommit=True)
    salt = zlib.crc32(request.node.name.encode())

    def kill(point: Kill, work: Callable[[], None], resume: Callable[[], None], outcome: Callable[[], Any]) -> Any:
        with armed(world.engine, point), suppress(CommandError):
            work()
        assert world.broken() == [], point
        if point.happened or resume != work:
            resume()
            assert world.broken() == [], point
        return outcome()

    def run(
        moment: Moment,
        prepare: Callable[[], None],
        work: Callable[[], None],
        resume: Callable[[], None],
        outcome: Callable[[], Any],
    ) -> None:
        prepare()
        undisturbed = Kill(killer)
        expected = kill(undisturbed, work, resume, outcome)
        points = len(undisturbed.statements)
        step = points // (KILLS or points)
        first = 1 + salt % step
        for n in range(first, points + 1, step):
            prepare()
            point = Kill(killer, moment, n)
            ended = kill(point, work, resume, outcome)
            assert point.happened
            assert expected == ended, point
        print(f"{points} kill points, every {step}. from {first}")  # noqa: T201 - pytest -rP shows it

    return run


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_upgrade_is_continued(world, sweep, moment):
    """An upgrade that dies at any statement keeps the promises, and a second one ends as if nothing had happened."""
    sweep(moment, world.create, world.upgrade, world.upgrade, world.state)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_downgrade_is_continued(world, sweep, moment):
    """A downgrade that dies at any statement keeps the promises, and a second one restores the table as it was."""

    def upgraded():
        world.create()
        world.upgrade()

    sweep(moment, upgraded, world.downgrade, world.downgrade, world.state)
    assert world.original == world.rows("t")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_upgrade_is_undone(world, sweep, moment):
    """An upgrade that dies at any statement can be undone instead, and leaves no index and no list behind."""

    def remains() -> tuple[bool, Any]:
        leftovers = (
            "SELECT relname FROM pg_class WHERE relname ~ '^stage_' "
            "UNION ALL SELECT indexrelid::regclass::text FROM pg_index "
            "WHERE indrelid = 't'::regclass AND NOT indisprimary"
        )
        return world.original == world.rows("t"), world.away(), world.sql(leftovers)

    sweep(moment, world.create, world.upgrade, world.downgrade, remains)


def test_connection_lost_at_the_very_end_is_reported(world, psycopg_connect):
    """A directive that loses its connection after its work is done ends with a plain sentence, not with a traceback."""

    def archive() -> None:
        world.create()
        with world.operations() as op:
            world.clean(op)

    with armed(world.engine, Kill(psycopg_connect(autocommit=True))) as undisturbed:
        archive()
    last = Kill(undisturbed.killer, "before", len(undisturbed.statements))
    with armed(world.engine, last), pytest.raises(CommandError, match="lost its connection"):
        archive()
