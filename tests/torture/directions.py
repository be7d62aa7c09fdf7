"""The two directions of a revision on a table of a few rows, and everything that has to be the same afterwards."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

import dupe_audit.ops  # noqa: F401 - registers the directives
from dupe_audit.directives.operations import RestoreDuplicatesOp
from dupe_audit.model import CleanupRule, UniqueKey
from torture.moving import copy
from torture.promises import broken, runs
from torture.world import World

TABLES = {
    "primary key": "CREATE TABLE t (id int PRIMARY KEY, k int, v text)",
    "no primary key": "CREATE TABLE t (id int, k int, v text)",
    "children": "CREATE TABLE t (id int PRIMARY KEY, k int, v text)",
}
TREE = """
    CREATE TABLE t (id int, k int, v text) PARTITION BY RANGE (k);
    CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (1) TO (2);
    CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (2) TO (4) PARTITION BY LIST (k);
    CREATE TABLE t_2a PARTITION OF t_2 FOR VALUES IN (2);
    CREATE TABLE t_2rest PARTITION OF t_2 DEFAULT;
    CREATE TABLE t_rest PARTITION OF t DEFAULT
"""
#: a tree takes several times as many statements
ALL_TABLES = {**TABLES, "tree": TREE}

#: the unique indexes of the table or of every table of a tree: the name of a part contains an oid
INDEXES = """
    SELECT i.indrelid::regclass::text, regexp_replace(i.indexrelid::regclass::text, '_[0-9]+$', ''), i.indisvalid,
           i.indisready, regexp_replace(c.conname, '_[0-9]+$', ''), c.conparentid <> 0, obj_description(c.oid),
           (SELECT h.inhparent::regclass::text FROM pg_inherits h WHERE h.inhrelid = i.indexrelid) IS NOT NULL
    FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid
    WHERE i.indrelid IN (SELECT 't'::regclass UNION SELECT relid FROM pg_partition_tree('t')) ORDER BY 1, 2
"""
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

LOST = "SELECT k FROM unnest(ARRAY[1, 2, 3, 4]) AS k EXCEPT SELECT k FROM t"
FALSE_INDEX = """
    SELECT k FROM t WHERE EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('uq') AND indisvalid)
    AND k IS NOT NULL GROUP BY k HAVING count(*) > 1
"""


class Directions:
    """A database with the table, an application that writes one late duplicate, and the two directions.

    A context manager; ``move`` continues in another database.
    """

    def __init__(self, database_url: str, table: str) -> None:
        self.first_url = self.url = database_url
        self.table, self.has_children = ALL_TABLES[table], table == "children"
        self.original: list[str] = []
        self.build: dict[str, Any] = {"comment": "one row per key"}  #: options of the second directive

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def _connect(self) -> None:
        self.engine = create_engine(self.url, poolclass=NullPool)
        self._connection = World(self.url).connect()

    def _disconnect(self) -> None:
        self._connection.close()
        self.engine.dispose()
        if self.url != self.first_url:
            World(self.first_url).run(f"DROP DATABASE {make_url(self.url).database} WITH (FORCE)")

    def move(self, programs: Path, form: str, template: str) -> None:
        """Continue in a copy that comes from a dump; the template has the extensions, whose creation takes long."""
        name = f"{make_url(self.first_url).database}_{uuid.uuid4().hex[:8]}"
        World(self.first_url).run(f"CREATE DATABASE {name} TEMPLATE {template}")
        url = make_url(self.url).set(database=name).render_as_string(hide_password=False)
        try:
            copy(programs, self.url, url, form)
        finally:
            self._disconnect()
            self.url = url
            self._connect()

    def sql(self, statement: str) -> Any:
        """Execute SQL and return the rows of its last statement."""
        cursor = self._connection.execute(statement.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else None

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
            op.create_unique_constraint_online("uq", "t", ["k"], **self.build)

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

    def state(self, *, places: bool = True) -> dict[str, Any]:
        """Return everything that has to be the same after an undisturbed run and after a continued one.

        Args:
            places: whether rows without a primary key are known by their places, which a dump does not keep.
        """
        archive = self.archive
        survivor = "dupe_audit_survivor_1::text" if places or "PRIMARY KEY" in self.table else "NULL"
        # Not the number of the batch: how many rows a batch takes depends on the time that others took.
        columns = f"ROW(id, k, v)::text, {survivor}, dupe_audit_restored_at IS NULL"
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
            "indexes": self.sql(INDEXES),
            "parts": self.sql(
                "SELECT table_name, regexp_replace(index_name, '_[0-9]+$', ''), building "
                "FROM dupe_audit.leaf ORDER BY 1"
            ),
            "ledger": self.sql(
                "SELECT regexp_replace(relname, '[0-9]+', '', 'g') FROM pg_class "
                "WHERE relnamespace = 'dupe_audit'::regnamespace AND relkind = 'r' ORDER BY 1"
            ),
        }
