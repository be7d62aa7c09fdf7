"""Keys with expressions and predicates: the server finds their arbiter, and a key is compared as its index does."""

import json

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy import Column, Integer, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import insert

from dupe_audit.errors import WrongUsage
from dupe_audit.model import Expression, UniqueKey
from dupe_audit.writer import Writer, delivery, enforced, on_conflict
from waiting import wait_for

LIVE = "gone IS NULL"
LOWER = UniqueKey(table="users", columns=(Expression("lower(email)"),), where=LIVE)
USERS = "CREATE TABLE users (id serial PRIMARY KEY, email text, v int, gone date)"
INDEX = f"CREATE UNIQUE INDEX once ON users (lower(email)) WHERE {LIVE}"


def kinds(outcomes):
    """Return the kinds of the outcomes."""
    return [outcome.kind for outcome in outcomes]


@pytest.fixture
def users(sql, writer):
    """A writer of a table whose e-mail addresses are unique among the users that are not deleted."""
    sql(f"{USERS}; {INDEX}")
    return writer(LOWER, ["email", "v"], ignore=["email"])


def test_an_expression_with_a_predicate(users, sql, way):
    """Duplicates, collisions and new keys are told apart by the value of the expression, among the rows of the part."""
    assert ["inserted", "in_batch", "collision", "inserted"] == kinds(
        users.write([("Ann", 1), ("aNN", 1), ("ANN", 2), ("bob", 1)])
    )
    outcomes = users.write([("ANN", 1), ("Bob", 2), ("cy", 1)])
    assert ["duplicate", "collision", "inserted"] == kinds(outcomes)
    assert outcomes[0].id == sql("SELECT id FROM users WHERE email = 'Ann'")[0][0]
    assert "columns" == users.arbiter.mode
    sql("UPDATE users SET gone = '2026-01-01'")
    assert ["inserted", "in_batch"] == kinds(users.write([("ann", 1), ("ANN", 1)]))
    assert [(4,)] == sql("SELECT count(*) FROM users")


def test_rows_outside_the_part(users, sql, writer, way):
    """A row outside the part conflicts with nothing, whatever its key."""
    users.write([("ann", 1)])
    deleted = writer(LOWER, ["email", "v", "gone"])
    assert ["inserted"] * 3 == kinds(deleted.write([("ann", 1, "2026-01-02")] * 3))
    assert ["duplicate"] == kinds(deleted.write([("ann", 1, None)]))


def test_columns_of_an_expression_are_compared(sql, writer):
    """Without ignore, a column that the key's expression reads is data: written otherwise, it is a collision."""
    sql(f"{USERS}; {INDEX}")
    rows = writer(LOWER, ["email", "v"])
    assert ["inserted", "collision", "in_batch"] == kinds(rows.write([("Ann", 1), ("ann", 1), ("Ann", 1)]))


def test_elements_beside_their_table(sql, writer, psycopg_connect):
    """A key may be given as names and expressions, with its table and predicate beside it."""
    sql(f"CREATE SCHEMA crm; SET search_path = crm; {USERS}")
    sql(f"CREATE UNIQUE INDEX once ON crm.users (v, lower(email)) WHERE {LIVE}")
    for where in (LIVE, sa.text(LIVE), f"({LIVE}) AND v > 0"):
        sql("TRUNCATE crm.users")
        rows = Writer(
            psycopg_connect(autocommit=True),
            key=["v", sa.text("lower(users.email)")],
            columns=["email", "v"],
            table="users",
            schema="crm",
            where=where,
            ignore=["email"],
        )
        assert ["inserted", "in_batch", "inserted"] == kinds(rows.write([("a", 1), ("A", 1), ("A", 2)]))


