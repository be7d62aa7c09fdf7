"""Hard cases F: foreign keys of every kind, triggers, and rows that the role cannot see."""

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.errors import Blocked, DupeAuditError, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.preflight import blockers, preflight

KEY = UniqueKey(table="t", columns=("k",), name="uq")
PARENT = (
    'CREATE TABLE t (id int PRIMARY KEY, k int, a int, b text COLLATE "C", UNIQUE (a, b), UNIQUE (b)); '
    "INSERT INTO t VALUES (1, 7, 1, 'x'), (2, 7, 2, 'y'), (3, 7, 3, 'z'), (4, 8, 4, 'w')"
)
ANY = CleanupRule(divergent="archive")

FOREIGN_KEYS = {
    "no action": "CREATE TABLE c (p int REFERENCES t); INSERT INTO c VALUES (1), (2)",
    "restrict": "CREATE TABLE c (p int REFERENCES t ON DELETE RESTRICT); INSERT INTO c VALUES (1), (2)",
    "cascade": "CREATE TABLE c (p int REFERENCES t ON DELETE CASCADE); INSERT INTO c VALUES (1), (2)",
    "set null": "CREATE TABLE c (p int REFERENCES t ON DELETE SET NULL); INSERT INTO c VALUES (1), (2)",
    "set default": "CREATE TABLE c (p int DEFAULT 4 REFERENCES t ON DELETE SET DEFAULT); INSERT INTO c VALUES (1), (2)",
    "deferred": "CREATE TABLE c (p int REFERENCES t DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (1), (2)",
    "deferred cascade": (
        "CREATE TABLE c (p int REFERENCES t ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED); INSERT INTO c VALUES (2)"
    ),
    "not validated": (
        "CREATE TABLE c (p int); INSERT INTO c VALUES (2); "
        "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES t ON DELETE CASCADE NOT VALID"
    ),
    "composite": (
        "CREATE TABLE c (q text, p int, FOREIGN KEY (p, q) REFERENCES t (a, b)); INSERT INTO c VALUES ('y', 2)"
    ),
    "half a key": (
        "CREATE TABLE c (p int, q text, FOREIGN KEY (p, q) REFERENCES t (a, b) ON DELETE CASCADE); "
        "INSERT INTO c VALUES (3, NULL), (2, 'y'), (NULL, 'z')"
    ),
    "match full": (
        "CREATE TABLE c (p int, q text, FOREIGN KEY (p, q) REFERENCES t (a, b) MATCH FULL ON DELETE SET NULL); "
        "INSERT INTO c VALUES (NULL, NULL), (2, 'y')"
    ),
    "another collation": (
        "CREATE TABLE c (q text COLLATE \"POSIX\" REFERENCES t (b) ON DELETE CASCADE); INSERT INTO c VALUES ('y')"
    ),
    "another type": "CREATE TABLE c (p bigint REFERENCES t ON DELETE CASCADE); INSERT INTO c VALUES (2)",
    "another schema": (
        "CREATE SCHEMA s; CREATE TABLE s.c (p int REFERENCES t ON DELETE CASCADE); INSERT INTO s.c VALUES (2)"
    ),
    "partitioned child": (
        "CREATE TABLE c (p int REFERENCES t ON DELETE CASCADE, r int) PARTITION BY RANGE (r); "
        "CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) TO (9); INSERT INTO c VALUES (2, 1)"
    ),
    "partition of a child": (
        "CREATE TABLE c (p int, r int) PARTITION BY RANGE (r); "
        "CREATE TABLE c1 PARTITION OF c FOR VALUES FROM (0) TO (9); "
        "ALTER TABLE c1 ADD FOREIGN KEY (p) REFERENCES t ON DELETE CASCADE; INSERT INTO c VALUES (2, 1)"
    ),
    "several": (
        "CREATE TABLE c (p int REFERENCES t ON DELETE CASCADE, q int REFERENCES t ON DELETE SET NULL, "
        "r int REFERENCES t); "
        "INSERT INTO c VALUES (NULL, 2, NULL)"
    ),
}


