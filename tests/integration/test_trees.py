"""Partitioned tables: what is refused at first, what arrives or leaves meanwhile, and what verify finds."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from psycopg import errors
from sqlalchemy import event

from dupe_audit.cleanup import Horizon, cleanup
from dupe_audit.constraint import drop, enforce, tree
from dupe_audit.errors import Blocked, Refused
from dupe_audit.model import BuildRule, Change, CleanupRule, UniqueKey
from dupe_audit.postgres import trees
from dupe_audit.postgres.trees import Locks
from dupe_audit.preflight import blockers, preflight
from dupe_audit.restore import restore
from dupe_audit.verify import verify

KEY = UniqueKey(table="t", columns=("k", "r"), name="uq")
TREE = """
CREATE TABLE t (id int, k int, r int, PRIMARY KEY (id, r)) PARTITION BY RANGE (r);
CREATE TABLE t_a PARTITION OF t FOR VALUES FROM (0) TO (10);
CREATE TABLE t_b PARTITION OF t FOR VALUES FROM (10) TO (20) PARTITION BY LIST (r);
CREATE TABLE t_b1 PARTITION OF t_b FOR VALUES IN (11);
CREATE TABLE t_b2 PARTITION OF t_b DEFAULT;
INSERT INTO t VALUES (1, 7, 1), (2, 7, 1), (3, 7, 11), (4, 7, 11), (5, 7, 12), (6, NULL, 1), (7, NULL, 1)
"""
ROWS = "SELECT tableoid::regclass::text, t::text FROM t ORDER BY 1, 2"
LEFT = """
SELECT indexrelid::regclass::text FROM pg_index
WHERE indisunique AND NOT indisprimary AND indrelid::regclass::text IN ('t', 't_a', 't_b', 't_b1', 't_b2', 't_late')
"""
FOREIGN = "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w"
PLAIN = "CREATE TABLE t (id int, k int, r int) PARTITION BY RANGE (r)"
TRIGGER = """
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
CREATE TRIGGER own BEFORE DELETE ON t_b1 FOR EACH ROW EXECUTE FUNCTION f()
"""


@pytest.mark.parametrize(
    ("id_", "where", "statement"),
    [
        (
            "partition-key-not-covered",
            "public.t is partitioned by id",
            "CREATE TABLE t (id int, k int, r int) PARTITION BY RANGE (id)",
        ),
        (
            "partition-key-not-covered",
            "public.t_a is partitioned by id",
            f"{PLAIN}; CREATE TABLE t_a PARTITION OF t DEFAULT PARTITION BY HASH (r, id)",
        ),
        (
            "partition-key-expression",
            "public.t is partitioned by an expression",
            "CREATE TABLE t (id int, k int, r int) PARTITION BY RANGE (abs(r))",
        ),
        (
            "partition-collation",
            "public.t is partitioned by r",
            'CREATE TABLE t (id int, k int, r text COLLATE "C") PARTITION BY RANGE (r COLLATE "POSIX")',
        ),
        (
            "foreign-partition",
            "public.t_f is a foreign table",
            f"{PLAIN}; {FOREIGN}; CREATE FOREIGN TABLE t_f PARTITION OF t DEFAULT SERVER s",
        ),
        (
            "partition-referenced",
            "references the single partition public.t_a: c_id_fkey on c",
            f"{TREE}; ALTER TABLE t_a ADD UNIQUE (id); CREATE TABLE c (id int REFERENCES t_a (id))",
        ),
        (
            "delete-trigger",
            "own",
            f"{TREE}; {TRIGGER}",
        ),
    ],
)
def test_obstacle_in_a_tree(sql, conn, id_, where, statement):
    """What makes the constraint of a tree impossible is found at the level or leaf where it is."""
    sql(statement)
    (finding,) = [finding for finding in blockers(conn, KEY, CleanupRule()) if finding.id == id_]
    assert where in finding.message


def test_partition_of_another_owner(sql, conn):
    """A leaf whose owner this role does not belong to is refused before the first row is archived."""
    sql(f"{TREE}; CREATE ROLE tree_owner; CREATE ROLE leaf_owner; GRANT CREATE, USAGE ON SCHEMA public TO tree_owner")
    try:
        sql("ALTER TABLE t OWNER TO tree_owner; ALTER TABLE t_a OWNER TO leaf_owner")
        conn.exec_driver_sql("SET ROLE tree_owner")
        messages = [each.message for each in blockers(conn, KEY, CleanupRule()) if each.id == "partition-owner"]
        assert any(message.startswith("public.t_a belongs to role leaf_owner") for message in messages)
    finally:
        conn.exec_driver_sql("RESET ROLE")
        sql("DROP OWNED BY tree_owner, leaf_owner CASCADE; DROP ROLE tree_owner, leaf_owner")


def test_interrupted_detach(sql, conn, psycopg_connect, wait_until):
    """A leaf whose concurrent detach was interrupted is named, with the statement that completes it."""
    sql(TREE)
    reader, detaching = psycopg_connect(), psycopg_connect(autocommit=True)
    reader.execute("SELECT FROM t")
    with ThreadPoolExecutor(1) as pool:
        detached = pool.submit(detaching.execute, "ALTER TABLE t DETACH PARTITION t_a CONCURRENTLY")
        wait_until(lambda: sql("SELECT 1 FROM pg_inherits WHERE inhdetachpending"))
        detaching.cancel_safe()
        with pytest.raises(errors.QueryCanceled):
            detached.result()
    reader.rollback()
    (finding,) = [each for each in blockers(conn, KEY, CleanupRule()) if each.id == "detach-pending"]
    assert "DETACH PARTITION public.t_a FINALIZE" in finding.help


def test_refusal_in_one_leaf_archives_nothing_in_any(sql, conn, clean):
    """All leaves are judged before the first row is archived, so divergent data in the last one stops the whole."""
    sql(f"{TREE}; ALTER TABLE t ADD note text; UPDATE t SET note = id::text WHERE r = 11")
    before = sql(ROWS)
    with pytest.raises(Refused) as refused:
        clean(KEY)
    assert [("divergent-duplicates", True)] == [(f.id, "t_b1" in f.message) for f in refused.value.findings]
    assert before == sql(ROWS)
    assert [(0,)] == sql("SELECT count(*) FROM dupe_audit.archive_1")


def test_statements_of_a_batch_name_one_leaf(sql, conn, clean):
    """No statement that ranks, locks or moves rows names the root, whose locks would be those of the whole tree."""
    sql(TREE)
    statements = []
    event.listen(conn.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    clean(KEY)
    moved = [
        text for text in statements if "FOR UPDATE OF t" in text or "DELETE FROM ONLY" in text or "row_number()" in text
    ]
    assert len(moved) > 4
    assert [text for text in moved if '"public"."t"' in text or "public.t " in text] == []


#: fifty more leaves, of which two have one extra each
LARGE = f"""
{TREE};
DO $do$ BEGIN FOR i IN 100..149 LOOP
    EXECUTE format('CREATE TABLE t_%s PARTITION OF t FOR VALUES FROM (%s) TO (%s)', i, i, i + 1);