@pytest.mark.parametrize(
    ("index", "where"),
    [
        (None, LIVE),
        ("(lower(email))", LIVE + " AND v > 3 OR v = 7"),
        (f"(lower(email)) WHERE {LIVE}", None),
        (f"(upper(email)) WHERE {LIVE}", LIVE),
        (f"(email) WHERE {LIVE}", LIVE),
        (f"(lower(email), v) WHERE {LIVE}", LIVE),
        ("(lower(email)) WHERE v > 3", LIVE),
    ],
)
def test_a_list_of_elements_needs_its_arbiter(sql, writer, index, where):
    """Elements name an arbiter, so without a fitting index the writer refuses at its start; a full one fits."""
    sql(USERS + (f"; CREATE UNIQUE INDEX once ON users {index}" if index else ""))
    rows = writer([sa.text("lower(email)")], ["email", "v"], table="users", where=where)
    if index == "(lower(email))":
        assert rows.probe().enforced
        return
    with pytest.raises(WrongUsage, match=r"^public\.users has no arbiter for the key \(lower\(email\)\)") as refused:
        rows.write([("a", 1)])
    assert "users_pkey" in str(refused.value)
    assert (index is None) == (" once " not in str(refused.value))
    assert [] == sql("TABLE users")


def test_a_deferrable_or_invalid_index_is_no_arbiter(sql, writer):
    """An index that ON CONFLICT cannot use counts as none."""
    sql(f"{USERS}; INSERT INTO users (email) VALUES ('a'), ('A')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql(INDEX.replace("INDEX", "INDEX CONCURRENTLY"))
    with pytest.raises(WrongUsage, match="has no arbiter"):
        writer(["email"], ["email"], table="users").probe()
    with pytest.raises(WrongUsage, match="has no arbiter"):
        writer([sa.text("lower(email)")], ["email"], table="users", where=LIVE).probe()
    sql("CREATE TABLE t (k int UNIQUE DEFERRABLE)")
    with pytest.raises(WrongUsage, match="has no arbiter"):
        writer(["k"], ["k"], table="t").probe()


def test_before_the_index_exists(sql, writer, way, monkeypatch):
    """With a UniqueKey the writer runs before the index is built, uses it once it is valid, and after its downgrade."""
    monkeypatch.setattr(delivery, "PROBE_EVERY", 0.1)
    sql(USERS)
    rows = writer(LOWER, ["email", "v"], ignore=["email"])
    assert ["inserted", "inserted"] == kinds(rows.write([("a", 1), ("A", 1)]))
    assert "any" == rows.arbiter.mode
    sql("DELETE FROM users")
    sql(INDEX.replace("INDEX", "INDEX CONCURRENTLY"))
    wait_for(lambda: rows.arbiter.mode == "columns")
    assert ["inserted", "in_batch"] == kinds(rows.write([("a", 1), ("A", 1)]))
    sql("DROP INDEX CONCURRENTLY once")
    assert ["inserted"] == kinds(rows.write([("a", 1)]))
    assert {"42P10": 1} == dict(rows.retries)


def test_a_wider_index_appears_while_the_writer_runs(sql, writer, way):
    """Without an arbiter, what violates an index over the key's expression is a duplicate, not a rejected row."""
    sql(USERS)
    rows = writer(LOWER, ["email", "v"])
    assert ["inserted"] == kinds(rows.write([("a", 1)]))
    sql("CREATE UNIQUE INDEX once ON users (v, lower(email))")
    assert ["duplicate", "inserted"] == kinds(rows.write([("A", 1), ("b", 1)]))


@pytest.mark.parametrize(
    ("key", "columns", "message"),
    [
        (["lower(email)"], ["email"], "'lower(email)' is not among the columns"),
        ([sa.text("lower(email)")], ["v"], '(v): column "email" does not exist. Write every column'),
        ([sa.text("lower(email) || v")], ["email"], '(email): column "v" does not exist. Write every column'),
        ([sa.text("lower(nope)")], ["email"], 'public.users cannot have the key (lower(nope)): column "nope" does not'),
        ([sa.text("lower(email")], ["email"], "public.users cannot have the key (lower(email): syntax error"),
        ([sa.text("email = :x")], ["email"], "key has the bound parameter :x"),
        ([7], ["email"], "7 is neither"),
    ],
)
def test_elements_that_are_not_valid(sql, writer, key, columns, message):
    """An element that the server cannot read, or that needs a column which is not written, is refused by name."""
    sql(f"{USERS}; {INDEX}")
    with pytest.raises(WrongUsage) as refused:
        writer(key, columns, table="users").probe()
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        (LOWER, {"where": "gone IS NOT NULL"}, "contradicts the key's own predicate 'gone IS NULL'"),
        (LOWER, {"table": "users"}, "leave table and schema out"),
        ([sa.text("lower(email)")], {}, "needs its table"),
        (7, {"table": "users"}, "key must be a UniqueKey, or a list"),
    ],
)
def test_arguments_that_do_not_fit(writer, key, options, message):
    """A predicate or a table that is given twice and differs is refused, and so are elements without a table."""
    with pytest.raises(WrongUsage, match=message):
        writer(key, ["email"], **options)


