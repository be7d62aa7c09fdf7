"""Amended, merged and repointed rows of a tree: a backend that dies at any statement, up and down."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import CommandError

import dupe_audit.ops  # noqa: F401 - registers the directives
from thoroughness import EXHAUSTIVE
from torture.kills import Kill, armed

pytestmark = pytest.mark.torture

#: statements to die at, evenly spread, and different ones in each test; all if exhaustive
KILLS = None if EXHAUSTIVE else 1
#: two leaves below the root, one of them with other columns, two below an inner level, of which one is a DEFAULT; three
#: leaves have groups, of equal rows and of different ones
TREE = """
DROP SCHEMA IF EXISTS dupe_audit CASCADE; DROP TABLE IF EXISTS c, t;
CREATE TABLE t (id int, r int, name text, n int, gone boolean NOT NULL DEFAULT false, PRIMARY KEY (id, r))
    PARTITION BY RANGE (r);
CREATE TABLE t_1 (n int, name text, lost int, id int NOT NULL, gone boolean NOT NULL DEFAULT false, r int NOT NULL);
ALTER TABLE t_1 DROP lost;
ALTER TABLE t ATTACH PARTITION t_1 FOR VALUES FROM (1) TO (2);
CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (2) TO (4) PARTITION BY LIST (r);
CREATE TABLE t_2a PARTITION OF t_2 FOR VALUES IN (2);
CREATE TABLE t_2rest PARTITION OF t_2 DEFAULT;
CREATE TABLE t_rest PARTITION OF t DEFAULT;
INSERT INTO t VALUES (1, 1, 'a', 1), (2, 1, 'a', 1), (3, 1, 'a', 2), (4, 1, 'a-2', 4), (5, 2, 'b', 5), (6, 2, 'b', 6),
                     (7, 3, 'c', 7), (8, 3, 'c', 7), (9, 9, 'd', 9), (10, 9, NULL, 1), (11, 9, NULL, 1);
CREATE TABLE c (id int PRIMARY KEY, t_id int, t_r int, FOREIGN KEY (t_id, t_r) REFERENCES t ON DELETE CASCADE);
CREATE INDEX ON c (t_id, t_r)
"""
CHILDREN = "INSERT INTO c SELECT 10 * id + i, id, r FROM t, generate_series(1, 2) AS i"
KEY = ["name", "r"]
ALIVE = "NOT gone"
#: everything that a downgrade has to restore, and where each row is
ROWS = """
SELECT t.tableoid::regclass::text, t::text FROM t UNION ALL SELECT 'c', c::text FROM c ORDER BY 1, 2
"""
LEFT = """
SELECT relname FROM pg_class WHERE relname ~ '^stage_' UNION ALL SELECT indexrelid::regclass::text FROM pg_index
WHERE NOT indisprimary AND indrelid IN (SELECT 't'::regclass UNION SELECT relid FROM pg_partition_tree('t'))
"""
INDEXES = """
SELECT i.indrelid::regclass::text, i.indisvalid, (SELECT h.inhparent::regclass::text FROM pg_inherits h
       WHERE h.inhrelid = i.indexrelid) IS NOT NULL