END LOOP; END $do$;
INSERT INTO t SELECT i, i, i FROM generate_series(100, 149) AS i;
INSERT INTO t VALUES (200, 110, 110), (201, 120, 120)
"""
STEPS = {
    "preflight": lambda conn: preflight(conn, KEY),
    "blockers": lambda conn: blockers(conn, KEY, CleanupRule()),
    "cleanup": lambda conn: list(cleanup(conn, KEY, CleanupRule(), horizon=Horizon())),
    "verify": lambda conn: verify(conn, KEY),
}


@pytest.mark.parametrize("step", STEPS)
def test_leaves_without_extras_cost_no_statement_of_their_own(sql, conn, step):
    """Fifty leaves more, with the same number of extras, add a few statements to a step, and not a few to each."""
    counts = []
    for extra_leaves in (0, 50):
        sql("DROP TABLE IF EXISTS t CASCADE; DROP SCHEMA IF EXISTS dupe_audit CASCADE")
        sql(f"{LARGE}; DELETE FROM t WHERE r >= 100 AND id >= 200")
        if not extra_leaves:
            sql("DO $do$ BEGIN FOR i IN 100..149 LOOP EXECUTE format('DROP TABLE t_%s', i); END LOOP; END $do$")
        statements = []
        listener = lambda *args, to=statements: to.append(args[2])  # noqa: E731
        event.listen(conn.engine, "before_cursor_execute", listener)
        STEPS[step](conn)
        event.remove(conn.engine, "before_cursor_execute", listener)
        counts.append(len(statements))
    assert counts[1] - counts[0] < 25


def test_handfuls_are_bounded(sql, conn, monkeypatch):
    """One statement reads at most fifty leaves, and a leaf that is larger than the limit is read alone."""
    sql(f"{LARGE}; INSERT INTO t SELECT i, i, 120 FROM generate_series(1000, 2000) AS i")
    relid = sql("SELECT 't'::regclass::oid")[0][0]
    every = trees.leaves(conn, relid)
    assert [50, 3] == [len(handful) for handful in trees.handfuls(conn, every)]
    monkeypatch.setattr(trees, "MOST_BYTES", 16 * 2**10)
    handfuls = [[leaf.table for leaf in handful] for handful in trees.handfuls(conn, every)]
    assert ["t_120"] in handfuls
    assert [leaf.table for leaf in every] == [name for handful in handfuls for name in handful]


def test_leaves_of_one_statement_are_told_apart(sql, conn):
    """Extras of leaves that one statement reads are archived and counted in their leaves; the rest is recorded."""
    sql(LARGE)
    counts = preflight(conn, KEY).counts
    assert counts
    assert (59, 4, 4) == (counts.rows, counts.groups, counts.extras)
    list(cleanup(conn, KEY, CleanupRule()))
    assert [("public.t_110", 1), ("public.t_120", 1), ("public.t_a", 1), ("public.t_b1", 1)] == sql(
        "SELECT dupe_audit_leaf, count(*) FROM dupe_audit.archive_1 GROUP BY 1 ORDER BY 1"
    )
    assert [(53, 59, 4, 4)] == sql(
        "SELECT count(*), sum(l.rows_before), r.groups, r.extras FROM dupe_audit.leaf l JOIN dupe_audit.run r "
        "ON r.id = l.run_id GROUP BY r.groups, r.extras"
    )


def test_horizon_of_leaves_that_were_read_together(sql, conn, monkeypatch):
    """A further cleanup ranks only newer keys of each leaf, and finds the extra that has arrived in one of them."""
    sql(LARGE)
    horizon = Horizon()
    assert 4 == sum(batch.archived for batch in cleanup(conn, KEY, CleanupRule(), horizon=horizon))
    sql("INSERT INTO t VALUES (300, 130, 130)")
    statements = []
    event.listen(conn.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert 1 == sum(batch.archived for batch in cleanup(conn, KEY, CleanupRule(), horizon=horizon))
    probes = [text for text in statements if "AS groups, NULL" in text]
    assert probes
    assert all("arrived" in text for text in probes)


def test_locked_leaf_is_named_though_leaves_are_read_together(sql, conn, psycopg_connect):
    """Where another session holds one leaf of a handful, the error names that leaf."""
    sql(LARGE)
    holder = psycopg_connect()
    holder.execute("LOCK TABLE t_130")
    with pytest.raises(Blocked, match="t_130"):
        list(cleanup(conn, KEY, CleanupRule(), lock_timeout="50ms", give_up_after="200ms"))


def test_extras_of_a_leaf_with_a_foreign_key(sql, conn):
    """What an INSERT into a leaf would check is counted under the name that the leaf's rows are read by."""
    sql(f"CREATE TABLE p (id int PRIMARY KEY); INSERT INTO p VALUES (1); {TREE}; ALTER TABLE t ADD p int REFERENCES p")
    sql("UPDATE t SET p = 1; SET session_replication_role = replica; DELETE FROM p; RESET session_replication_role")
    (refused,) = [
        each for each in preflight(conn, KEY).findings if each.id == "cannot-restore" and "t_a" in each.message
    ]
    assert "foreign key" in refused.message
    with pytest.raises(Refused, match="foreign key"):
        list(cleanup(conn, KEY, CleanupRule(divergent="archive")))


