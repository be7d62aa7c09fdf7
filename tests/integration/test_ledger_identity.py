"""Which table and which columns a run belongs to, after changes that the ledger does not see."""

import pytest

from dupe_audit import ledger, statements
from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import drop, enforce
from dupe_audit.errors import DupeAuditError, Refused
from dupe_audit.model import BuildRule, CleanupRule, UniqueKey
from dupe_audit.restore import restore

KEY = UniqueKey(table="t", columns=("k",), name="uq")
T = "CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 7, 1), (2, 7, 2), (3, 8, 3)"

#: as an earlier version created it, with the run of T; ``{relid}`` is the table's oid
OLD_LEDGER = """
CREATE SCHEMA dupe_audit;
CREATE TABLE dupe_audit.run (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relid oid NOT NULL,
    schema_name text NOT NULL,
    table_name text NOT NULL,
    key_columns text[] NOT NULL,
    nulls_not_distinct boolean NOT NULL,
    constraint_name text,
    building boolean NOT NULL DEFAULT false,
    keep text CHECK (keep IN ('first', 'last')),
    order_by text[] NOT NULL DEFAULT '{{}}',
    divergent text CHECK (divergent IN ('refuse', 'archive')),
    on_reference text CHECK (on_reference IN ('refuse', 'repoint')),
    ignored text[] NOT NULL DEFAULT '{{}}',
    batch_size integer,
    pause double precision,
    max_replica_lag double precision,
    state text NOT NULL CHECK (state IN ('cleaning', 'clean', 'enforced', 'dropped', 'restored', 'failed')),
    revision text,
    rows_before bigint,
    groups bigint NOT NULL DEFAULT 0,
    extras bigint NOT NULL DEFAULT 0,
    archived bigint NOT NULL DEFAULT 0,
    restored bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    purged_at timestamptz,
    software_version text NOT NULL,
    who text NOT NULL DEFAULT 'postgres@socket'
);
CREATE TABLE dupe_audit.batch (
    run_id bigint NOT NULL REFERENCES dupe_audit.run (id),
    number bigint NOT NULL,
    archived bigint NOT NULL DEFAULT 0,
    restored bigint NOT NULL DEFAULT 0,
    spared bigint NOT NULL DEFAULT 0,
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, number)
);
CREATE TABLE dupe_audit.child (
    run_id bigint NOT NULL REFERENCES dupe_audit.run (id),
    number integer NOT NULL,
    relid oid NOT NULL,
    child text NOT NULL,
    constraint_name text NOT NULL,
    identity int2[] NOT NULL,
    columns int2[] NOT NULL,
    moved bigint NOT NULL DEFAULT 0,
    returned bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, number)
);
CREATE TABLE dupe_audit.archive_1 (
    id int, k int, v int, dupe_audit_survivor_1 int,
    dupe_audit_batch bigint NOT NULL,
    dupe_audit_archived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dupe_audit_restored_at timestamptz,
    dupe_audit_problem text,
    dupe_audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
INSERT INTO dupe_audit.run (relid, schema_name, table_name, key_columns, nulls_not_distinct, constraint_name, keep,
    divergent, on_reference, batch_size, pause, state, rows_before, groups, extras, archived, software_version)
VALUES ({relid}, 'public', 't', '{{k}}', false, 'uq', 'first',
    'archive', 'repoint', 5000, 0, 'enforced', 3, 1, 1, 1, '0.1');
INSERT INTO dupe_audit.batch (run_id, number, archived) VALUES (1, 1, 1);
INSERT INTO dupe_audit.archive_1 (id, k, v, dupe_audit_survivor_1, dupe_audit_batch) VALUES (2, 7, 2, 1, 1);
CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t);
INSERT INTO c VALUES (9, 1);
INSERT INTO dupe_audit.child (run_id, number, relid, child, constraint_name, identity, columns, moved)
VALUES (1, 1, 'c'::regclass, 'public.c', 'c_t_id_fkey', '{{1}}', '{{2}}', 1);
CREATE TABLE dupe_audit.children_1_1 (
    i1 int, o1 int, s1 int, dupe_audit_batch bigint NOT NULL, dupe_audit_returned_at timestamptz,
    dupe_audit_problem text,
    dupe_audit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
INSERT INTO dupe_audit.children_1_1 (i1, o1, s1, dupe_audit_batch) VALUES (9, 2, 1, 1);
"""


@pytest.fixture
def old_ledger(sql, value):
    """A table that an earlier version has cleaned; takes the oid that its ledger has."""

    def create(relid=None):
        sql(T + "; DELETE FROM t WHERE id = 2; ALTER TABLE t ADD CONSTRAINT uq UNIQUE (k)")
        sql(OLD_LEDGER.format(relid=relid or value("SELECT 't'::regclass::oid::int8")))

    return create


