"""Programs as they are often written, and ours without a precaution. Each loses something, and the harness notices.

Of the first kind, a mutant waits at the moment when it is vulnerable until the application has made the change that
it overlooks. Of the second, it executes careless statements in the place of ours; where these rely on what a batch saw
before its locks, the application makes that change at this very moment.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg.errors import SerializationFailure, UniqueViolation
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from dupe_audit import statements
from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule, Expression, UniqueKey
from torture.careless import (
    AMEND_FROM_FIRST_SNAPSHOT,
    ARCHIVE_FIRST_SNAPSHOT,
    CHANGE_BACK_ANYTHING,
    INTERRUPTED,
    INTRUDED,
    MERGE_FROM_FIRST_SNAPSHOT,
    NO_LOCK_ON_SURVIVORS,
    WEAK_LOCK_ON_SURVIVORS,
)
from torture.policies import AMEND, ARCHIVE, MERGE
from torture.writers import MANY_STRAYS

#: rows; large, so that the application soon changes one of them
BATCH = 3000

RULE = CleanupRule(divergent="archive", references="repoint", batch_size=BATCH)

#: ledger and archive with the same columns as the real ones, so that the same invariants can be checked
LEDGER = """
CREATE SCHEMA IF NOT EXISTS dupe_audit;
CREATE TABLE IF NOT EXISTS dupe_audit.run (
    id bigint PRIMARY KEY, relid oid, state text, building boolean, archived bigint, restored bigint);
CREATE TABLE IF NOT EXISTS dupe_audit.batch (
    run_id bigint, number bigint GENERATED ALWAYS AS IDENTITY, archived bigint, restored bigint);
CREATE TABLE IF NOT EXISTS dupe_audit.archive_1 (
    id bigint, k text, v text, pad text, dupe_audit_survivor_1 bigint, dupe_audit_batch bigint,
    dupe_audit_restored_at timestamptz, live boolean DEFAULT true);
INSERT INTO dupe_audit.run SELECT 1, 'tt'::regclass, 'cleaning', false, 0, 0
WHERE NOT EXISTS (SELECT FROM dupe_audit.run)
"""

#: Volatile, so that each of its queries has a new snapshot, also inside a statement. It gives up after ten seconds, for
#: its caller may hold locks for which every writer waits, and at once if the rows are so few that it would take long.
MEANWHILE = """
CREATE OR REPLACE FUNCTION dupe_audit.meanwhile(ops text[], ids bigint[], fewest int DEFAULT 1000) RETURNS void
VOLATILE LANGUAGE plpgsql AS $$
DECLARE
    newest CONSTANT bigint := (SELECT coalesce(max(seq), 0) FROM oplog);