@pytest.mark.parametrize("step", ["_level", "_unattached", "_attach", "_complete"])
@pytest.mark.parametrize("parent", ["t", "t_b"])
@pytest.mark.representatives("t-_attach", "t_b-_level")
def test_leaf_that_arrives_meanwhile(sql, conn, clean, monkeypatch, step, parent):
    """A partition that is created before, between or after the steps has its part at the end, and the root is valid."""
    sql(TREE)
    clean(KEY)
    original, arrived = getattr(tree.Tree, step), []

    def arrives_first(self, *args, **kwargs):
        if not arrived:
            arrived.append(step)
            bounds = "FROM (20) TO (30)" if parent == "t" else "IN (13)"
            sql(f"CREATE TABLE t_late PARTITION OF {parent} FOR VALUES {bounds}")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(tree.Tree, step, arrives_first)
    enforce(conn, KEY, BuildRule())
    report = verify(conn, KEY)
    assert (True, []) == (report.ok, [f.id for f in report.findings if f.severity == "error"])
    drop(conn, KEY, BuildRule())
    assert [] == sql(LEFT)


def test_filled_leaf_that_is_attached_meanwhile_is_cleaned(sql, conn, monkeypatch):
    """A table with duplicates that becomes a partition in between is cleaned under the same run."""
    sql(f"{TREE}; CREATE TABLE t_late (LIKE t INCLUDING ALL); INSERT INTO t_late VALUES (8, 1, 21), (9, 1, 21)")
    list(cleanup(conn, KEY, CleanupRule()))
    original, arrived = tree.Tree._level, []

    def arrives_first(self, part):
        if not arrived:
            arrived.append(sql("ALTER TABLE t ATTACH PARTITION t_late FOR VALUES FROM (20) TO (30)"))
        return original(self, part)

    monkeypatch.setattr(tree.Tree, "_level", arrives_first)

    def again(leaf):
        return sum(batch.archived for batch in cleanup(conn, KEY, CleanupRule(), leaf=leaf))

    enforce(conn, KEY, BuildRule(), clean_again=again)
    assert verify(conn, KEY).ok
    assert [("public.t_a", 1), ("public.t_b1", 1), ("public.t_late", 1)] == sql(
        "SELECT dupe_audit_leaf, count(*) FROM dupe_audit.archive_1 GROUP BY 1 ORDER BY 1"
    )


