"""Preflight counts exactly, finds every obstacle, and leaves no trace."""

import psycopg
import pytest
from sqlalchemy import event

from dupe_audit.cleanup import cleanup
from dupe_audit.constraint import enforce
from dupe_audit.findings import CATALOGUE
from dupe_audit.model import BuildRule, CleanupRule, Counts, UniqueKey
from dupe_audit.preflight import blockers, preflight
from dupe_audit.verify import verify
from waiting import wait_for

KEY = UniqueKey(table="t", columns=("k",), name="uq")


def ids(report, severity=None):
    """Return the ids of a report's findings, or only those of one severity."""
    return [f.id for f in report.findings if severity in (None, f.severity)]


def finding_of(report, id_):
    """Return the only finding of that id."""
    (finding,) = [f for f in report.findings if f.id == id_]
    return finding


# Counts


def test_counts_are_exact(sql, conn):
    """Each count in the report is exact."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v text)")
    sql("INSERT INTO t VALUES (1, 7, 'a'), (2, 7, 'a'), (3, 7, 'a'), (4, 8, 'a'), (5, 8, 'b'), (6, 9, 'a')")
    sql("INSERT INTO t VALUES (7, NULL, 'a')")
    report = preflight(conn, KEY)
    assert report.counts == Counts(
        rows=7,
        null_key_rows=1,
        groups=2,
        extras=3,
        affected=5,
        largest_group=3,
        exact_groups=1,
        divergent_groups=1,
    )
    assert report.key.schema == "public"
    assert report.examples == ()


def test_clean_table_has_no_findings(sql, conn):
    """A table without problems has no findings."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 1), (2, 2)")
    assert preflight(conn, KEY).findings == ()


def test_empty_table(sql, conn):
    """All counts of an empty table are zero."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int)")
    report = preflight(conn, KEY)
    assert report.counts == Counts(
        rows=0, null_key_rows=0, groups=0, extras=0, affected=0, largest_group=0, exact_groups=0, divergent_groups=0
    )


@pytest.mark.parametrize(
    ("columns", "distinct", "not_distinct"),
    [(("a",), (0, 3), (1, 0)), (("a", "b"), (0, 4), (1, 0))],
    ids=["one", "two"],
)
@pytest.mark.min_pg(15)
def test_nulls_count_both_ways_h27_h28(sql, conn, columns, distinct, not_distinct):
    """Keys with a NULL are not duplicates by default, but are with NULLS NOT DISTINCT."""
    sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int)")
    sql("INSERT INTO t VALUES (1, NULL, 1), (2, NULL, 1), (3, NULL, 2), (4, 5, NULL)")
    for rule, (groups, null_rows) in ((False, distinct), (True, not_distinct)):
        counts = preflight(conn, UniqueKey(table="t", columns=columns, nulls_not_distinct=rule)).counts
        assert counts
        assert (groups, null_rows) == (counts.groups, counts.null_key_rows)


def test_key_values_are_shown_only_on_request(sql, conn):
    """Key values are in the report only if they were requested."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text); INSERT INTO t VALUES (1, 'secret'), (2, 'secret')")
    assert "secret" not in repr(preflight(conn, KEY))
    assert preflight(conn, KEY, show_keys=True).examples == (("(secret)", 2),)