BEGIN
    FOR _ IN 1 .. CASE WHEN cardinality(ids) < fewest THEN 0 ELSE 1000 END LOOP
        EXIT WHEN EXISTS (SELECT FROM oplog WHERE seq > newest AND op = ANY (ops) AND id = ANY (ids));
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$
"""
#: Waits until a child has arrived that no lock on its parent has kept out, after the snapshot of the caller's
#: statement; not in small batches, with which a cleanup begins, because there it would take long.
STRAY = """
CREATE OR REPLACE FUNCTION stray() RETURNS int VOLATILE LANGUAGE plpgsql AS $$
BEGIN
    FOR _ IN 1 .. CASE WHEN (SELECT count(*) FROM pg_temp.dupe_audit_locked) < 150 THEN 0 ELSE 1000 END LOOP
        EXIT WHEN EXISTS (
            SELECT FROM pg_temp.dupe_audit_locked l JOIN tt ON tt.ctid = l.e_tid JOIN child c ON c.parent = tt.id);
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN 1;
END $$
"""
RANKED = (
    "SELECT id, k, first_value(id) OVER w AS survivor, row_number() OVER w AS place FROM tt "
    "WINDOW w AS (PARTITION BY k ORDER BY id)"
)


@dataclass(frozen=True)
class Mutant:
    """A program, and the objection that it has to provoke: an invariant, and words of the violation."""

    program: Callable[[str, str], None] | None  #: None is Alembic, with our directives
    invariant: str
    words: str
    promises: bool = False  #: whether its good end says that the key is enforced
    statements: Mapping[str, Callable[[str], str]] = field(default_factory=dict)  #: careless texts of ours, by name
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)  #: careless functions, by ours
    accept: str = ""  #: the finding with which ours would refuse
    strays: float = 0  #: weight of the writers without referential integrity that it takes
    partial: bool = False  #: whether the key is an expression over a part of the table
    policy: str = ARCHIVE  #: what becomes of the extras
    alone: bool = False  #: whether the application does no more than what the program lets it do
    tree: bool = False  #: whether the table is partitioned
    returns: bool = False  #: whether it takes the way down
    moves: bool = False  #: whether the way down begins with a dump, and is in the restored database

    def texts(self) -> dict[str, str]:
        """Return the careless texts by the names of their files.

        Raises:
            AssertionError: a statement no longer has the text that is to be replaced.
        """
        texts = {}
        for name, careless in self.statements.items():
            text = files("dupe_audit.statements").joinpath(f"{name}.sql").read_text("utf-8")
            texts[f"{name}.sql"] = careless(text)
            assert texts[f"{name}.sql"] != text, name
        return texts

    def mutate(self) -> None:
        """Make our statements and functions careless in this process."""
        for path, careless_function in self.functions.items():
            module, _, name = path.rpartition(".")
            assert hasattr(import_module(module), name), path
            setattr(import_module(module), name, careless_function)
        originals, texts = files("dupe_audit.statements"), self.texts()

        def joinpath(name: str) -> Any:
            return SimpleNamespace(read_text=lambda _: texts[name]) if name in texts else originals.joinpath(name)

        statements.files = lambda _: SimpleNamespace(joinpath=joinpath)  # type: ignore[attr-defined]
        statements.template.cache_clear()


def _connect(url: str, name: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(plain, autocommit=True, application_name=name)
    connection.execute(LEDGER.encode())
    connection.execute(MEANWHILE.encode())
    return connection


def _batch(connection: psycopg.Connection) -> int:
    opened = "INSERT INTO dupe_audit.batch (run_id, archived, restored) VALUES (1, 0, 0) RETURNING number"
    return int((connection.execute(opened).fetchone() or (0,))[0])


def _record(connection: psycopg.Connection, number: int, archived: int) -> None:
    connection.execute("UPDATE dupe_audit.batch SET archived = %s WHERE number = %s", (archived, number))
    connection.execute("UPDATE dupe_audit.run SET archived = archived + %s", (archived,))


def _meanwhile(connection: psycopg.Connection, ops: list[str], ids: list[int]) -> None:
    connection.execute("SELECT dupe_audit.meanwhile(%s, %s)", (ops, ids))


def _listed(connection: psycopg.Connection) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the extras in batches, and their survivors."""
    extras = connection.execute(f"SELECT id, survivor FROM ({RANKED}) AS ranked WHERE place > 1 ORDER BY k").fetchall()
    for low in range(0, len(extras), BATCH):
        batch = extras[low : low + BATCH]
        yield [extra for extra, _ in batch], [survivor for _, survivor in batch]


def list_then_delete(url: str, name: str) -> None:
    """List in the client, delete by id: by then the survivor may be gone, and the extra may not be one any more."""
    with _connect(url, name) as connection:
        for extras, survivors in _listed(connection):
            _meanwhile(connection, ["key", "delete"], survivors)
            with connection.transaction():
                number = _batch(connection)
                deleted = connection.execute(
                    "WITH gone AS (DELETE FROM tt USING unnest(%s::bigint[], %s::bigint[]) AS list(id, survivor) "
                    "WHERE tt.id = list.id RETURNING tt.*, survivor) "
                    "INSERT INTO dupe_audit.archive_1 SELECT id, k, v, pad, survivor, %s FROM gone",
                    (extras, survivors, number),
                )
                _record(connection, number, deleted.rowcount)


def delete_ranked(url: str, name: str) -> None:
    """Rank and delete in one statement: it judges by one snapshot, and locks no survivor."""
    with _connect(url, name) as connection:
        for _ in range(5):
            with connection.transaction():
                number = _batch(connection)
                deleted = connection.execute(
                    f"WITH ranked AS MATERIALIZED (SELECT * FROM ({RANKED}) AS rows WHERE place > 1 LIMIT %s), "
                    "changed AS MATERIALIZED ("
                    "SELECT dupe_audit.meanwhile('{key,delete}', array_agg(survivor)) FROM ranked), "
                    "gone AS (DELETE FROM tt USING changed, ranked r WHERE tt.id = r.id RETURNING tt.*, r.survivor) "
                    "INSERT INTO dupe_audit.archive_1 SELECT id, k, v, pad, survivor, %s FROM gone",
                    (BATCH, number),
                )
                _record(connection, number, deleted.rowcount)