@pytest.mark.parametrize("statement", ["DROP TABLE t_b1", "ALTER TABLE t_b DETACH PARTITION t_b1"])
def test_leaf_that_leaves_meanwhile(sql, conn, clean, monkeypatch, statement):
    """A leaf that is dropped or detached meanwhile is left out, and the constraint of the others becomes valid."""
    sql(TREE)
    clean(KEY)
    original, left = tree.Tree._attach, []

    def leaves_first(self, *args):
        if not left:
            left.append(sql(statement))
        return original(self, *args)

    monkeypatch.setattr(tree.Tree, "_attach", leaves_first)
    enforce(conn, KEY, BuildRule())
    assert verify(conn, KEY).ok


@pytest.mark.parametrize("moment", ["_leaf", "_level", "_attach", "_complete"])
@pytest.mark.representatives("_leaf", "_attach")
def test_killed_build_is_continued_or_dropped(sql, conn, clean, monkeypatch, moment):
    """After an error at any step, the same call ends in a valid constraint, and a drop leaves nothing of it."""
    sql(TREE)
    clean(KEY)
    calls = []

    def fail(*_args, **_kwargs):
        calls.append(moment)
        raise RuntimeError(moment)

    for again in (False, True):
        with monkeypatch.context() as patch:
            patch.setattr(tree.Tree, moment, fail)
            with pytest.raises(RuntimeError, match=moment):
                enforce(conn, KEY, BuildRule())
        if again:
            enforce(conn, KEY, BuildRule())
            assert verify(conn, KEY).ok
        drop(conn, KEY, BuildRule())
        assert [] == sql(LEFT)
    assert len(calls) == 2