def upgrade(sql, conn):
    """Execute what the refusal of an old ledger says."""
    with pytest.raises(DupeAuditError, match="An earlier version") as refusal:
        ledger.get_run(conn, 1)
    sql(str(refusal.value).partition("again: ")[2])


def test_ledger_of_an_earlier_version_is_brought_up(sql, conn, dump, value, old_ledger):
    """The printed statements bring up a ledger that knows tables by oid alone; its run is continued and restored."""
    old_ledger()
    upgrade(sql, conn)
    run, rule = ledger.get_run(conn, 1)
    assert ("public.t", "enforced", "archive") == (run.relation, run.state, rule and rule.divergent)

    drop(conn, KEY, BuildRule())
    list(restore(conn, 1))
    assert ["(1,7,1)", "(2,7,2)", "(3,8,3)"] == dump("t")
    assert ["(9,2)"] == dump("c")

    list(cleanup(conn, KEY, CleanupRule(divergent="archive", references="repoint")))
    list(restore(conn, 2))
    assert ["(1,7,1)", "(2,7,2)", "(3,8,3)"] == dump("t")
    with pytest.raises(DupeAuditError, match="no run 7"):
        ledger.get_run(conn, 7)


def test_old_ledger_is_continued(sql, conn, dump, old_ledger):
    """A run of an earlier version takes up new duplicates, and gets its columns by number and name."""
    old_ledger()
    upgrade(sql, conn)
    sql("ALTER TABLE t DROP CONSTRAINT uq; INSERT INTO t VALUES (4, 8, 4)")
    list(cleanup(conn, KEY, CleanupRule(divergent="archive", references="repoint")))
    assert [(["id", "k", "v"], [1, 2, 3], [2])] == sql(
        "SELECT archived_columns, archived_numbers, key_numbers FROM dupe_audit.run"
    )
    list(restore(conn, 1))
    assert ["(1,7,1)", "(2,7,2)", "(3,8,3)", "(4,8,4)"] == dump("t")


def test_old_ledger_from_a_dump_needs_the_name_of_the_table(sql, conn, dump, old_ledger, value):
    """If oid and name of an old run disagree, nothing is dropped until somebody has entered the table."""
    sql("CREATE TABLE other (LIKE pg_class)")
    old_ledger(value("SELECT 'other'::regclass::oid::int8"))
    upgrade(sql, conn)

    with pytest.raises(Refused, match="table-replaced"):
        drop(conn, KEY, BuildRule())
    with pytest.raises(DupeAuditError, match="was dropped, or dropped and re-created") as refusal:
        list(restore(conn, 1))
    assert [(1,)] == sql("SELECT count(*)::int FROM pg_constraint WHERE conname = 'uq'")

    remedy = str(refusal.value).partition("again: ")[2]
    sql(remedy.replace("SCHEMA", "public").replace("TABLE", "t"))
    drop(conn, KEY, BuildRule())
    list(restore(conn, 1))
    assert ["(1,7,1)", "(2,7,2)", "(3,8,3)"] == dump("t")


def test_table_in_another_schema_goes_down_as_it_went_up(sql, conn, dump):
    """A table that was moved to another schema and renamed loses its constraint, and gets its rows back."""
    sql(T + "; CREATE SCHEMA app")
    before = dump("t")
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    enforce(conn, KEY, BuildRule())
    sql("ALTER TABLE t SET SCHEMA app; ALTER TABLE app.t RENAME TO u")
    moved = UniqueKey(schema="app", table="u", columns=("k",), name="uq")
    drop(conn, moved, BuildRule())
    list(restore(conn, 1))
    assert before == dump("app", "u")
    list(cleanup(conn, moved, CleanupRule(divergent="archive")))
    assert [("app", "u")] == sql("SELECT schema_name, table_name FROM dupe_audit.run WHERE id = 2")


def test_renamed_key_column_is_found_by_its_number(sql, conn, dump):
    """A key whose column was renamed still has its run: it is refused, not forgotten, until the name is back."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    enforce(conn, KEY, BuildRule())
    sql("ALTER TABLE t RENAME COLUMN k TO key")
    renamed = UniqueKey(table="t", columns=("key",), name="uq")
    relid = sql("SELECT 't'::regclass::oid::int8")[0][0]
    latest = ledger.find_latest(conn, relid, renamed)
    assert latest is not None
    with pytest.raises(DupeAuditError, match=r"no longer has k.*Nothing was dropped"):
        drop(conn, renamed, BuildRule())
    assert [(1,)] == sql("SELECT count(*)::int FROM pg_constraint WHERE conname = 'uq'")


SWAP = "ALTER TABLE t RENAME COLUMN k TO x; ALTER TABLE t RENAME COLUMN v TO k; ALTER TABLE t RENAME COLUMN x TO v"


def test_swapped_columns_are_refused_until_names_decide(sql, conn, dump):
    """Columns that have exchanged their names stop everything; what the message says lets the names decide."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    sql(SWAP)
    with pytest.raises(DupeAuditError, match=r"Columns k, v .*wrong one.*Nothing was restored") as refusal:
        list(restore(conn, 1))
    with pytest.raises(DupeAuditError, match="No row was changed"):
        list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    assert ["(1,7,1)", "(3,8,3)"] == dump("t")
    sql(str(refusal.value).partition("owner: ")[2])
    list(restore(conn, 1))
    assert ["(1,7,1)", "(2,2,7)", "(3,8,3)"] == dump("t")


