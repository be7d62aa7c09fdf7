"""Whatever prevents children from following the survivor is found and counted before anything is archived."""

import re

import pytest

from dupe_audit.cleanup import cleanup
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.findings import quantity
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.preflight import blockers, preflight

KEY = UniqueKey(table="t", columns=("k",), name="uq")
RULE = CleanupRule(references="repoint", divergent="archive")
PARENT = """
CREATE TABLE t (id int PRIMARY KEY, k int, code text UNIQUE);
INSERT INTO t VALUES (1, 7, 'a'), (2, 7, 'b'), (3, 7, NULL), (4, 8, NULL), (5, 8, 'e'), (6, 9, 'f');
"""

CANNOT = {
    "without a primary key": (
        "CREATE TABLE c (t_id int REFERENCES t); INSERT INTO c VALUES (2), (3), (1)",
        r"2 rows of public\.c \(c_t_id_fkey, ON DELETE NO ACTION\): it has no primary key",
    ),
    "in the table itself": (
        "ALTER TABLE t ADD up int REFERENCES t; UPDATE t SET up = 2 WHERE id IN (1, 6)",
        r"2 rows of public\.t .*the table references itself",
    ),
    "whose survivor cannot be named": (
        "CREATE TABLE c (id int PRIMARY KEY, code text REFERENCES t (code)); INSERT INTO c VALUES (1, 'e'), (2, 'b')",
        r"1 row of public\.c .*no value in the referenced columns",
    ),
    "under an exclusion constraint": (
        "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t, EXCLUDE (t_id WITH =));INSERT INTO c VALUES (1, 2)",
        "an exclusion constraint covers",
    ),
    "behind a rule": (
        """CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t); INSERT INTO c VALUES (1, 2);
        CREATE RULE r AS ON UPDATE TO c DO INSTEAD NOTHING""",
        "a rule rewrites its updates",
    ),
    "by a generated column": (
        """CREATE TABLE c (id int PRIMARY KEY, n int, t_id int GENERATED ALWAYS AS (n + 1) STORED REFERENCES t);
        INSERT INTO c VALUES (1, 1)""",
        "only PostgreSQL can set its referencing column",
    ),
    "published without a replica identity": (
        """CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t); INSERT INTO c VALUES (1, 2);
        ALTER TABLE c REPLICA IDENTITY NOTHING; CREATE PUBLICATION p FOR TABLE c""",
        "published without a replica identity",
    ),
    "with children of their own": (
        """CREATE TABLE c (t_id int REFERENCES t, n int, PRIMARY KEY (t_id, n)); INSERT INTO c VALUES (2, 1);
        CREATE TABLE g (t_id int, n int, FOREIGN KEY (t_id, n) REFERENCES c)""",
        "another table references the columns that would change",
    ),
}


def live(sql):
    """Return the ids of the rows in the table."""
    return [row[0] for row in sql("SELECT id FROM t ORDER BY id")]


@pytest.mark.parametrize("kind", CANNOT)
@pytest.mark.representatives(
    "in the table itself", "under an exclusion constraint", "by a generated column", "with children of their own"
)
def test_children_that_cannot_follow(sql, conn, kind):
    """Preflight and the cleanup count and report children that cannot be pointed at another row; the cleanup stops."""
    statement, message = CANNOT[kind]
    sql(PARENT + statement)
    report = preflight(conn, KEY, RULE)
    (finding,) = [f for f in report.findings if f.id == "cannot-repoint"]
    assert finding.severity == "error"
    with pytest.raises(Refused, match=message):
        raise Refused([finding], lead="")
    with pytest.raises(Refused, match=message):
        list(cleanup(conn, KEY, RULE))
    assert [1, 2, 3, 4, 5, 6] == live(sql)
    assert [("failed", 0)] == sql("SELECT state, archived FROM dupe_audit.run")


def test_child_table_without_affected_rows_is_no_obstacle(sql, conn, clean):
    """A child table that could not follow is not an obstacle as long as none of its rows references an extra."""
    sql(PARENT + "CREATE TABLE c (t_id int REFERENCES t); INSERT INTO c VALUES (1), (6)")
    assert [] == [f for f in preflight(conn, KEY, RULE).findings if f.severity == "error"]
    clean(KEY, references="repoint", divergent="archive")
    assert [1, 4, 6] == live(sql)