FROM pg_index i WHERE NOT i.indisprimary
AND i.indrelid IN (SELECT 't'::regclass UNION SELECT relid FROM pg_partition_tree('t')) ORDER BY 1
"""
SUMS = "SELECT sum(archived), sum(amended), sum(merged), sum(restored), sum(reverted) FROM dupe_audit"


@dataclass(frozen=True)
class Policy:
    """What becomes of the extras."""

    clean: Callable[[Any], None]
    where: str | None = None
    children: bool = False  #: whether each row has two children


def _amend(set_: dict[str, Any], where: str | None = None, **options: Any) -> Policy:
    return Policy(lambda op: op.amend_duplicates("t", KEY, set_, where=where, batch_size=2, **options), where, True)


def _archive(*, children: bool = False, **options: Any) -> Policy:
    options = {"batch_size": 2, "divergent": "archive", **options}
    return Policy(lambda op: op.archive_duplicates("t", KEY, **options), children=children)


SUFFIX = {"name": sa.text("name || '-' || duplicate.number")}
POLICIES = {
    "renamed": _amend(SUFFIX),
    "set to NULL": _amend({"name": None}),
    "marked as gone": _amend({"gone": True}, ALIVE),
    "merged": _archive(merge={"n": "sum"}),
    "mixed": _archive(divergent="amend", set_=SUFFIX),
    "merged with children": _archive(merge={"n": "sum"}, references="repoint", children=True),
    "children": _archive(references="repoint", children=True),
}


@dataclass
class Directions:
    """The two directions of a revision with a policy."""

    engine: sa.Engine
    sql: Callable[[str], Any]
    policy: Policy

    def create(self) -> None:
        """Drop everything and create it again."""
        self.sql(TREE)
        if self.policy.children:
            self.sql(CHILDREN)

    @contextmanager
    def _operations(self) -> Iterator[Any]:
        with self.engine.connect() as connection:
            context = MigrationContext.configure(connection)
            with context.begin_transaction():
                yield Operations(context)

    def upgrade(self) -> None:
        """Do what the revision's upgrade does."""
        with self._operations() as op:
            self.policy.clean(op)
            if self.policy.where:
                op.create_unique_index_online("uq", "t", KEY, where=self.policy.where)
            else:
                op.create_unique_constraint_online("uq", "t", KEY)

    def downgrade(self) -> None:
        """Do what the revision's downgrade does."""
        with self._operations() as op:
            if self.policy.where:
                op.drop_unique_index_online("uq", "t")
            else:
                op.drop_unique_constraint_online("uq", "t")
            op.restore_duplicates("t", KEY, where=self.policy.where)

    def undone(self) -> list[Any]:
        """Return the rows, and what is left of the upgrade's work."""
        return [self.sql(ROWS), self.sql(LEFT)]

    def state(self) -> dict[str, Any]:
        """Return everything that has to be the same after an undisturbed run and after a continued one."""
        sums = self.sql(f"{SUMS}.batch")
        assert sums == self.sql(f"{SUMS}.run")
        return {
            "rows": self.sql(ROWS),
            "indexes": self.sql(INDEXES),
            "sums": sums,
            "states": self.sql("SELECT state, building FROM dupe_audit.run"),
            "unfinished": self.sql("SELECT table_name FROM dupe_audit.leaf WHERE building"),
        }


@pytest.fixture(params=POLICIES, ids=lambda name: name.replace(" ", "-"))
def directions(request, engine, sql) -> Directions:
    """The tree, a policy, and the two directions."""
    return Directions(engine, sql, POLICIES[request.param])


@pytest.fixture
def sweep(request, directions, psycopg_connect) -> Callable[..., None]:
    """Kill *work* at one statement after the other, *resume*, and expect the same outcome."""
    killer = psycopg_connect(autocommit=True)
    salt = zlib.crc32(request.node.name.encode())

    def run(
        prepare: Callable[[], None], work: Callable[[], None], resume: Callable[[], None], outcome: Callable[[], Any]
    ) -> None:
        prepare()
        with armed(directions.engine, Kill(killer)) as undisturbed:
            work()
        if resume != work:
            resume()
        expected, points = outcome(), len(undisturbed.statements)
        step = points // (KILLS or points)
        for n in range(1 + salt % step, points + 1, step):
            prepare()
            point = Kill(killer, "after" if n % 2 else "before", n)
            with armed(directions.engine, point), suppress(CommandError):
                work()
            resume()
            assert point.happened
            assert expected == outcome(), point
        print(f"{points} kill points, every {step}.")  # noqa: T201 - pytest -rP shows it

    return run


@pytest.mark.thorough
def test_killed_upgrade_is_continued(directions, sweep):
    """An upgrade of a tree that dies at any statement ends, if it is continued, as if nothing had happened."""
    sweep(directions.create, directions.upgrade, directions.upgrade, directions.state)


@pytest.mark.thorough
def test_killed_upgrade_is_undone(directions, sweep):
    """An upgrade of a tree that dies at any statement can be undone: each row is as it was, and no index is left."""
    directions.create()
    before = directions.undone()
    sweep(directions.create, directions.upgrade, directions.downgrade, directions.undone)
    assert before == directions.undone()


@pytest.mark.thorough
def test_killed_downgrade_is_continued(directions, sweep):
    """A downgrade of a tree that dies at any statement is continued, and each row is as it was, in its leaf."""
    directions.create()
    before = directions.undone()

    def upgraded() -> None:
        directions.create()
        directions.upgrade()

    sweep(upgraded, directions.downgrade, directions.downgrade, directions.state)
    assert before == directions.undone()