def test_column_that_has_the_name_of_another_archived_one_is_refused(sql, conn, dump):
    """A dropped column whose name goes to another archived column gets no value of it."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    sql("ALTER TABLE t DROP COLUMN k; ALTER TABLE t RENAME COLUMN v TO k; ALTER TABLE t ADD COLUMN v int")
    with pytest.raises(DupeAuditError, match="wrong one"):
        list(restore(conn, 1))
    assert ["(1,1,)", "(3,3,)"] == dump("t")


def test_run_of_a_dropped_table_can_be_purged(sql, conn):
    """A run whose table is gone stays listed, and can be purged, but not restored."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    sql("DROP TABLE t")
    (recorded,) = ledger.find_runs(conn, "true")
    assert recorded.run.relation is None
    with pytest.raises(DupeAuditError, match="was dropped"):
        list(restore(conn, 1))
    ledger.purge(conn, 1)
    assert [(True,)] == sql("SELECT purged_at IS NOT NULL FROM dupe_audit.run")
    sql(T)
    drop(conn, KEY, BuildRule())


def test_copy_that_continues_a_table_gets_its_rows(sql, conn, dump):
    """A table whose rows were copied, and whose name was exchanged, gets the rows once it is entered in the ledger."""
    sql(T)
    before = dump("t")
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    sql("CREATE TABLE copy (LIKE t INCLUDING ALL); INSERT INTO copy SELECT * FROM t")
    sql("ALTER TABLE t RENAME TO old; ALTER TABLE copy RENAME TO t; ALTER TABLE t ADD CONSTRAINT uq UNIQUE (k)")
    sql("UPDATE dupe_audit.run SET constraint_name = 'uq'")
    with pytest.raises(Refused, match="table-replaced"):
        drop(conn, KEY, BuildRule())
    remedy = "UPDATE dupe_audit.run SET relation = 'public.t', schema_name = 'public', table_name = 't' WHERE id = 1"
    sql(remedy)
    drop(conn, KEY, BuildRule())
    list(restore(conn, 1))
    assert (before, ["(1,7,1)", "(3,8,3)"]) == (dump("t"), dump("old"))


@pytest.mark.parametrize(
    "damage",
    ["TRUNCATE dupe_audit.archive_1", "DELETE FROM dupe_audit.archive_1", "UPDATE dupe_audit.run SET archived = 2"],
)
def test_run_is_restored_only_if_the_sums_agree(sql, conn, dump, damage):
    """A run whose archive lost rows is neither restored nor called restored."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    sql(damage)
    with pytest.raises(Refused, match=r"ledger-mismatch.*run 1, archived"):
        list(restore(conn, 1))
    assert (["(1,7,1)", "(3,8,3)"], [("clean",)]) == (dump("t"), sql("SELECT state FROM dupe_audit.run"))


def test_archive_that_changes_during_a_restore_is_noticed(sql, conn):
    """If rows vanish from the archive while it is restored, the run is not called restored."""
    sql(T + "; INSERT INTO t VALUES (4, 7, 4)")
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    batches = restore(conn, 1, batch_size=1)
    next(batches)
    sql("DELETE FROM dupe_audit.archive_1 WHERE dupe_audit_restored_at IS NULL")
    with pytest.raises(Refused, match="the archive has changed"):
        list(batches)
    assert [("clean",)] == sql("SELECT state FROM dupe_audit.run")


@pytest.mark.parametrize(("by_oid", "gets"), [(False, "t"), (True, "u")], ids=["the ledger", "mutant: a ledger by oid"])
def test_oid_of_another_table_gets_no_row(sql, conn, dump, monkeypatch, by_oid, gets):
    """After a dump the recorded oid can be another table's; a ledger relying on it puts the rows into that table."""
    sql(T)
    list(cleanup(conn, KEY, CleanupRule(divergent="archive")))
    sql("CREATE TABLE u (LIKE t)")
    # A dump keeps the number and writes the table's name; here the number is another table's.
    sql("UPDATE dupe_audit.run SET relid = 'u'::regclass, ledger_oid = 1")
    if by_oid:
        real = statements.template
        monkeypatch.setattr(
            statements, "template", lambda name: "SELECT r.relid AS oid" if name == "run_relation" else real(name)
        )
    list(restore(conn, 1))
    assert (["(2,7,2)"] if gets == "u" else []) == dump("u")
    assert (3 if gets == "t" else 2) == len(dump("t"))