@pytest.mark.parametrize("child", FOREIGN_KEYS.values(), ids=FOREIGN_KEYS)
@pytest.mark.representatives("cascade", "deferred", "not validated", "match full", "partition of a child", "several")
def test_h99_h100_h104_h107_extra_with_a_child_stays(sql, conn, live, child):
    """A child, whatever its foreign key's form, is counted beforehand and keeps its extra until it is deleted."""
    sql(f"{PARENT}; {child}")
    report = preflight(conn, KEY, ANY)
    assert 1 == sum(reference.rows for reference in report.references)
    where = "s.c" if "SCHEMA s" in child else "c"
    before = sql(f"SELECT * FROM {where}")
    with pytest.raises(Refused, match="foreign-key-references"):
        list(cleanup(conn, KEY, ANY))
    assert ([1, 2, 3, 4], before) == (live(), sql(f"SELECT * FROM {where}"))

    sql(f"DELETE FROM {where}")
    list(cleanup(conn, KEY, ANY))
    assert [1, 4] == live()


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE"])
def test_h103_child_committed_before_the_lock_keeps_its_parent(sql, conn, psycopg_connect, just_before, live, action):
    """A child committed right before the lock keeps its parent; one inserted after the lock has to wait."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7), (3, 7)")
    sql(f"CREATE TABLE c (p int REFERENCES t ON DELETE {action})")
    other = psycopg_connect(autocommit=True)
    other.execute("SET lock_timeout = '100ms'")

    def too_late():
        with pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("INSERT INTO c VALUES (3)")

    just_before("INSERT INTO pg_temp.dupe_audit_locked", lambda: other.execute("INSERT INTO c VALUES (2)"))
    intercepted = just_before("DELETE FROM ONLY", too_late)
    with pytest.raises((Blocked, Refused)):
        list(cleanup(conn, KEY, CleanupRule(), give_up_after="500ms"))
    assert intercepted
    assert ([1, 2], [(2,)]) == (live(), sql("SELECT p FROM c"))


@pytest.mark.parametrize("action", ["NO ACTION", "CASCADE", "SET NULL"])
def test_h103_child_with_a_deferred_key_is_rejected_at_commit(sql, conn, psycopg_connect, live, action):
    """A child whose foreign key is checked at commit cannot be seen before; it is rejected then, without an orphan."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    sql(f"CREATE TABLE c (p int REFERENCES t ON DELETE {action} DEFERRABLE INITIALLY DEFERRED)")
    other = psycopg_connect()
    other.execute("INSERT INTO c VALUES (2)")
    list(cleanup(conn, KEY, CleanupRule()))
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        other.commit()
    assert ([1], []) == (live(), sql("SELECT * FROM c"))


@pytest.mark.parametrize("hidden", ["a policy", "no privilege"])
def test_h107_h111_unreadable_children_stop_the_run(sql, conn, connect, member, live, hidden):
    """Children that a policy hides, or that the role may not read, stop the run instead of counting as absent."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    sql("CREATE TABLE c (p int REFERENCES t ON DELETE CASCADE); INSERT INTO c VALUES (2)")
    sql(f"ALTER TABLE t OWNER TO {member}")
    sql(f"DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO {member}', current_database()); END$$")
    if hidden == "a policy":
        sql(f"ALTER TABLE c OWNER TO {member}; ALTER TABLE c ENABLE ROW LEVEL SECURITY")
        sql("ALTER TABLE c FORCE ROW LEVEL SECURITY; CREATE POLICY none ON c USING (false)")
    with pytest.raises((DBAPIError, DupeAuditError), match=r"\bc\b"):
        list(cleanup(connect(role=member), KEY, CleanupRule()))
    assert ([1, 2], [(2,)]) == (live(), sql("SELECT p FROM c"))


def test_h108_accepted_trigger_fires_once_per_row(sql, conn, clean):
    """A delete trigger is refused; once accepted it fires exactly once for each archived row."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t SELECT i, i % 3 FROM generate_series(1, 9) AS i")
    sql(
        "CREATE TABLE outbox (id int); CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO outbox VALUES (OLD.id); RETURN OLD; END'"
    )
    sql("CREATE TRIGGER f AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()")
    assert ["delete-trigger"] == [f.id for f in blockers(conn, KEY, CleanupRule())]
    assert [] == blockers(conn, KEY, CleanupRule(), accept=("delete-trigger",))
    clean(KEY, batch_size=2)
    assert sql("SELECT id FROM dupe_audit.archive_1 ORDER BY 1") == sql("SELECT id FROM outbox ORDER BY 1")


def test_h109_trigger_with_a_soft_delete_stops_the_run(sql, clean, dump):
    """A trigger that marks rows instead of deleting them stops the run, and its marks are rolled back."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, gone boolean DEFAULT false); INSERT INTO t VALUES (1, 7), (2, 7)")
    sql(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN UPDATE t SET gone = true WHERE id = OLD.id; RETURN NULL; END'"
    )
    sql("CREATE TRIGGER f BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()")
    before = dump("t")
    with pytest.raises(DupeAuditError, match="checked 1 extra, but deleted 0"):
        clean(KEY)
    assert before == dump("t")


def test_h117_rows_of_inheriting_tables_are_not_duplicates(sql, conn, live):
    """A row of an inheriting table is not a duplicate of the parent's rows; even a cleanup on its own keeps it."""
    sql("CREATE TABLE t (id int, k int); CREATE TABLE c () INHERITS (t)")
    sql("INSERT INTO t VALUES (1, 7), (2, 7); INSERT INTO c VALUES (3, 7), (4, 7)")
    assert "inheritance" in [f.id for f in blockers(conn, KEY, CleanupRule())]
    list(cleanup(conn, KEY, CleanupRule(ignore=("id",))))
    assert [1, 3, 4] == live()
    enforce(conn, KEY, BuildRule())