def delete_ranked_per_leaf(url: str, name: str) -> None:
    """The same in each leaf of a tree, for the first extra of each of some groups.

    An extra that moves to another leaf meanwhile ends the statement. With few extras, a survivor usually changes first.
    """
    with _connect(url, name) as connection:
        leaves = connection.execute("SELECT relid::regclass::text FROM pg_partition_tree('tt') WHERE isleaf").fetchall()
        for (leaf,) in leaves:
            ranked = RANKED.replace("FROM tt", f"FROM ONLY {leaf} AS tt")
            with suppress(SerializationFailure), connection.transaction():
                number = _batch(connection)
                deleted = connection.execute(
                    (
                        f"WITH ranked AS MATERIALIZED (SELECT * FROM ({ranked}) AS rows WHERE place = 2 LIMIT 200), "
                        "changed AS MATERIALIZED ("
                        "SELECT dupe_audit.meanwhile('{key,delete}', array_agg(survivor), 50) FROM ranked), "
                        f"gone AS (DELETE FROM ONLY {leaf} AS tt USING changed, ranked r WHERE tt.id = r.id "
                        "RETURNING tt.*, r.survivor) "
                        f"INSERT INTO dupe_audit.archive_1 SELECT id, k, v, pad, survivor, {number} FROM gone"
                    ).encode()
                )
                _record(connection, number, deleted.rowcount)


def archive_then_delete(url: str, name: str) -> None:
    """Lock the survivors, copy the extras, then delete them: what the application changes in between is lost."""
    with _connect(url, name) as connection:
        for extras, survivors in _listed(connection):
            with connection.transaction():
                number = _batch(connection)
                connection.execute("SELECT FROM tt WHERE id = ANY (%s) ORDER BY id FOR UPDATE", (survivors,))
                copied = connection.execute(
                    "INSERT INTO dupe_audit.archive_1 SELECT tt.id, tt.k, tt.v, tt.pad, survivor, %s FROM tt "
                    "JOIN unnest(%s::bigint[], %s::bigint[]) AS list(id, survivor) ON tt.id = list.id "
                    "JOIN tt kept ON kept.id = survivor AND kept.k = tt.k",
                    (number, extras, survivors),
                )
                _meanwhile(connection, ["key", "data"], extras)
                connection.execute(
                    "DELETE FROM tt USING dupe_audit.archive_1 a WHERE a.dupe_audit_batch = %s AND tt.id = a.id",
                    (number,),
                )
                _record(connection, number, copied.rowcount)


def clean(url: str, name: str) -> None:
    """Clean once, in batches that are too small to keep all writers waiting."""
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"application_name": name}
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(STRAY)
        list(cleanup(connection, UniqueKey(table="tt", columns=("k",)), replace(RULE, batch_size=300)))
    engine.dispose()


def clean_live(url: str, name: str) -> None:
    """Clean the live rows once."""
    key = UniqueKey(table="tt", columns=(Expression("lower(k)"),), where="live", form="index")
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"application_name": name}
    )
    with engine.connect() as connection:
        list(cleanup(connection, key, RULE))
    engine.dispose()


#: how a batch asks again whether a row is in the predicate, and what asks nothing: with the values of each key, of
#: extras until they are deleted, and of survivors
ASKED_WITH_THE_KEY = {"'CASE WHEN (%2$s) THEN (%1$s) END' END": "'(%1$s)' END"}
ASKED_OF_EXTRAS = {"'e_key.met' END": "'true' END", "CASE WHEN rel.predicate IS NOT NULL\n": "CASE WHEN false\n"}
ASKED_OF_SURVIVORS = {"rel.predicate IS NOT NULL THEN 'v_key.met'": "false THEN 'v_key.met'"}