def test_killed_build_of_a_run_without_a_name(sql, conn, clean, monkeypatch):
    """A drop finds the indexes of a build that died on its leaves, although the cleanup did not know the constraint."""
    sql(TREE)
    clean(replace(KEY, name=None))
    with monkeypatch.context() as patch:
        patch.setattr(tree.Tree, "_level", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            enforce(conn, KEY, BuildRule())
    assert 3 == len(sql(LEFT))
    drop(conn, KEY, BuildRule())
    assert [] == sql(LEFT)


def test_part_that_is_checked_at_another_time(sql, conn, clean):
    """A deferrable constraint that somebody attached to the tree is reported, though PostgreSQL accepts it."""
    sql(TREE)
    clean(KEY)
    sql("ALTER TABLE ONLY t ADD CONSTRAINT uq UNIQUE (k, r); ALTER TABLE t_b ADD CONSTRAINT uq_b UNIQUE (k, r)")
    sql("ALTER TABLE t_a ADD CONSTRAINT uq_a UNIQUE (k, r) DEFERRABLE")
    sql("ALTER INDEX uq ATTACH PARTITION uq_a; ALTER INDEX uq ATTACH PARTITION uq_b")
    (part,) = [f for f in verify(conn, KEY).findings if f.severity == "error"]
    assert ("leaf-not-enforced", True) == (part.id, "t_a" in part.message)
    assert part.help.startswith("If the revision is not applied yet, run: alembic upgrade head, which")
    assert part.help.endswith("Otherwise attach the part by hand: docs/reference/findings/leaf-not-enforced.md")


def test_half_done_work_of_others_is_not_continued(sql, conn, clean):
    """An invalid constraint of the root that the ledger does not know stops the build before anything is created."""
    sql(TREE)
    clean(KEY)
    sql("ALTER TABLE ONLY t ADD CONSTRAINT uq UNIQUE (k, r)")
    with pytest.raises(Refused, match="invalid-index"):
        enforce(conn, KEY, BuildRule())
    assert [("uq",)] == sql(LEFT)


def test_misplaced_rows(sql, conn):
    """Rows that belong to another leaf, because the hash function has changed, are counted; the constraint is valid."""
    sql(
        "CREATE FUNCTION h(int, bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT $1::bigint'; "
        "CREATE OPERATOR CLASS int_h FOR TYPE int USING hash AS OPERATOR 1 =, FUNCTION 2 h(int, bigint); "
        "CREATE TABLE t (id int, k int, r int) PARTITION BY HASH (r int_h); "
        "CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
        "CREATE TABLE t_1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1); "
        "INSERT INTO t SELECT i, 1, i FROM generate_series(1, 10) AS i; "
        "CREATE OR REPLACE FUNCTION h(int, bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT $1::bigint + 1'"
    )
    list(cleanup(conn, KEY, CleanupRule()))
    enforce(conn, KEY, BuildRule())
    report = verify(conn, KEY)
    assert not report.ok
    assert [("misplaced-rows", "error")] * 2 == [(f.id, f.severity) for f in report.findings if f.severity == "error"]


def test_rows_of_leaves_that_are_gone_stay_in_the_archive(sql, conn, clean):
    """Rows of a dropped and of a detached leaf stay archived with the reason; the others return, once."""
    sql(TREE)
    clean(KEY)
    sql("DROP TABLE t_b1; ALTER TABLE t DETACH PARTITION t_b; INSERT INTO t VALUES (10, 1, 1)")
    for _ in range(2):
        with pytest.raises(Refused, match="rows-not-restored"):
            list(restore(conn, 1))
        assert [(1,)] == sql("SELECT restored FROM dupe_audit.run")
    assert [("public.t_b1", "no partition of relation")] == sql(
        "SELECT dupe_audit_leaf, substring(dupe_audit_problem FROM 'no partition of relation') "
        "FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL"
    )


def test_partition_column_cannot_be_amended(sql, conn):
    """A partition column is in the primary key, so an amendment that would move the row to another leaf is refused."""
    sql(TREE)
    rule = CleanupRule(exact="amend", changes=(Change("r", "r + 1"),))
    (finding,) = [each for each in blockers(conn, KEY, rule) if each.severity == "error"]
    assert (finding.id, "r is in the primary key" in finding.message) == ("column-not-changeable", True)


def test_partition_column_of_a_tree_without_a_primary_key_cannot_be_amended(sql, conn):
    """Where no primary key contains the partition column, an amendment is refused for the lack of that key."""
    sql("CREATE TABLE t (id int, k int, r int) PARTITION BY RANGE (r); CREATE TABLE t_a PARTITION OF t DEFAULT")
    rule = CleanupRule(exact="amend", changes=(Change("r", "r + 10"),))
    (finding,) = [each for each in blockers(conn, KEY, rule) if each.severity == "error"]
    assert (finding.id, "no primary key" in finding.message) == ("column-not-changeable", True)


def test_lock_table_that_is_too_small_for_the_downgrade(sql, conn, monkeypatch):
    """A tree whose constraint could not be dropped at once is refused, unless that is accepted."""
    sql(TREE)
    monkeypatch.setattr("dupe_audit.preflight.trees.locks_to_drop", lambda *_: Locks(9000, 6400))
    (finding,) = [each for each in blockers(conn, KEY, CleanupRule()) if each.severity == "error"]
    assert (finding.id, "about 9,000 locks" in finding.message) == ("lock-table-too-small", True)
    assert [] == blockers(conn, KEY, CleanupRule(), accept=["lock-table-too-small"])


def test_preflight_adds_up_the_leaves(sql, conn):
    """The report of a tree has the sums of its leaves; rows with a NULL in the key are no duplicates."""
    sql(TREE)
    report = preflight(conn, KEY, show_keys=True, samples=5)
    assert report.counts
    counts = report.counts
    assert (7, 2, 2, 2, 4) == (counts.rows, counts.null_key_rows, counts.groups, counts.extras, counts.affected)
    assert [("(7,1)", 2), ("(7,11)", 2)] == sorted(report.examples)
    assert len(report.samples) == 2


def test_sample_of_a_tree_names_the_leaf(sql, conn):
    """Where the primary key would repeat values of the key, a row is identified by its leaf and its place there."""
    sql(TREE)
    rows = [sample.survivor.identity for sample in preflight(conn, KEY, samples=5).samples]
    assert [("t_a", "(0,1)"), ("t_b1", "(0,1)")] == sorted((row["tableoid"], row["ctid"]) for row in rows)


def test_size_of_the_index_of_a_tree(sql, conn, clean):
    """The size that verify reports is that of the parts, because the index of a partitioned table has no pages."""
    sql(TREE)
    clean(KEY)
    enforce(conn, KEY, BuildRule())
    sql("ANALYZE t")
    index = verify(conn, KEY).index
    assert index
    assert [(index.bytes,)] == sql("SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relname ~ '^uq$|^t_.*_key$'")


def test_holder_of_a_leaf_is_named(sql, conn, clean, psycopg_connect):
    """A drop that waits for the reader of one leaf names the leaf and the session."""
    sql(TREE)
    clean(KEY)
    enforce(conn, KEY, BuildRule())
    reader = psycopg_connect()
    reader.execute("SELECT FROM t_b1")
    with pytest.raises(Blocked) as blocked:
        drop(conn, KEY, BuildRule(lock_timeout="50ms", give_up_after="200ms"))
    assert f"pid {reader.info.backend_pid} (" in str(blocked.value)
    assert "AccessShareLock on t_b1)" in str(blocked.value)
    reader.rollback()
    drop(conn, KEY, BuildRule())
    assert [] == sql(LEFT)