def test_the_predicate_may_be_given_twice(sql, writer):
    """The key's predicate and where are one, and either is enough."""
    sql(f"{USERS}; {INDEX}")
    plain = UniqueKey(table="users", columns=LOWER.columns)
    for key, where in ((LOWER, None), (LOWER, f" {LIVE} "), (plain, sa.text(LIVE))):
        assert "columns" == writer(key, ["email"], where=where).probe().mode


def test_an_expression_that_fails_outside_the_part(sql, writer, way):
    """A row outside the part is inserted even if the expression fails on it; inside, that row alone is rejected."""
    sql("CREATE TABLE t (k text, v int); CREATE UNIQUE INDEX ON t ((k::int)) WHERE v > 0")
    rows = writer([sa.text("k::int")], ["k", "v"], table="t", where="v > 0", ignore=["k"])
    for _ in range(2):  # a plan of a statement that is executed again
        assert ["inserted", "rejected", "inserted"] == kinds(rows.write([("x", 0), ("x", 1), ("y", -1)]))
    assert ["inserted", "in_batch"] == kinds(rows.write([("07", 1), ("7", 1)]))


def test_json_with_nulls(sql, writer, way):
    """A path without a value is NULL, which is distinct from every other NULL unless the index says otherwise."""
    sql("CREATE TABLE t (doc jsonb, v int); CREATE UNIQUE INDEX ON t ((doc ->> 'id'))")
    rows = writer([sa.text("doc ->> 'id'")], ["doc", "v"], table="t")
    batch = [({"id": 7}, 1), ({"id": "7"}, 1), ({}, 1), ({}, 1), (None, 1), ({"id": None}, 1), ({"id": 7}, 1)]
    assert ["collision", "inserted", "inserted", "inserted", "inserted", "inserted", "collision"] == kinds(
        rows.write(batch)  # of equal keys, the document whose text sorts first is inserted: "7" before 7
    )
    assert ["duplicate", "inserted"] == kinds(rows.write([({"id": "7"}, 1), ({}, 1)]))


@pytest.mark.min_pg(15)
def test_equal_nulls_of_an_expression(sql, writer, way):
    """An index with equal NULLs has one row whose expression is NULL."""
    sql("CREATE TABLE t (doc jsonb, v int); CREATE UNIQUE INDEX ON t ((doc ->> 'id'), v) NULLS NOT DISTINCT")
    rows = writer([sa.text("doc ->> 'id'"), "v"], ["doc", "v"], table="t", ignore=["doc"])
    outcomes = kinds(rows.write([({}, 1), (json.dumps({"a": 1}), 1), ({}, None), (None, None)]))
    assert [["in_batch", "inserted"]] * 2 == [sorted(outcomes[:2]), sorted(outcomes[2:])]
    assert ["duplicate", "duplicate"] == kinds(rows.write([({}, 1), ({}, None)]))