def test_nothing_is_left_behind(sql, conn):
    """Preflight creates no schema and no table, and changes no session setting."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 7), (2, 7)")
    state = "SELECT (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_namespace WHERE nspname !~ '^pg_')"
    setting = "SELECT name, setting FROM pg_settings WHERE name ~ '^enable_|timeout|row_sec' ORDER BY name"
    before, settings = sql(state), conn.exec_driver_sql(setting).all()
    preflight(conn, KEY, show_keys=True)
    blockers(conn, KEY, CleanupRule())
    assert before == sql(state)
    assert settings == conn.exec_driver_sql(setting).all()


# Equality


@pytest.mark.parametrize(
    ("type_", "values", "groups"),
    [
        ("numeric", ["1.0", "1.00"], 1),
        ("float8", ["0.0", "-0.0", "NaN", "NaN"], 2),
        ("char(5)", ["a", "a  "], 1),
        ("varchar(5)", ["a", "a  "], 0),
        ("text", ["a", "A"], 0),
        ("citext", ["a", "A"], 1),
        ("interval", ["1 day", "24 hours"], 1),
        ("jsonb", ['{"a": 1, "b": 2}', '{"b": 2.0, "a": 1.00}'], 1),
        ("int4range", ["[1,2]", "[1,3)"], 1),
        ("int[]", ["{1,2}", "[0:1]={1,2}"], 0),
        ("numeric[]", ["{1.0}", "{1.00}"], 1),
        ("timestamptz", ["2024-01-01 00:00+00", "2024-01-01 01:00+01"], 1),
        ("text", ["e\u0301", "\u00e9"], 0),
        ("mood", ["sad", "sad", "ok"], 1),
        ("word", ["a", "A"], 1),
        ("pair", ["(1,1.0)", "(1,1.00)"], 1),
        ("bytea", ["\\x00", "\\x00"], 1),
        ("inet", ["10.0.0.1", "10.0.0.1/32"], 1),
        ("int4multirange", ["{[1,2],[3,4]}", "{[1,5)}"], 1),
        ("tsvector", ["b a", "a b"], 1),
        ("money", ["1", "1.00"], 1),
        ("bit varying", ["10", "10", "100"], 1),
    ],
)
@pytest.mark.representatives("float8*", "char(5)*", "citext*", "numeric[]*", "word*", "pair*")
def test_equality_is_that_of_the_index_h29_h30_h31_h32_h37(sql, conn, clean, type_, values, groups):
    """Rows are duplicates if and only if a unique index would refuse them, whatever schema their type is in."""
    sql("CREATE SCHEMA away; ALTER EXTENSION citext SET SCHEMA away")
    sql("CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (n int, m numeric)")
    sql("CREATE DOMAIN word AS away.citext")
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k {'away.citext' if type_ == 'citext' else type_})")
    for number, value in enumerate(values):
        sql(f"INSERT INTO t VALUES ({number}, '{value}')")
    report = preflight(conn, KEY)
    assert report.counts
    assert groups == report.counts.groups
    assert "no-equality" not in ids(report)

    clean(KEY, divergent="archive")
    enforce(conn, KEY, BuildRule())


def test_nondeterministic_collation_h34(sql, conn, clean):
    """Strings that the collation treats as equal are counted as duplicates (H34)."""
    try:
        sql("CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("the server has no ICU")
    sql("CREATE TABLE t (id int PRIMARY KEY, k text COLLATE ci); INSERT INTO t VALUES (1, 'A'), (2, 'a')")
    report = preflight(conn, KEY)
    assert report.counts
    assert report.counts.groups == 1
    clean(KEY, divergent="archive")
    enforce(conn, KEY, BuildRule())


def test_corrupt_index_is_not_trusted_h43(sql, conn):
    """A duplicate that an index does not contain is still counted (H43)."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int); CREATE UNIQUE INDEX corrupt ON t (k)")
    sql("INSERT INTO t SELECT i, i FROM generate_series(1, 10000) AS i")
    sql(
        "UPDATE pg_index SET indisready = false WHERE indexrelid = 'corrupt'::regclass; INSERT INTO t VALUES (20001, 5)"
    )
    sql("UPDATE pg_index SET indisready = true WHERE indexrelid = 'corrupt'::regclass")
    sql("VACUUM ANALYZE t")
    report = preflight(conn, KEY)
    assert report.counts
    assert (report.counts.groups, report.counts.extras) == (1, 1)


# Obstacles


PLAIN = "CREATE TABLE t (id int PRIMARY KEY, k int)"


