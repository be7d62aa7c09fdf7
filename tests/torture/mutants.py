"""Four programs as they are often written. Each loses something, and the harness has to notice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg.errors import UniqueViolation
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule, UniqueKey

BATCH = 200

#: the same ledger and archive as the real one's, so that the same invariants can be asked
LEDGER = """
CREATE SCHEMA IF NOT EXISTS dupe_audit;
CREATE TABLE IF NOT EXISTS dupe_audit.run (
    id bigint PRIMARY KEY, relid oid, state text, building boolean, archived bigint, restored bigint);
CREATE TABLE IF NOT EXISTS dupe_audit.batch (
    run_id bigint, number bigint GENERATED ALWAYS AS IDENTITY, archived bigint, restored bigint);
CREATE TABLE IF NOT EXISTS dupe_audit.archive_1 (
    id bigint, k int, v text, pad text, dupe_audit_survivor_1 bigint, dupe_audit_batch bigint,
    dupe_audit_restored_at timestamptz);
INSERT INTO dupe_audit.run SELECT 1, 'tt'::regclass, 'cleaning', false, 0, 0
WHERE NOT EXISTS (SELECT FROM dupe_audit.run)
"""
RANKED = (
    "SELECT id, k, first_value(id) OVER w AS survivor, row_number() OVER w AS place FROM tt "
    "WINDOW w AS (PARTITION BY k ORDER BY id)"
)


@dataclass(frozen=True)
class Mutant:
    """A program, and what must object to it: an invariant, and a word of its objection."""

    program: Callable[[str, str], None]
    invariant: str
    words: str
    promises: bool = False  #: whether its good end says that the key is enforced


def _connect(url: str, name: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(plain, autocommit=True, application_name=name)
    connection.execute(LEDGER.encode())
    return connection


def _batch(connection: psycopg.Connection) -> int:
    entered = "INSERT INTO dupe_audit.batch (run_id, archived, restored) VALUES (1, 0, 0) RETURNING number"
    return int((connection.execute(entered).fetchone() or (0,))[0])


def _record(connection: psycopg.Connection, number: int, archived: int) -> None:
    connection.execute("UPDATE dupe_audit.batch SET archived = %s WHERE number = %s", (archived, number))
    connection.execute("UPDATE dupe_audit.run SET archived = archived + %s", (archived,))


def _listed(connection: psycopg.Connection) -> Iterator[list[tuple[int, int]]]:
    extras = connection.execute(f"SELECT id, survivor FROM ({RANKED}) AS ranked WHERE place > 1 ORDER BY k").fetchall()
    for low in range(0, len(extras), BATCH):
        yield extras[low : low + BATCH]


def list_then_delete(url: str, name: str) -> None:
    """List in the client, delete by id: the survivor may be gone by then, and the extra be none any more."""
    with _connect(url, name) as connection:
        for extras in _listed(connection):
            with connection.transaction():
                number = _batch(connection)
                gone = connection.execute(
                    "WITH gone AS (DELETE FROM tt USING unnest(%s::bigint[], %s::bigint[]) AS list(id, survivor) "
                    "WHERE tt.id = list.id RETURNING tt.*, survivor) "
                    "INSERT INTO dupe_audit.archive_1 SELECT id, k, v, pad, survivor, %s FROM gone",
                    ([e[0] for e in extras], [e[1] for e in extras], number),
                )
                _record(connection, number, gone.rowcount)


def one_statement(url: str, name: str) -> None:
    """Rank and delete in one statement: it judges by one snapshot, and locks no survivor."""
    with _connect(url, name) as connection:
        for _ in range(100):
            with connection.transaction():
                number = _batch(connection)
                gone = connection.execute(
                    f"WITH ranked AS (SELECT * FROM ({RANKED}) AS all_of_them WHERE place > 1 LIMIT %s), "
                    "gone AS (DELETE FROM tt USING ranked r WHERE tt.id = r.id RETURNING tt.*, r.survivor) "
                    "INSERT INTO dupe_audit.archive_1 SELECT id, k, v, pad, survivor, %s FROM gone",
                    (BATCH, number),
                )
                _record(connection, number, gone.rowcount)


def archive_then_delete(url: str, name: str) -> None:
    """Lock the survivors, copy the extras, then delete them: what the application changes in between is lost."""
    with _connect(url, name) as connection:
        for extras in _listed(connection):
            with connection.transaction():
                number = _batch(connection)
                lists = ([e[0] for e in extras], [e[1] for e in extras])
                connection.execute("SELECT FROM tt WHERE id = ANY (%s) ORDER BY id FOR UPDATE", (lists[1],))
                copied = connection.execute(
                    "INSERT INTO dupe_audit.archive_1 SELECT tt.*, survivor, %s FROM tt "
                    "JOIN unnest(%s::bigint[], %s::bigint[]) AS list(id, survivor) ON tt.id = list.id "
                    "JOIN tt kept ON kept.id = survivor AND kept.k = tt.k",
                    (number, *lists),
                )
                connection.execute(
                    "DELETE FROM tt USING dupe_audit.archive_1 a WHERE a.dupe_audit_batch = %s AND tt.id = a.id",
                    (number,),
                )
                _record(connection, number, copied.rowcount)


def adopt_by_name(url: str, name: str) -> None:
    """Clean well, then take any index of that name for a finished one."""
    engine = create_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args={"application_name": name}
    )
    key = UniqueKey(table="tt", columns=("k",))
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        while driver:
            list(cleanup(connection, key, CleanupRule(divergent="archive", batch_size=BATCH)))
            try:
                driver.execute("CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS tt_unique ON tt (k)")
            except UniqueViolation:
                continue
            break
    engine.dispose()


MUTANTS = {
    "list in the client, delete by id": Mutant(list_then_delete, "last copy", "survivor"),
    "one DELETE with row_number() > 1": Mutant(one_statement, "last copy", "survivor"),
    "archive, then delete": Mutant(archive_then_delete, "conservation", "lost its last update"),
    "adopt an index by its name": Mutant(adopt_by_name, "truth of the claim", "not valid", promises=True),
}