def test_coalesce(sql, writer, way):
    """COALESCE makes NULLs equal to its default, in a key that needs no other rule."""
    sql("CREATE TABLE t (k text, v int); CREATE UNIQUE INDEX ON t (k, COALESCE(v, '-1'::integer))")
    rows = writer(["k", sa.text("coalesce(v, -1)")], ["k", "v"], table="t", ignore=["v"])
    outcomes = kinds(rows.write([("a", None), ("a", -1), ("a", None), ("a", 0)]))
    assert ["in_batch", "in_batch", "inserted"] == sorted(outcomes[:3])
    assert "inserted" == outcomes[3]


def test_citext(sql, writer, way):
    """An expression of type citext is compared by its own operator."""
    sql("CREATE TABLE t (k citext, v int, gone date)")
    sql(f"CREATE UNIQUE INDEX ON t ((btrim(k::text)::citext)) WHERE {LIVE}")
    rows = writer([sa.text(r"btrim(k\:\:text)\:\:citext")], ["k", "v"], table="t", where=LIVE, ignore=["k"])
    assert ["inserted", "in_batch", "inserted"] == kinds(rows.write([(" Ann", 1), ("aNN ", 1), ("bob", 1)]))
    assert ["duplicate"] == kinds(rows.write([("ANN", 1)]))


@pytest.mark.parametrize("column_collation", ["", 'COLLATE "C"'])
def test_a_collation_of_the_index(sql, writer, way, column_collation):
    """The collation at the end of an element is the index's, whatever the column's."""
    sql(f"CREATE TABLE t (k text {column_collation}, v int)")
    sql('CREATE UNIQUE INDEX ON t (lower(k) COLLATE "POSIX")')
    for element in ('lower(k) COLLATE "POSIX"', '(lower(k) COLLATE pg_catalog."POSIX")', "lower(k)"):
        sql("TRUNCATE t")
        rows = writer([sa.text(element)], ["k", "v"], table="t", ignore=["k"])
        assert ["inserted", "in_batch", "inserted"] == kinds(rows.write([("a", 1), ("A", 1), ("b", 1)]))
    with pytest.raises(WrongUsage, match="has no arbiter"):
        writer([sa.text('lower(k) COLLATE "C"')], ["k", "v"], table="t").probe()


def test_a_collation_inside_an_element(sql, writer):
    """An index whose expression has another collation inside is not the key's, though the planner prints both alike."""
    sql("CREATE TABLE t (k text, v int)")
    for collation in ("POSIX", "C"):
        sql(f"""CREATE UNIQUE INDEX "of {collation}" ON t (('a' < k COLLATE "{collation}"))""")
    rows = writer([sa.text(''''a' < k COLLATE "C"''')], ["k", "v"], table="t", ignore=["k"])
    assert ["inserted"] == kinds(rows.write([("b", 1)]))
    assert frozenset({"of C"}) == rows.arbiter.key_indexes