COLLISIONS = {
    "unique constraint": (
        "UNIQUE (tag, t_id)",
        "(1, 1, 'a'), (2, 2, 'a'), (3, 3, 'a'), (4, 2, 'b'), (5, 4, 'c')",
        2,
        "c_tag_t_id_key",
    ),
    "two rows that move": ("UNIQUE (t_id, tag)", "(1, 2, 'a'), (2, 3, 'a'), (3, 6, 'a')", 1, "c_t_id_tag_key"),
    "nulls are distinct": ("UNIQUE (t_id, tag)", "(1, 1, NULL), (2, 2, NULL)", 0, ""),
    "one to one": ("UNIQUE (t_id)", "(1, 1, 'a'), (2, 2, 'b'), (3, 5, 'c')", 1, "c_t_id_key"),
    "partial index": (
        "; CREATE UNIQUE INDEX part ON c (t_id) WHERE tag <> 'b'",
        "(1, 1, 'a'), (2, 2, 'b'), (3, 3, 'c')",
        1,
        "part",
    ),
    "index over an expression": (
        "; CREATE UNIQUE INDEX lowered ON c (t_id, lower(tag))",
        "(1, 1, 'a'), (2, 2, 'A'), (3, 3, 'b')",
        1,
        "lowered",
    ),
    "expression of the reference": (
        "; CREATE UNIQUE INDEX half ON c ((t_id / 10), tag)",
        "(1, 1, 'a'), (2, 2, 'b')",
        0,
        "",
    ),
    "index without the reference": ("; CREATE UNIQUE INDEX tags ON c (tag)", "(1, 1, 'a'), (2, 2, 'b')", 0, ""),
}


@pytest.mark.parametrize("kind", COLLISIONS)
@pytest.mark.representatives("two rows that move", "nulls are distinct", "partial index", "expression of the reference")
def test_collisions_are_counted(sql, conn, clean, kind):
    """Rows that would collide on one of the child table's unique indexes are counted before anything moves."""
    form, rows, count, index = COLLISIONS[kind]
    close = "" if form.startswith(";") else ", " + form
    sql(
        PARENT
        + f"CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t, tag text{close})"
        + form.lstrip(form if close else "")
    )
    sql(f"INSERT INTO c VALUES {rows}")
    messages = [f.message for f in preflight(conn, KEY, RULE).findings if f.id == "repoint-collision"]
    if not count:
        assert [] == messages
        clean(KEY, references="repoint", divergent="archive")
        assert [1, 4, 6] == live(sql)
        return
    collision = f"{quantity(count, 'row')} of public.c would collide on {index}"
    assert [f"Pointing referencing rows at the survivors would violate a constraint: {collision}."] == messages
    with pytest.raises(Refused, match=re.escape(collision)):
        list(cleanup(conn, KEY, RULE))
    assert [1, 2, 3, 4, 5, 6] == live(sql)


@pytest.mark.min_pg(15)
def test_collision_of_nulls(sql, conn):
    """Two NULLs collide if the child table's index treats them as equal."""
    sql(
        PARENT
        + "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t, tag text, UNIQUE NULLS NOT DISTINCT (t_id, tag))"
    )
    sql("INSERT INTO c VALUES (1, 1, NULL), (2, 2, NULL)")
    assert ["repoint-collision"] == [f.id for f in preflight(conn, KEY, RULE).findings if f.severity == "error"]


def test_collision_on_the_primary_key_of_the_child(sql, conn):
    """A primary key that contains the reference causes collisions like any other unique index."""
    sql(
        PARENT
        + "CREATE TABLE c (t_id int REFERENCES t, n int, PRIMARY KEY (t_id, n)); INSERT INTO c VALUES (1, 1), (2, 1)"
    )
    with pytest.raises(Refused, match=r"1 row of public\.c would collide on c_pkey"):
        list(cleanup(conn, KEY, RULE))


def test_collision_through_two_references(sql, conn):
    """Two foreign keys of one child table are counted together, because both columns change."""
    sql(PARENT + "CREATE TABLE c (id int PRIMARY KEY, a int REFERENCES t, b int REFERENCES t, UNIQUE (a, b))")
    sql("INSERT INTO c VALUES (1, 2, 5), (2, 1, 4), (3, 6, 6)")
    with pytest.raises(Refused, match=r"1 row of public\.c would collide on c_a_b_key"):
        list(cleanup(conn, KEY, RULE))


def test_collision_after_the_count(sql, conn, clean):
    """A collision that appears after the count rolls back the batch, and the message says what to do."""
    sql(PARENT + "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t, tag text, UNIQUE (t_id, tag))")
    sql("INSERT INTO c VALUES (1, 2, 'a'), (2, 3, 'b')")
    batches = cleanup(conn, KEY, CleanupRule(references="repoint", divergent="archive", batch_size=2))
    next(batches)
    sql("INSERT INTO c VALUES (3, 1, 'b')")
    with pytest.raises(Refused, match=r"\[repoint-collision\] Pointing referencing rows .*c_t_id_tag_key"):
        list(batches)
    assert [(1, 1, "a"), (2, 3, "b"), (3, 1, "b")] == sql("SELECT * FROM c ORDER BY id")
    assert [("failed", 1)] == sql("SELECT state, archived FROM dupe_audit.run")

    sql("DELETE FROM c WHERE id = 3")
    clean(KEY, references="repoint", divergent="archive")
    assert [(1, 1, "a"), (2, 1, "b")] == sql("SELECT * FROM c ORDER BY id")