@pytest.mark.parametrize(
    ("id_", "severity", "setup"),
    [
        ("table-missing", "error", "SELECT 1"),
        ("column-missing", "error", "CREATE TABLE t (id int PRIMARY KEY)"),
        ("not-a-table", "error", "CREATE VIEW t AS SELECT 1 AS k"),
        ("not-a-table", "error", "CREATE MATERIALIZED VIEW t AS SELECT 1 AS k"),
        ("not-a-table", "error", "CREATE SEQUENCE t"),
        (
            "not-a-table",
            "error",
            (
                "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
                "CREATE FOREIGN TABLE t (k int) SERVER s"
            ),
        ),
        (
            "single-partition",
            "warning",
            "CREATE TABLE p (k int) PARTITION BY RANGE (k); CREATE TABLE t PARTITION OF p FOR VALUES FROM (0) TO (9)",
        ),
        ("inheritance", "error", f"{PLAIN}; CREATE TABLE c () INHERITS (t)"),
        ("unlogged-table", "warning", "CREATE UNLOGGED TABLE t (id int PRIMARY KEY, k int)"),
        ("no-equality", "error", "CREATE TABLE t (k json)"),
        ("no-equality", "error", "CREATE TABLE t (k xml)"),
        ("no-equality", "error", "CREATE TABLE t (k point)"),
        ("no-equality", "error", "CREATE TABLE t (k point[])"),
        ("no-equality", "error", "CREATE DOMAIN d AS json; CREATE TABLE t (k d)"),
        ("no-equality", "error", "CREATE TYPE c AS (a json); CREATE TABLE t (k c)"),
        pytest.param(
            "virtual-column",
            "error",
            "CREATE TABLE t (id int PRIMARY KEY, k int GENERATED ALWAYS AS (id + 1) VIRTUAL)",
            marks=pytest.mark.min_pg(18),
        ),
        ("reserved-column", "error", "CREATE TABLE t (dupe_audit_id int PRIMARY KEY, k int)"),
        ("no-primary-key", "info", "CREATE TABLE t (k int)"),
        ("name-taken", "error", f"{PLAIN}; CREATE TABLE uq ()"),
        ("name-taken", "error", f"{PLAIN}; CREATE TABLE o (k int); CREATE INDEX uq ON o (k)"),
        ("name-taken", "error", f"{PLAIN}; ALTER TABLE t ADD CONSTRAINT uq CHECK (k > 0)"),
        ("wrong-definition", "error", f"{PLAIN}; CREATE UNIQUE INDEX uq ON t (k, id)"),
        ("wrong-definition", "error", f"{PLAIN}; CREATE INDEX uq ON t (k)"),
        ("already-enforced", "info", f"{PLAIN}; ALTER TABLE t ADD CONSTRAINT uq UNIQUE (k)"),
        ("equivalent-index", "error", f"{PLAIN}; CREATE UNIQUE INDEX other ON t (k)"),
        ("equivalent-index", "error", f"{PLAIN}; ALTER TABLE t ADD CONSTRAINT other UNIQUE (k)"),
        (
            "invalid-index",
            "error",
            (
                f"{PLAIN}; CREATE UNIQUE INDEX uq ON t (k); "
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq'::regclass"
            ),
        ),
        (
            "invalid-index",
            "error",
            (
                f"{PLAIN}; CREATE UNIQUE INDEX o ON t (k); "
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'o'::regclass"
            ),
        ),
        ("rewrite-rule", "error", f"{PLAIN}; CREATE RULE r AS ON DELETE TO t DO INSTEAD NOTHING"),
        ("rewrite-rule", "error", f"{PLAIN}; CREATE RULE r AS ON INSERT TO t DO ALSO NOTIFY x"),
        ("rewrite-rule", "error", f"{PLAIN}; CREATE RULE r AS ON UPDATE TO t DO INSTEAD NOTHING"),
        ("published-table", "warning", f"{PLAIN}; CREATE PUBLICATION p FOR TABLE t"),
        ("published-ledger", "error", f"{PLAIN}; CREATE PUBLICATION p FOR ALL TABLES"),
        ("replica-identity", "error", "CREATE TABLE t (k int); CREATE PUBLICATION p FOR TABLE t"),
        (
            "replica-identity",
            "error",
            f"{PLAIN}; ALTER TABLE t REPLICA IDENTITY NOTHING; CREATE PUBLICATION p FOR ALL TABLES",
        ),
        (
            "foreign-key-unindexed",
            "error",
            (
                f"{PLAIN}; INSERT INTO t VALUES (1, 1); CREATE TABLE c (t_id int REFERENCES t); "
                "INSERT INTO c SELECT 1 FROM generate_series(1, 40000); ANALYZE c"
            ),
        ),
        (
            "foreign-key-unindexed",
            "error",
            (
                f"{PLAIN}; CREATE TABLE c (t_id int REFERENCES t, n int) PARTITION BY HASH (n); "
                "CREATE TABLE c1 PARTITION OF c FOR VALUES WITH (MODULUS 2, REMAINDER 0); "
                "CREATE TABLE c2 PARTITION OF c FOR VALUES WITH (MODULUS 2, REMAINDER 1); "
                "INSERT INTO c SELECT NULL, i FROM generate_series(1, 50000) AS i; ANALYZE c"
            ),
        ),
        ("duplicates", "warning", f"{PLAIN}; INSERT INTO t VALUES (1, 7), (2, 7)"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_every_obstacle_is_found(sql, conn, id_, severity, setup):
    """Anything that would make the upgrade fail or do harm is found before it begins."""
    sql(setup)
    assert severity == finding_of(preflight(conn, KEY), id_).severity


@pytest.mark.min_pg(15)
@pytest.mark.parametrize("columns", ["t WHERE (k > 0)", "t (k)"])
def test_publication_whose_columns_reject_every_change(sql, conn, columns):
    """A row filter or a column list that does not fit the replica identity is found before a row moves."""
    sql(f"CREATE TABLE t (id int PRIMARY KEY, k int); CREATE PUBLICATION p FOR TABLE {columns}")
    assert finding_of(preflight(conn, KEY), "publication-columns").severity == "error"
    sql("ALTER PUBLICATION p SET TABLE t (id, k)" + (" WHERE (id > 0)" if "WHERE" in columns else ""))
    assert "publication-columns" not in ids(preflight(conn, KEY))


@pytest.mark.parametrize(
    ("id_", "setup"),
    [
        ("no-equality", "CREATE TABLE t (id int PRIMARY KEY, k json)"),
        (
            "key-too-wide",
            (
                "CREATE TABLE t (id int PRIMARY KEY, k text); "
                "INSERT INTO t SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 100) AS i"
            ),
        ),
        pytest.param(
            "virtual-column",
            "CREATE TABLE t (id int PRIMARY KEY, k int GENERATED ALWAYS AS (id + 1) VIRTUAL)",
            marks=pytest.mark.min_pg(18),
        ),
    ],
)
def test_advice_prescribes_no_rewrite_of_the_table(sql, conn, id_, setup):
    """For a column that cannot be indexed, the help names an index over an expression, not a column that rewrites t."""
    sql(setup)
    advice = finding_of(preflight(conn, KEY), id_).help
    assert "op.create_unique_index_online()" in advice
    assert "generated" not in advice.partition("Adding a stored generated column rewrites the table")[0]


def test_findings_have_no_empty_placeholders(conn, sql):
    """No message and no help text has an unfilled placeholder."""
    sql("CREATE TABLE t (k int); CREATE PUBLICATION p FOR TABLE t; INSERT INTO t VALUES (7), (7)")
    for finding in preflight(conn, KEY).findings:
        assert "{" not in finding.message + finding.help
        assert finding.message
        assert finding.help


def test_temporary_table(conn):
    """A temporary table is recognised by the session that created it."""
    conn.exec_driver_sql("CREATE TEMPORARY TABLE t (k int)")
    assert "temporary-table" in ids(preflight(conn, KEY), "error")


def test_indexed_foreign_key_is_not_reported(sql, conn):
    """A foreign key whose columns lead an index, in any order, is not reported as unindexed."""
    sql("CREATE TABLE t (id int, n int, k int, PRIMARY KEY (id, n))")
    sql("CREATE TABLE c (a int, b int, x int, FOREIGN KEY (a, b) REFERENCES t); CREATE INDEX ON c (b, a, x)")
    assert "foreign-key-unindexed" not in ids(preflight(conn, KEY))


def test_h106_small_referencing_table_needs_no_index(sql, conn):
    """An unindexed foreign key of a small table is not reported; a large table is, even before its first ANALYZE."""
    sql(f"{PLAIN}; INSERT INTO t VALUES (1, 1); CREATE TABLE c (t_id int REFERENCES t)")
    sql("ALTER TABLE c SET (autovacuum_enabled = off); INSERT INTO c SELECT 1 FROM generate_series(1, 1000)")
    assert "foreign-key-unindexed" not in ids(preflight(conn, KEY))
    sql("INSERT INTO c SELECT 1 FROM generate_series(1, 40000)")
    wait_for(lambda: sql("SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'c'") == [(41000,)])
    assert [] == [f.id for f in blockers(conn, KEY, CleanupRule(), accept=("foreign-key-unindexed",))]
    assert ["foreign-key-unindexed"] == [f.id for f in blockers(conn, KEY, CleanupRule())]


def test_stricter_index_h46(sql, conn):
    """A unique index on fewer columns is reported, because the key would add nothing."""
    sql(PLAIN)
    report = preflight(conn, UniqueKey(table="t", columns=("id", "k"), name="uq"))
    assert "t_pkey" in finding_of(report, "stricter-index").message


@pytest.mark.min_pg(15)
@pytest.mark.parametrize(("columns", "id_"), [(("k",), "equivalent-index"), (("k", "id"), "stricter-index")])
def test_index_with_another_null_rule_is_not_equivalent(sql, conn, columns, id_):
    """An index that allows two NULLs does not replace a constraint that refuses them."""
    sql("CREATE TABLE t (id int, k int); CREATE UNIQUE INDEX other ON t (k); INSERT INTO t VALUES (1, NULL), (1, NULL)")
    report = preflight(conn, UniqueKey(table="t", columns=columns, name="uq", nulls_not_distinct=True))
    assert report.counts
    assert report.counts.groups == 1
    assert id_ not in ids(report)


@pytest.mark.parametrize("definition", ["(k) WHERE k > 0", "((k + 0))"])
def test_partial_and_expression_indexes_are_not_equivalent(sql, conn, definition):
    """A partial index or an index over an expression does not enforce the key."""
    sql(f"{PLAIN}; CREATE UNIQUE INDEX other ON t {definition}")
    assert preflight(conn, KEY).findings == ()


def test_too_wide_key(sql, conn):
    """A key too wide for an index is found before anything is archived, and can be accepted."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k text)")
    sql("INSERT INTO t SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 100) AS i")
    assert "key-too-wide" in ids(preflight(conn, KEY), "error")
    assert "key-too-wide" in [f.id for f in blockers(conn, KEY, CleanupRule())]
    assert "key-too-wide" in ids(preflight(conn, KEY, accept=["key-too-wide"]), "warning")


def test_triggers_h108(sql, conn):
    """A trigger that fires on deletes is an error until it is accepted; a trigger on inserts is a warning."""
    sql(f"{PLAIN}; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'")
    sql("CREATE TRIGGER del BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()")
    sql("CREATE TRIGGER ins AFTER INSERT ON t FOR EACH STATEMENT EXECUTE FUNCTION f()")
    report = preflight(conn, KEY)
    assert "del" in finding_of(report, "delete-trigger").message
    assert (ids(report, "error"), ids(report, "warning")) == (["delete-trigger"], ["insert-trigger"])
    assert ids(preflight(conn, KEY, accept=["delete-trigger"]), "error") == []
    sql("ALTER TABLE t DISABLE TRIGGER ALL")
    assert preflight(conn, KEY).findings == ()


def test_finding_that_cannot_be_accepted_stays_an_error(sql, conn):
    """A finding that cannot be accepted stays an error even if it is named."""
    sql("CREATE TABLE t (k json)")
    assert "no-equality" in ids(preflight(conn, KEY, accept=list(CATALOGUE)), "error")


@pytest.mark.parametrize(
    ("setup", "holder"),
    [("INSERT INTO t VALUES (9, 9)", "writer"), ("SELECT FROM t", "reader")],
    ids=["writer", "reader"],
)
def test_prepared_transaction_h58(sql, conn, setup, holder):
    """A prepared transaction with any lock on the table is an error, because it would block the upgrade for ever."""
    if sql("SHOW max_prepared_transactions") == [("0",)]:
        pytest.skip("the server has no prepared transactions")
    sql(PLAIN)
    sql(f"BEGIN; {setup}; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'forgotten {holder}'")
    try:
        report = preflight(conn, KEY)
    finally:
        sql(f"ROLLBACK PREPARED 'forgotten {holder}'")
    assert "prepared-transaction" in ids(report, "error")


@pytest.mark.parametrize(
    ("settings", "id_"),
    [
        ({"default_transaction_read_only": "on"}, "read-only-server"),
        ({"session_replication_role": "replica"}, "replication-role"),
    ],
)
def test_session_that_cannot_be_used_h116_h189(sql, connect, settings, id_):
    """A session in which deletes would fail or fire no triggers is refused, also by the directive's own check."""
    sql(PLAIN)
    connection = connect(**settings)
    assert id_ in ids(preflight(connection, KEY), "error")
    assert id_ in [f.id for f in blockers(connection, KEY, CleanupRule())]


def test_missing_privileges_are_reported(sql, connect, member):
    """A role that does not own the table, or cannot create the ledger, gets a finding that names what it lacks."""
    sql(f"{PLAIN}; GRANT ALL ON t TO {member}")
    assert {"not-owner", "missing-privilege"} <= set(ids(preflight(connect(role=member), KEY), "error"))

    sql(f"ALTER TABLE t OWNER TO {member}")
    report = preflight(connect(role=member), KEY)
    assert "CREATE ON DATABASE" in " ".join(f.message for f in report.findings if f.id == "missing-privilege")
    assert "not-owner" not in ids(report)


@pytest.mark.parametrize("force", [True, False])
def test_row_security_h111(sql, connect, member, force):
    """Row security that applies to this role is an error, because hidden rows would not be counted."""
    sql(f"{PLAIN}; ALTER TABLE t OWNER TO {member}; ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    if force:
        sql("ALTER TABLE t FORCE ROW LEVEL SECURITY")
    report = preflight(connect(role=member), KEY)
    assert force == ("row-security" in ids(report, "error"))
    assert force == (report.counts is None)


def test_ledger_of_another_role_h199(sql, connect, member, database_url):
    """A ledger schema that another role created is refused, because that role could read it."""
    sql(f"CREATE ROLE {member}_2; CREATE SCHEMA dupe_audit AUTHORIZATION {member}_2; {PLAIN}")
    try:
        sql(f"ALTER TABLE t OWNER TO {member}; GRANT ALL ON SCHEMA dupe_audit TO {member}")
        assert "untrusted-ledger" in ids(preflight(connect(role=member), KEY), "error")
    finally:
        sql(f"DROP OWNED BY {member}_2; DROP ROLE {member}_2")


@pytest.mark.parametrize("action", ["NO ACTION", "RESTRICT", "CASCADE", "SET NULL", "SET DEFAULT"])
@pytest.mark.representatives("CASCADE")
def test_references_are_counted(sql, conn, action):
    """Each foreign key is listed with its action on delete and the number of rows that reference extras."""
    sql(f"{PLAIN}; INSERT INTO t VALUES (1, 7), (2, 7), (3, 7), (4, 8)")
    sql(f"CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE {action}); CREATE INDEX ON c (t_id)")
    sql("INSERT INTO c VALUES (1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, NULL)")
    report = preflight(conn, KEY)
    (reference,) = report.references
    assert (reference.table, reference.constraint, reference.on_delete) == ("public.c", "c_t_id_fkey", action)
    assert reference.rows == 3
    assert finding_of(report, "foreign-key-references").severity == "error"


def test_catalog_is_read_with_its_indexes(sql, conn):
    """Counts use no index, but catalog queries do, because a catalog can have thousands of tables."""
    sql(f"{PLAIN}; CREATE TABLE c (p int REFERENCES t); ALTER TABLE t ADD CONSTRAINT uq UNIQUE (id, k)")
    forbidden, statements = [], []

    def inspect(connection, cursor, statement, *_):
        statements.append(statement)
        reads_a_table = "ONLY public.t" in statement
        plain = connection.connection.driver_connection.execute("SHOW enable_indexscan").fetchone() == ("on",)
        if plain if reads_a_table else ("pg_catalog.pg_class" in statement and not plain):
            forbidden.append(statement)

    event.listen(conn, "before_cursor_execute", inspect)
    preflight(conn, KEY, CleanupRule(references="repoint"), show_keys=True)
    blockers(conn, KEY, CleanupRule())
    verify(conn, KEY)
    assert len(statements) > 20
    assert [] == forbidden


def test_references_depend_on_the_rule(sql, conn):
    """Which rows are extras depends on the rule, and so does the number of rows that reference them."""
    sql(f"{PLAIN}; INSERT INTO t VALUES (1, 7), (2, 7)")
    sql("CREATE TABLE c (t_id int REFERENCES t); CREATE INDEX ON c (t_id)")
    sql("INSERT INTO c VALUES (2)")
    assert [1] == [r.rows for r in preflight(conn, KEY).references]
    report = preflight(conn, KEY, CleanupRule(keep="last"))
    assert [0] == [r.rows for r in report.references]
    assert "foreign-key-references" not in ids(report)


def test_findings_are_sorted_by_severity(sql, conn):
    """Errors come before warnings, and warnings before information."""
    sql("CREATE UNLOGGED TABLE t (k int, v int); INSERT INTO t VALUES (7, 1), (7, 2)")
    severities = [f.severity for f in preflight(conn, KEY).findings]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert set(severities) == {"error", "warning", "info"}


def test_divergent_groups_depend_on_the_rule(sql, conn):
    """Divergent groups are an error until the rule says what to do with them."""
    sql("CREATE TABLE t (id int PRIMARY KEY, k int, v int); INSERT INTO t VALUES (1, 7, 1), (2, 7, 2)")
    assert ids(preflight(conn, KEY), "error") == ["divergent-duplicates"]
    assert ids(preflight(conn, KEY, CleanupRule(divergent="archive")), "error") == []
    assert ids(preflight(conn, KEY, CleanupRule(ignore=("v",))), "error") == []


# Continuing an upgrade that stopped


KEY_OF_THE_CLEANUP = UniqueKey(table="t", columns=("k",))  # without a name, as in op.archive_duplicates()


def test_own_constraint_does_not_stop_the_cleanup(sql, conn):
    """An upgrade that died after it created the constraint can be repeated from its first directive."""
    sql(f"{PLAIN}; INSERT INTO t VALUES (1, 7), (2, 7)")
    list(cleanup(conn, KEY_OF_THE_CLEANUP, CleanupRule()))
    enforce(conn, KEY, BuildRule())
    assert blockers(conn, KEY_OF_THE_CLEANUP, CleanupRule()) == []


def test_own_leftover_does_not_stop_the_cleanup(sql, conn):
    """An upgrade that died in the middle of the build can be repeated from its first directive."""
    sql(f"{PLAIN}; INSERT INTO t VALUES (1, 7), (2, 7)")
    list(cleanup(conn, KEY_OF_THE_CLEANUP, CleanupRule()))
    sql("UPDATE dupe_audit.run SET building = true, constraint_name = 'uq'; CREATE UNIQUE INDEX uq ON t (k)")
    sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq'::regclass")
    assert blockers(conn, KEY_OF_THE_CLEANUP, CleanupRule()) == []