def test_a_nondeterministic_collation(sql, writer, way):
    """Under a collation that ignores accents, keys are equal as the index says, by the column or by the element."""
    try:
        sql("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
    except psycopg.errors.FeatureNotSupported:
        pytest.skip("this server has no ICU")
    sql("CREATE TABLE t (k text COLLATE loose, v int); CREATE UNIQUE INDEX ON t (lower(k)) WHERE v > 0")
    rows = writer([sa.text("lower(k)")], ["k", "v"], table="t", where="v > 0", ignore=["k"])
    assert ["inserted", "in_batch", "inserted"] == kinds(rows.write([("ete", 1), ("Été", 1), ("ete", 0)]))
    sql("CREATE TABLE s (k text, v int); CREATE UNIQUE INDEX ON s (lower(k) COLLATE loose)")
    rows = writer([sa.text("lower(k) COLLATE loose")], ["k", "v"], table="s", ignore=["k"])
    assert ["inserted", "in_batch"] == kinds(rows.write([("ete", 1), ("Été", 1)]))
    assert ["duplicate"] == kinds(rows.write([("ÉTÉ", 1)]))


def test_odd_names_and_characters(sql, writer, way):
    """Names with capitals and braces, and percent signs, colons and braces in an expression, are taken as they are."""
    sql("""CREATE TABLE "Odd {t}" ("Mixed Case" text, "{k}" text)""")
    sql("""CREATE UNIQUE INDEX ON "Odd {t}" (lower("Mixed Case" || '%s :x {k}')) WHERE "{k}" <> '%:{x}'""")
    rows = writer(
        [Expression("""lower("Odd {t}"."Mixed Case" || '%s :x {k}')""")],
        ["Mixed Case", "{k}"],
        table="Odd {t}",
        where="""("Odd {t}"."{k}" <> '%:{x}')""",
        ignore=["Mixed Case"],
    )
    assert ["inserted", "in_batch", "inserted", "inserted"] == kinds(
        rows.write([("a", "1"), ("A", "1"), ("a", "%:{x}"), ("a", "%:{x}")])
    )


def test_a_function_of_another_schema(sql, writer, psycopg_connect, way):
    """A key may call a function that is found by the search path, or name its schema; its index has one name for it."""
    sql("CREATE SCHEMA f; CREATE FUNCTION f.norm(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT upper($1)'")
    sql("CREATE TABLE t (k text, v int); CREATE UNIQUE INDEX ON t (f.norm(k))")
    connection = psycopg_connect(autocommit=True)
    connection.execute("SET search_path = public, f")
    for element in ("norm(k)", "f.norm(k)"):
        sql("TRUNCATE t")
        rows = Writer(connection, [sa.text(element)], ["k", "v"], table="t", ignore=["k"])
        assert ["inserted", "in_batch"] == kinds(rows.write([("a", 1), ("A", 1)]))


def test_partitions_with_an_expression(sql, writer, way):
    """The arbiter of a partitioned table has expressions too, though each partition has its own index."""
    sql("CREATE TABLE t (k int, e text, gone date) PARTITION BY RANGE (k)")
    sql("CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)")
    sql(f"CREATE UNIQUE INDEX once ON t (k, lower(e)) WHERE {LIVE}")
    rows = writer(["k", sa.text("lower(e)")], ["k", "e"], table="t", where=LIVE, ignore=["e"])
    assert ["inserted", "in_batch", "inserted"] == kinds(rows.write([(1, "a"), (1, "A"), (1, "b")]))
    assert any("t1" in name for name in rows.arbiter.key_indexes)


def test_a_full_expression_uses_up_no_sequence(sql, writer, way):
    """Without a predicate the key is looked up first, so a duplicate uses no value of the primary key's sequence."""
    sql(f"{USERS}; CREATE UNIQUE INDEX once ON users (lower(email))")
    rows = writer([sa.text("lower(email)")], ["email"], table="users", ignore=["email"])
    rows.write([("a",), ("A",), ("a",)])
    assert ["duplicate"] == kinds(rows.write([("A",)]))
    assert [(1, True)] == sql("SELECT last_value, is_called FROM users_id_seq")


def test_an_index_that_is_no_constraint_has_no_name_for_the_clause(sql, writer, conn, way):
    """A key that an index alone enforces is inferred from its columns: ON CONSTRAINT would not find its name."""
    sql("CREATE TABLE t (id serial PRIMARY KEY, k text); CREATE UNIQUE INDEX once ON t (k)")
    key = UniqueKey(table="t", columns=("k",), name="once", form="index")
    rows = writer(key, ["k"])
    assert ["inserted", "in_batch"] == kinds(rows.write([("a",), ("a",)]))
    assert "columns" == rows.arbiter.mode
    table = Table("t", MetaData(), Column("id", Integer, primary_key=True), Column("k", Text))
    assert enforced(conn, key)
    assert conn.execute(on_conflict(insert(table).values(k="a"), key).returning(table.c.id)).first() is None


def test_the_clause_for_a_session(conn, sql):
    """The clause for a SQLAlchemy session has the key's expressions and predicate, with colons and percent signs."""
    sql(USERS)
    table = Table(
        "users", MetaData(), Column("id", Integer, primary_key=True), Column("email", Text), Column("v", Integer)
    )
    assert not enforced(conn, LOWER)
    sql(INDEX)
    assert enforced(conn, LOWER)
    statement = on_conflict(insert(table).values(email="a", v=1), LOWER)
    assert "ON CONFLICT ((lower(email))) WHERE gone IS NULL DO NOTHING" in " ".join(str(statement).split())
    assert [1, None] == [conn.execute(statement.returning(table.c.id)).scalar_one_or_none() for _ in range(2)]

    where = "email <> '100% :x' AND v > 0"
    odd = UniqueKey(
        table="users", columns=(Expression("""replace(email, '%:x', ':') COLLATE "C\""""), "v"), where=where
    )
    sql(f"""DROP INDEX once; CREATE UNIQUE INDEX ON users (replace(email, '%:x', ':') COLLATE "C", v) WHERE {where}""")
    assert enforced(conn, odd)
    statement = on_conflict(insert(table).values(email="b%:x", v=1), odd).returning(table.c.id)
    assert [True, False] == [conn.execute(statement).scalar_one_or_none() is not None for _ in range(2)]
    with pytest.raises(WrongUsage, match="contradicts"):
        on_conflict(statement, odd, where=LIVE)


FULL = "CREATE UNIQUE INDEX whole ON users (email)"
PART = f"CREATE UNIQUE INDEX once ON users (email) WHERE {LIVE}"


@pytest.mark.parametrize("where", [None, LIVE])
def test_a_full_index_beside_a_partial_one(sql, writer, way, where):
    """Every row is stored or recognised while a full index stands beside the partial one, and after it is dropped."""
    sql(f"{USERS}; {FULL}; {PART}; INSERT INTO users (email, v, gone) VALUES ('deleted', 1, '2026-01-01')")
    rows = writer(UniqueKey(table="users", columns=("email",)), ["email", "v"], where=where)
    outcomes = rows.write([("deleted", 1), ("deleted", 2), ("live", 1), ("live", 1)])
    assert ["duplicate", "collision", "inserted", "in_batch"] == kinds(outcomes)
    assert [1, 1] == [outcome.id for outcome in outcomes[:2]]

    sql("DROP INDEX whole")
    assert ["inserted", "duplicate", "inserted"] == kinds(rows.write([("deleted", 1), ("live", 1), ("new", 1)]))
    assert ["duplicate", "duplicate", "duplicate"] == kinds(rows.write([("deleted", 1), ("live", 1), ("new", 1)]))
    assert [(4,)] == sql("SELECT count(*) FROM users")
    assert {"42P10"} >= set(rows.retries)


def test_an_old_writer_that_names_columns_only(sql, writer, psycopg_connect):
    """A statement that names columns only fails at every row on a partial index; such a writer refuses at its start."""
    sql(f"{USERS}; {FULL}; {PART}")
    old = psycopg_connect(autocommit=True)
    upsert = "INSERT INTO users (email) VALUES ('a') ON CONFLICT (email) DO NOTHING"
    assert [1, 0] == [old.execute(upsert).rowcount for _ in range(2)]
    sql("DROP INDEX whole")
    with pytest.raises(psycopg.errors.InvalidColumnReference):
        old.execute(upsert)
    with pytest.raises(WrongUsage, match=r"give its expressions as the elements of the key, and its predicate"):
        writer(UniqueKey(table="users", columns=("email",)), ["email"]).probe()
    assert ["duplicate"] == kinds(writer(["email"], ["email"], table="users", where=LIVE).write([("a",)]))


@pytest.mark.parametrize(
    "other",
    [
        "(email, v)",
        "(email) WHERE v > 5",
        "(v, email) WHERE gone IS NOT NULL OR v > 5",
    ],
)
def test_another_index_rejects_what_the_arbiter_does_not(sql, writer, way, other):
    """A row that violates an index over the key which is not its arbiter is a duplicate, at once: no retry can help."""
    sql(f"{USERS}; {PART}; CREATE UNIQUE INDEX ON users {other}")
    sql("INSERT INTO users (email, v, gone) VALUES ('deleted', 7, '2026-01-01')")
    rows = writer(["email"], ["email", "v"], table="users", where=LIVE)
    assert ["duplicate", "inserted"] == kinds(rows.write([("deleted", 7), ("live", 7)]))
    assert ["duplicate", "duplicate", "inserted"] == kinds(rows.write([("deleted", 7), ("live", 7), ("new", 1)]))
    assert not rows.retries


def test_an_expression_beside_a_full_index_on_its_column(sql, writer, way):
    """A row that an index with other elements rejects is rejected with its name, and the others are written."""
    sql(f"{USERS}; {INDEX}; {FULL}; INSERT INTO users (email, v, gone) VALUES ('deleted', 1, '2026-01-01')")
    rows = writer(LOWER, ["email", "v"], ignore=["email"])
    outcomes = rows.write([("deleted", 1), ("Deleted", 1), ("live", 1)])
    assert ["rejected", "inserted", "inserted"] == kinds(outcomes)
    assert "23505" == outcomes[0].sqlstate
    assert not rows.retries


def test_two_writers_insert_one_key_at_once(users, writer, psycopg_connect, way, beside, until_blocked):
    """A key that another session commits during the INSERT is a duplicate, or a collision."""
    with psycopg_connect() as faster:
        faster.execute("INSERT INTO users (email, v) VALUES ('A', 1), ('B', 2)")
        writing = beside(lambda: users.write([("a", 1), ("b", 1), ("c", 1)]))
        until_blocked()
        faster.commit()
        assert ["duplicate", "collision", "inserted"] == kinds(writing.result())


def test_equal_keys_are_written_in_one_order(users, writer, sql, psycopg_connect, beside, until_blocked):
    """Two writers whose rows differ in case insert their keys in the same order, so that they do not deadlock."""
    holder = psycopg_connect()
    holder.execute("INSERT INTO users (email) VALUES ('a')")
    other = writer(LOWER, ["email", "v"], ignore=["email"])
    first = beside(lambda: users.write([("A", 1), ("b", 1)]))
    until_blocked(1)
    second = beside(lambda: other.write([("B", 1), ("a", 1)]))  # by its bytes, B would be first
    until_blocked(2)
    holder.rollback()
    assert sorted(kinds(first.result())) in (["inserted", "inserted"], ["duplicate", "duplicate"])
    second.result()
    assert {} == dict(users.retries + other.retries)
    assert [("a",), ("b",)] == sql("SELECT lower(email) FROM users ORDER BY 1")


def test_the_look_up_uses_the_index(users, sql):
    """A duplicate is found in its index, however many rows the table has, also by the plan of a prepared statement."""
    writing = users._delivery.connection

    def statistics(connection, column):
        # A session reports its statistics after one of its statements: at once if asked, on 14 every half second.
        flush = "SELECT pg_stat_force_next_flush()" if writing.info.server_version >= 150000 else "SELECT 1"
        connection(flush)
        return sql(f"SELECT {column} FROM pg_stat_user_tables WHERE relname = 'users'")[0][0]

    sql("INSERT INTO users (email, v) SELECT 'u' || n, 1 FROM generate_series(1, 5000) AS n; ANALYZE users")
    wait_for(lambda: statistics(sql, "n_tup_ins") == 5000)  # so the scan that built the index is reported, too
    before = statistics(sql, "seq_scan")
    for n in range(12):
        assert ["duplicate"] == kinds(users.write([(f"U{n + 1}", 1)]))
    wait_for(lambda: statistics(writing.execute, "idx_scan") >= 12)
    assert before == statistics(sql, "seq_scan")