@pytest.mark.min_pg(18)
def test_reference_to_a_period(sql, conn):
    """A child that references a period can reference several rows at once, so it cannot follow one survivor."""
    sql(
        "CREATE TABLE t (id int4range, during daterange, k int, PRIMARY KEY (id, during WITHOUT OVERLAPS));"
        "CREATE TABLE c (id int PRIMARY KEY, t_id int4range, during daterange,"
        " FOREIGN KEY (t_id, PERIOD during) REFERENCES t (id, PERIOD during));"
        "INSERT INTO t VALUES ('[1,2)', '[2026-01-01,2027-01-01)', 7), ('[2,3)', '[2026-01-01,2027-01-01)', 7);"
        "INSERT INTO c VALUES (1, '[1,2)', '[2026-02-01,2026-03-01)'), (2, '[2,3)', '[2026-02-01,2026-03-01)')"
    )
    with pytest.raises(Refused, match="it references a period"):
        list(cleanup(conn, KEY, RULE))


def test_collision_at_commit(sql, conn):
    """A deferred constraint that fails at commit rolls back the batch, and the message says what to do."""
    sql(PARENT + "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t)")
    sql("INSERT INTO c VALUES (1, 2)")
    sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE unique_violation; END'")
    sql(
        "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON c DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION f()"
    )
    with pytest.raises(Refused, match=r"\[repoint-collision\] Pointing referencing rows"):
        list(cleanup(conn, KEY, RULE))
    assert ([1, 2, 3, 4, 5, 6], [(1, 2)]) == (live(sql), sql("SELECT * FROM c"))


def test_trigger_of_a_child_must_be_accepted(sql, conn):
    """A trigger that fires for each moved child is an error until it is accepted; a trigger on other columns is not."""
    sql(
        PARENT
        + "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t, tag text); INSERT INTO c VALUES (1, 2, 'a')"
    )
    sql("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'")
    sql("CREATE TRIGGER other BEFORE UPDATE OF tag ON c FOR EACH ROW EXECUTE FUNCTION f()")
    assert [] == blockers(conn, KEY, RULE)
    sql("CREATE TRIGGER audit AFTER UPDATE ON c FOR EACH ROW EXECUTE FUNCTION f()")
    (finding,) = blockers(conn, KEY, RULE)
    assert ("child-trigger", True) == (finding.id, "audit on public.c" in finding.message)
    assert [] == blockers(conn, KEY, RULE, accept=["child-trigger"])
    assert [] == blockers(conn, KEY, CleanupRule(divergent="archive"))


@pytest.mark.parametrize(
    ("table", "body"),
    [("c", "RETURN NULL"), ("c", "new.t_id := old.t_id; RETURN new"), ("t", "RETURN NULL")],
    ids=["keeps the child", "keeps its reference", "keeps the parent"],
)
def test_trigger_that_interferes_loses_nothing(sql, conn, table, body):
    """A trigger that keeps children or parents where they are stops the cleanup, and no such child or parent moves."""
    sql(
        PARENT
        + "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE); INSERT INTO c VALUES (1, 2)"
    )
    sql(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body}; END'")
    when = "UPDATE" if table == "c" else "DELETE"
    sql(f"CREATE TRIGGER audit BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION f()")
    with pytest.raises(DupeAuditError, match="trigger"):
        list(cleanup(conn, KEY, RULE, give_up_after="1s"))
    archived = [row_id for (row_id,) in sql("SELECT id FROM dupe_audit.archive_1")]
    assert [1, 2, 3, 4, 5, 6] == sorted([*live(sql), *archived])
    assert 2 not in archived
    assert [(1, 2)] == sql("SELECT * FROM c")
    assert [(0,)] == sql("SELECT moved FROM dupe_audit.child")


def test_child_table_that_the_role_cannot_read(sql, connect, member):
    """A child table that the role cannot read is refused beforehand, whatever the rule says about references."""
    sql(PARENT + "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t)")
    database = sql("SELECT current_database()")[0][0]
    sql(f'ALTER TABLE t OWNER TO "{member}"; GRANT CREATE ON SCHEMA public TO "{member}"')
    sql(f'GRANT CREATE ON DATABASE "{database}" TO "{member}"')
    (finding,) = blockers(connect(role=member), KEY, CleanupRule())
    assert ("missing-privilege", True) == (finding.id, "SELECT ON c" in finding.message)
    sql(f'GRANT SELECT ON c TO "{member}"')
    assert [] == blockers(connect(role=member), KEY, CleanupRule())


def test_child_table_that_the_role_cannot_update(sql, connect, member):
    """A child table that the role can read but not update is reported before anything is archived."""
    sql(PARENT + "CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t); INSERT INTO c VALUES (1, 2)")
    database = sql("SELECT current_database()")[0][0]
    sql(f'ALTER TABLE t OWNER TO "{member}"; GRANT SELECT, REFERENCES ON c TO "{member}"')
    sql(f'GRANT CREATE ON DATABASE "{database}" TO "{member}"; GRANT CREATE ON SCHEMA public TO "{member}"')
    with pytest.raises(Refused, match="may not SELECT and UPDATE"):
        list(cleanup(connect(role=member), KEY, RULE))
    sql(f'GRANT UPDATE ON c TO "{member}"')
    list(cleanup(connect(role=member), KEY, RULE))
    assert [(1, 1)] == sql("SELECT * FROM c")