def trust_ranking(questions: Mapping[str, str]) -> Callable[[str], str]:
    """Return what lets a batch trust the ranking's snapshot, instead of asking again."""

    def careless(text: str) -> str:
        for question, nothing in questions.items():
            assert text.count(question) == 1, question
            text = text.replace(question, nothing)
        return text

    return careless


def adopt_by_name(url: str, name: str) -> None:
    """Clean well, then take any index of that name for a finished one."""
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"application_name": name}
    )
    key = UniqueKey(table="tt", columns=("k",))
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        while driver:
            list(cleanup(connection, key, RULE))
            duplicates = "SELECT k FROM tt GROUP BY k HAVING count(*) > 1"
            while not driver.execute("SELECT FROM pg_class WHERE relname = 'tt_unique'").rowcount:
                if driver.execute(duplicates).rowcount > 10:
                    break
                time.sleep(0.01)
            try:
                driver.execute("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tt_unique ON tt (k)")
            except UniqueViolation:
                continue
            break
    engine.dispose()


MUTANTS = {
    "list in the client, delete by id": Mutant(list_then_delete, "last copy", "survivor"),
    "one DELETE with row_number() > 1": Mutant(delete_ranked, "last copy", "survivor"),
    "one DELETE with row_number() > 1 per leaf": Mutant(delete_ranked_per_leaf, "last copy", "survivor", tree=True),
    "archive, then delete": Mutant(archive_then_delete, "conservation", "lost its last update"),
    "adopt an index by its name": Mutant(adopt_by_name, "truth of the claim", "not valid", promises=True),
    "a ledger that knows the table by its oid": Mutant(
        None,
        "all done",
        " archived, 0 restored",
        promises=True,
        statements={"run_relation": lambda _: "SELECT c.oid FROM pg_catalog.pg_class c WHERE c.oid = r.relid"},
        functions={"dupe_audit.ledger.way_back.lost": lambda *_, **__: []},
        accept="run-missing",
        returns=True,
        moves=True,
    ),
    "a batch that does not count referential actions": Mutant(
        clean,
        "children follow",
        "is lost",
        statements={
            "changed_children": lambda _: "SELECT 0::pg_catalog.int8 AS changed, false AS itself",
            "move_rows": lambda text: text.replace("USING judged j", "USING judged j, stray() AS waited"),
        },
        strays=MANY_STRAYS,
    ),
    "the predicate of an extra is judged by the ranking": Mutant(
        clean_live,
        "still a duplicate",
        "had key none when it was archived",
        statements={"fragments": trust_ranking(ASKED_WITH_THE_KEY | ASKED_OF_EXTRAS)},
        partial=True,
    ),
    "the predicate of a survivor is judged by the ranking": Mutant(
        clean_live,
        "last copy",
        "had left the predicate",
        statements={"fragments": trust_ranking(ASKED_WITH_THE_KEY | ASKED_OF_SURVIVORS)},
        partial=True,
    ),
    "a batch that locks no survivor": Mutant(
        INTRUDED["delete"], "last copy", "had been deleted", statements={"lock_rows": NO_LOCK_ON_SURVIVORS}, alone=True
    ),
    "a batch that locks survivors FOR KEY SHARE": Mutant(
        INTRUDED["key"], "last copy", "had another key", statements={"lock_rows": WEAK_LOCK_ON_SURVIVORS}, alone=True
    ),
    "merge from the first snapshot": Mutant(
        INTERRUPTED[MERGE],
        "totals agree",
        "nothing is restored",
        statements={"merge_rows": MERGE_FROM_FIRST_SNAPSHOT},
        policy=MERGE,
        alone=True,
    ),
    "amend from the first snapshot": Mutant(
        INTERRUPTED[AMEND],
        "as the rule says",
        "has a status of another state",
        statements={"amend_rows": AMEND_FROM_FIRST_SNAPSHOT},
        policy=AMEND,
        alone=True,
    ),
    "archive the first snapshot of an amended row": Mutant(
        INTERRUPTED[AMEND],
        "conservation",
        "has lost its last update",
        statements={"amend_rows": ARCHIVE_FIRST_SNAPSHOT},
        policy=AMEND,
        alone=True,
    ),
    "change back whatever the application has changed": Mutant(
        None,
        "conservation",
        "has lost its last update",
        promises=True,
        statements={"restore_images": CHANGE_BACK_ANYTHING},
        policy=MERGE,
        returns=True,
    ),
}
