"""Seeding fills any table from its catalog alone, with duplicates under the key that a revision adds."""

import runpy
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations

from dupe_audit.seeding import ALL, CannotFill

ROOT = Path(__file__).parents[3]


def kinds(filled):
    """Return the numbers of rows, exact extras and divergent extras."""
    return filled.rows, filled.exact, filled.divergent


@pytest.fixture
def value(sql):
    """Execute SQL and return the first value of its first row."""
    return lambda statement: sql(statement)[0][0]


# Types

TYPES = (
    "int2 int4 int8 numeric numeric(10,2) numeric(4,3) numeric(3,0) float4 float8 money oid",
    'text varchar varchar(40) varchar(3) char(1) char(12) name citext "char" bytea',
    "date time timetz timestamp timestamp(0) timestamptz interval",
    "uuid json jsonb jsonpath hstore tsvector tsquery",
    "inet cidr macaddr macaddr8",
    "bool bit bit(3) bit(80) varbit varbit(5)",
    "int4range int8range numrange daterange tsrange tstzrange int4multirange datemultirange",
    "point line lseg box path polygon circle",
    "pg_lsn xid8 xid cid tid oidvector int2vector pg_snapshot regclass regtype regproc regprocedure regoper",
    "int regoperator regrole regnamespace regcollation regconfig regdictionary",
    "int[] text[] varchar(5)[] mood[] jsonb[] uuid[] int4range[] numeric(6,2)[] pair[]",
    "mood short long pair span spans",
)
OWN = """
CREATE TYPE mood AS ENUM ('sad', 'it''s', '{i}');
CREATE DOMAIN short AS varchar(12) CHECK (VALUE <> 'VALUE' AND length(VALUE) > 2);
CREATE DOMAIN long AS short NOT NULL CHECK (VALUE LIKE 'go%');
CREATE TYPE pair AS (a int, b text);
CREATE TYPE span AS RANGE (subtype = numeric, multirange_type_name = spans);
"""


def test_every_type_has_values(sql, seeded, table, value):
    """Every built-in type gets values that are not NULL, and duplicates of them."""
    sql(OWN)
    few = {"bool", "bit", "mood", "mood[]", "bit(3)", "varbit(5)", '"char"', "char(1)"}
    for family in TYPES:
        types = family.split()
        table("k int NOT NULL, " + ", ".join(f"c{n} {name} NOT NULL" for n, name in enumerate(types)))
        assert (200, 3, 3) == kinds(seeded("(k)")), family
        for n, name in enumerate(types):
            if name not in few and not name.startswith("reg"):
                assert value(f"SELECT count(DISTINCT c{n}::text) FROM t") > 180, name


def test_types_of_extensions(sql, seeded, table):
    """The types of well-known extensions have values too."""
    available = [name for (name,) in sql("SELECT name FROM pg_available_extensions WHERE name IN ('vector', 'ltree')")]
    for name in available:
        sql(f"CREATE EXTENSION {name}")
    columns = {"vector": "a vector(20) NOT NULL, b halfvec NOT NULL", "ltree": "c ltree NOT NULL, d ltree[] NOT NULL"}
    table(", ".join(["k int NOT NULL", *(columns[name] for name in available)]))
    assert (200, 3) == kinds(seeded("(k)"))[:2]


def test_types_in_keys(sql, seeded, table):
    """A key with a column of any type that a key can have gets extras, and rows with a NULL in it."""
    sql(OWN)
    table("a uuid, b citext, c mood, d long, e daterange, f bit(80), g text[]")
    filled = seeded("(a, b, c, d, e, f, g)")
    assert (200, 3, 0, 20) == (*kinds(filled), filled.null_keys)


def test_xml(seeded, table, value):
    """A type that the server was built without is treated as unknown."""
    table("k int, x xml")
    seeded("(k)")
    built_in = value("SELECT count(*) FROM pg_config WHERE setting LIKE '%with-libxml%'")
    assert (value("SELECT count(DISTINCT x::text) FROM t") > 150) == bool(built_in)


def test_an_unknown_type(seeded, table, value):
    """A column of an unknown type is NULL or gets its default, and the table cannot be filled if it can do neither."""
    table("k int, a aclitem, b aclitem NOT NULL DEFAULT '=r/postgres'")
    assert 200 == seeded("(k)").rows
    assert 200 == value("SELECT count(*) FROM t WHERE a IS NULL AND b IS NOT NULL")
    table("k int, a aclitem NOT NULL")
    with pytest.raises(CannotFill, match=r"^public\.t: no value can be generated for a, of type aclitem\.$"):
        seeded("(k)")


def test_generated_and_identity_columns(sql, seeded, value):
    """Columns that the server fills are left to it, and a key on a generated column gets duplicates all the same."""
    sql("""CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text NOT NULL,
                           b text GENERATED ALWAYS AS (lower(a)) STORED, c int)""")
    filled = seeded("(b)")
    assert (200, 3, 3, 0) == (*kinds(filled), filled.null_keys)
    assert 200 == value("SELECT max(id) FROM t")


# Duplicates


def test_groups(sql, seeded, table, value):
    """One row in a hundred is in a group of each kind, one group per kind has three rows, and some keys are NULL."""
    table("a int, b text NOT NULL, c timestamptz, d bool")
    filled = seeded("(a, b)", rows=2000)
    assert (2000, 10, 10, 20, 0) == (*kinds(filled), filled.null_keys, filled.referenced)
    sizes = "SELECT count(*) AS size FROM t WHERE a IS NOT NULL GROUP BY a, b"
    assert [(2, 16), (3, 2)] == sql(f"SELECT size, count(*) FROM ({sizes}) AS g WHERE size > 1 GROUP BY 1 ORDER BY 1")
    assert 0 < value("SELECT count(*) FROM t WHERE c IS NULL") < 500


def test_few_rows(seeded, table):
    """A table gets any small number of rows, and from 20 rows on both kinds of extras and NULL keys."""
    for rows in (0, 1, 2, 5, 20):
        table("a int, b text")
        filled = seeded("(a)", rows=rows)
        assert rows == filled.rows
        assert (rows >= 20) == (filled.exact > 0 and filled.divergent > 0 and filled.null_keys > 0)


def test_only_the_shapes_that_are_asked_for(seeded, table):
    """Only the requested kinds of extras are generated; if none is requested, all rows are distinct."""
    for shapes, expected in (
        ((), (0, 0, 0)),
        (("exact",), (3, 0, 0)),
        (("divergent",), (0, 3, 0)),
        (("null",), (0, 0, 20)),
    ):
        table("a int, b text")
        filled = seeded("(a)", shapes=frozenset(shapes))
        assert (200, *expected) == (*kinds(filled), filled.null_keys)


def test_no_new_index(seeded, table, value):
    """Without a new key the table gets plain rows."""
    table("a int NOT NULL, b bool NOT NULL")
    filled = seeded()
    assert (200, 0, 0, 0, 0) == (*kinds(filled), filled.null_keys, filled.referenced)
    assert 200 == value("SELECT count(DISTINCT a) FROM t")


def test_two_keys(seeded, table):
    """A duplicate under one key satisfies the other key, which makes it divergent."""
    table("a int NOT NULL, b text NOT NULL UNIQUE, c date NOT NULL")
    filled = seeded("(a)", "(c)")
    assert (200, 0, 6) == kinds(filled)


def test_an_existing_key(seeded, table):
    """If an existing unique key is part of the new one, no duplicates are possible."""
    table("a int NOT NULL UNIQUE, b text")
    filled = seeded("(a, b)")
    assert (200, 0, 0, 20) == (*kinds(filled), filled.null_keys)


def test_a_deferrable_key(sql, seeded):
    """A deferrable key is satisfied too."""
    sql("CREATE TABLE t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, a int, b text UNIQUE DEFERRABLE)")
    filled = seeded("(a)")
    assert (200, 0, 3) == kinds(filled)


def test_an_exclusion_constraint(seeded, table):
    """Rows that an exclusion constraint forbids are not generated."""
    table("a int NOT NULL, r int4range NOT NULL, EXCLUDE USING gist (r WITH &&)")
    filled = seeded("(a)")
    assert (200, 0, 3) == kinds(filled)


def test_a_partial_index(seeded, table, value):
    """Duplicates under a partial index satisfy its predicate."""
    for predicate in (
        "gone IS NULL",
        "state = 'live'",
        "state IN ('live', 'late') AND n > 50",
        "flag",
        "NOT flag AND a <> ''",
    ):
        table("a text NOT NULL, gone timestamptz, state text NOT NULL, n int NOT NULL, flag bool NOT NULL, other int")
        assert (200, 3, 3) == kinds(seeded(f"(a) WHERE {predicate}")), predicate
        assert 6 == value(f"SELECT count(*) - count(DISTINCT a) FROM t WHERE {predicate}")


def test_an_expression(seeded, table):
    """Duplicates under an expression share the columns that it reads, and no other rows do."""
    for expression in ("(lower(a))", "(lower(a), b)", "((b + 1))", "(date_trunc('day', c))"):
        table("a text NOT NULL, b int NOT NULL, c timestamp NOT NULL, d int")
        assert (200, 3, 3) == kinds(seeded(expression)), expression


@pytest.mark.min_pg(15)
def test_nulls_that_are_not_distinct(seeded, table):
    """If NULLs are not distinct, rows with a NULL key are duplicates too."""
    table("a int, b text NOT NULL, c int")
    filled = seeded("(a, b) NULLS NOT DISTINCT")
    assert (200, 13, 3, 20) == (*kinds(filled), filled.null_keys)


def test_existing_partial_keys(sql, seeded, table):
    """Rows that an existing partial key would forbid are generated so that its predicate does not hold."""
    table("a int NOT NULL, main bool NOT NULL, gone date, b text NOT NULL, c int")
    sql("CREATE UNIQUE INDEX ON t (a) WHERE main AND gone IS NULL; CREATE UNIQUE INDEX ON t (main) WHERE main")
    filled = seeded("(a, b) WHERE gone IS NULL")
    assert (200, 3, 3) == kinds(filled)


def test_a_key_of_few_values(seeded, table):
    """A key with two possible values gets at most 20 rows."""
    table("a bool NOT NULL, b int")
    filled = seeded("(a)")
    assert 2 < filled.rows <= 20
    assert filled.exact + filled.divergent == filled.rows - 2


def test_what_the_revision_adds_first(sql, seeded, table):
    """A key on a column or function that does not exist yet gets no duplicates."""
    sql("CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'")
    table("a int, b int, c int")
    for definition in ("(a, b)", "((f(c)))"):
        seeded(definition, rows=0)
    sql("ALTER TABLE t DROP b; DROP FUNCTION f")
    assert (200, 0, 0) == kinds(seeded("(a, b)", "((f(c)))"))


def test_existing_rows_stay(sql, seeded, value):
    """Rows that a revision inserted are kept, and others are added."""
    sql("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL); INSERT INTO t VALUES (1, -1), (2, -2), (50, -3)")
    filled = seeded("(a)")
    assert filled.rows > 195
    assert 3 == value("SELECT count(*) FROM t WHERE a < 0")


# Foreign keys


def test_parents_first(sql, seeded, value):
    """Referenced tables are filled first, over several levels and with keys of several columns."""
    sql("""
        CREATE TABLE country (code char(2) PRIMARY KEY, name text NOT NULL);
        CREATE TABLE tenant (id serial PRIMARY KEY, country char(2) NOT NULL REFERENCES country);
        CREATE TABLE person (tenant int REFERENCES tenant, id uuid, PRIMARY KEY (tenant, id));
        CREATE TABLE t (id serial PRIMARY KEY, tenant int NOT NULL REFERENCES tenant, person uuid NOT NULL,
                        label text NOT NULL, note text, FOREIGN KEY (tenant, person) REFERENCES person);
    """)
    filled = seeded("(tenant, label)")
    assert (200, 3, 3) == kinds(filled)
    assert 50 == value("SELECT count(DISTINCT person) FROM t")


def test_keys_of_nothing_but_foreign_keys(sql, seeded):
    """If only parents distinguish the rows, there are enough parents."""
    sql("""
        CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id bigint PRIMARY KEY, a int UNIQUE REFERENCES a);
        CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL REFERENCES a, b bigint NOT NULL REFERENCES b);
    """)
    filled = seeded("(a, b)", rows=1000)
    assert (1000, 5, 0) == kinds(filled)


def test_one_row_for_each_parent(sql, seeded, value):
    """A key on one foreign key gets as many parents as rows."""
    sql(
        "CREATE TABLE a (id serial PRIMARY KEY);CREATE TABLE t (id int PRIMARY KEY REFERENCES a, b int NOT NULL, c int)"
    )
    filled = seeded("(b)")
    assert (200, 3, 3) == kinds(filled)
    assert 200 == value("SELECT count(*) FROM a")


def test_self_references(sql, seeded, value):
    """A row references nothing, or itself if it must or a key requires it, and a few rows reference extras."""
    sql("CREATE TABLE t (id serial PRIMARY KEY, up int REFERENCES t, root int NOT NULL REFERENCES t, a text NOT NULL)")
    filled = seeded("(a)", shapes=ALL - {"referenced"})
    assert (200, 3, 0) == (filled.rows, filled.exact, filled.referenced)
    assert 200 == value("SELECT count(*) FROM t WHERE up IS NULL")
    sql("TRUNCATE t")
    filled = seeded("(a)")
    assert (3, 6) == (filled.exact, filled.referenced)
    assert 15 == value("SELECT count(*) FROM t WHERE up <> id")
    sql("DROP TABLE t; CREATE TABLE t (id serial PRIMARY KEY, up int REFERENCES t, a text NOT NULL)")
    filled = seeded("(up, a)")
    assert (3, 20) == (filled.exact, filled.null_keys)


def test_cycles(sql, seeded):
    """A cycle of foreign keys is filled if one of them allows NULL or is deferrable, and else cannot be filled."""
    sql(
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL);CREATE TABLE u (id int PRIMARY KEY, t int)"
    )
    sql(
        "ALTER TABLE t ADD FOREIGN KEY (b) REFERENCES u; ALTER TABLE u ADD CONSTRAINT back FOREIGN KEY (t) REFERENCES t"
    )
    assert 3 == seeded("(a)").exact
    sql("TRUNCATE t, u; ALTER TABLE u ALTER t SET NOT NULL")
    with pytest.raises(
        CannotFill, match=r"public\.u: the foreign key public\.back needs parent rows that cannot be inserted first"
    ):
        seeded("(a)")
    sql("ALTER TABLE u ALTER CONSTRAINT back DEFERRABLE")
    assert 3 == seeded("(a)").exact


def test_children(sql, seeded, value):
    """Rows of other tables reference all rows of some groups, and some rows in no group."""
    sql("""
        CREATE TABLE t (id serial PRIMARY KEY, a int NOT NULL, b text);
        CREATE TABLE owner (id uuid PRIMARY KEY, name text NOT NULL UNIQUE);
        CREATE TABLE c (id serial PRIMARY KEY, t int NOT NULL REFERENCES t, owner uuid NOT NULL REFERENCES owner);
        CREATE TABLE d (t int PRIMARY KEY REFERENCES t, x point NOT NULL);
        CREATE TABLE e (t int REFERENCES t, x aclitem NOT NULL);
    """)
    filled = seeded("(a)")
    assert (3, 3, 6) == (filled.exact, filled.divergent, filled.referenced)
    assert [15, 15, 0] == [value(f"SELECT count(*) FROM {name}") for name in "cde"]
    assert 5 == value(
        "SELECT count(*) FROM c JOIN t ON t.id = c.t WHERE (SELECT count(*) FROM t o WHERE o.a = t.a) = 1"
    )


# Checks


CHECKS = (
    "s IN ('new', 'old', 'it''s')",
    "n BETWEEN 1 AND 5",
    "n < 0",
    "n % 5 = 3",
    "length(s) = 7",
    "length(s) >= 3 AND s ~ '^[A-Z]+$'",
    "s ~ '^[a-z0-9]+@[a-z.]+$'",
    "s LIKE 'pre-%'",
    "n < m",
    "n < m AND m < o",
    "x > 0 AND x < 1",
    "s = lower(s) AND s <> ''",
    "num_nonnulls(n, m) = 1",
    "(s = 'a') = (n IS NULL)",
    "d1 < d2",
    "d1 >= '2020-01-01' AND d1 < '2020-02-01'",
    "jsonb_typeof(j) = 'array'",
    "cardinality(l) = 3",
    "NOT flag",
    "n + m = 100",
    "lower_inc(r) AND NOT upper_inc(r)",
    "length(v) BETWEEN 8 AND 10",
    "s IS NOT NULL AND s ~ '^#[0-9a-f]{6}$'",
    "s IS NOT NULL AND s ~ '^[A-Z]{2}(?:-[[:digit:]]+)?[^a-z]{3,8}\\\\.x?$'",
    "s IS NOT NULL AND s SIMILAR TO '[A-Z]{2}[0-9]{4}'",
    "b IS NOT NULL AND octet_length(b) = 32",
    "i IS NOT NULL AND i > interval '1 day'",
    "d1 IS NOT NULL AND EXTRACT(dow FROM d1) = 1",
    "n IS NOT NULL AND (s IS NULL OR length(s) > n)",
    "s ~ '^\\d{4}-\\d{2}$' OR s IN ('none')",
)


def test_checks(seeded, table):
    """Values are found that satisfy the check, and duplicates among them."""
    for check in CHECKS:
        table(f"""k int NOT NULL, s text, n int, m int, o int, x numeric, d1 date, d2 date, j jsonb, l int[], flag bool,
                  r tstzrange, v varchar(10), b bytea, i interval, CHECK ({check})""")
        assert (200, 3, 3) == kinds(seeded("(k)")), check


def test_checked_columns_in_keys(sql, seeded):
    """Columns for which a check allows few values are combined, so that keys hold."""
    sql("""CREATE TABLE t (id serial PRIMARY KEY, kind text NOT NULL CHECK (kind IN ('a', 'b', 'c')),
                           rank int NOT NULL CHECK (rank BETWEEN 1 AND 20), UNIQUE (kind, rank), k int NOT NULL)""")
    filled = seeded("(k)", rows=50)
    assert 3 <= filled.divergent
    assert 45 <= filled.rows


def test_a_check_that_cannot_be_met(sql, conn, seeded, value):
    """A check that no generated value satisfies is named, no row stays behind, and no transaction stays open."""
    sql("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE t (k int REFERENCES p, s text NOT NULL)")
    sql(r"ALTER TABLE t ADD CONSTRAINT odd CHECK (s ~ '^(\d)-\1$' AND s !~ '0')")
    with pytest.raises(CannotFill, match=r"^public\.t: no generated value of s satisfies odd\.$"):
        seeded("(k)")
    assert 0 == value("SELECT count(*) FROM p")
    assert 0 == conn.exec_driver_sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%%'").scalar_one()


def test_partitions(sql, seeded):
    """Every row of a partitioned table belongs in one of its partitions."""
    for bounds in ("FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')", "DEFAULT"):
        sql("DROP TABLE IF EXISTS t")
        sql("CREATE TABLE t (id serial, at timestamptz NOT NULL, a text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)")
        sql(f"CREATE TABLE t1 PARTITION OF t {bounds}")
        assert (200, 3) == kinds(seeded("(a, at)"))[:2]


TREES = {
    "range": (
        "RANGE (at)",
        "t1 PARTITION OF t FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "t2 PARTITION OF t FOR VALUES FROM ('2026-02-01') TO (MAXVALUE) PARTITION BY LIST (kind)",
        "t2a PARTITION OF t2 FOR VALUES IN ('a', 'b')",
        "t2b PARTITION OF t2 DEFAULT",
        "t0 PARTITION OF t DEFAULT",
    ),
    "list": ("LIST (kind)", "t1 PARTITION OF t FOR VALUES IN ('eu', 'us')", "t2 PARTITION OF t FOR VALUES IN ('asia')"),
    "hash": (
        "HASH (at)",
        "t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
        "t2 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1)",
    ),
}


@pytest.mark.parametrize("tree", TREES)
def test_every_leaf_gets_rows_and_duplicates(sql, seeded, tree):
    """Every leaf of a partitioned table has rows within its bounds, and exact and divergent groups under the key."""
    by, *parts = TREES[tree]
    columns = "id int GENERATED BY DEFAULT AS IDENTITY, at date NOT NULL, kind text NOT NULL, note text, n int NOT NULL"
    sql(f"CREATE TABLE t ({columns}) PARTITION BY {by}")
    for part in parts:
        sql(f"CREATE TABLE {part}")
    seeded("(at, kind, n)")
    leaves = "SELECT count(*) FROM pg_class WHERE relname ~ '^t[0-9]' AND relkind = 'r'"
    groups = "SELECT tableoid, count(DISTINCT note) > 1 AS d FROM t GROUP BY tableoid, at, kind, n HAVING count(*) > 1"
    assert sql(leaves) == sql(f"SELECT count(*) FROM (SELECT FROM ({groups}) AS g GROUP BY tableoid) AS leaf")


def test_foreign_keys_of_partitions(sql, seeded):
    """A foreign key that only the partitions have is followed too."""
    sql("""
        CREATE TABLE p (id serial PRIMARY KEY, name text NOT NULL);
        CREATE TABLE t (id serial, p int NOT NULL, a text NOT NULL) PARTITION BY HASH (p);
        CREATE TABLE t1 PARTITION OF t (FOREIGN KEY (p) REFERENCES p) FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE t2 PARTITION OF t (FOREIGN KEY (p) REFERENCES p) FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    """)
    # And a few more rows in each of the two.
    assert (200 + 48, 3 + 4, 3 + 4) == kinds(seeded("(a, p)"))


# As a whole


def test_the_same_seed_gives_the_same_rows(sql, seeded):
    """The same seed gives the same rows to the byte, and another seed chooses other duplicates."""
    make = """CREATE TABLE p (id serial PRIMARY KEY, name text NOT NULL);
              CREATE TABLE t (id serial PRIMARY KEY, p int REFERENCES p, u uuid DEFAULT gen_random_uuid(),
                              at timestamptz DEFAULT now(), k text NOT NULL, n numeric(8,2))"""

    def rows(seed):
        sql(f"DROP TABLE IF EXISTS t, p; {make}")
        seeded("(k)", seed=seed)
        return sql("SELECT t::text FROM t ORDER BY id"), sql("SELECT k FROM t GROUP BY k HAVING count(*) > 1")

    first = rows(1)
    assert first == rows(1)
    assert set(first[1]) != set(rows(2)[1])


def test_triggers_fire(sql, seeded, table):
    """A trigger that rejects rows is quoted, and one that suppresses all of them is reported."""
    for body, message in (
        ("RAISE EXCEPTION 'not today'", "not today"),
        ("RETURN NULL", "no row was inserted; a trigger or a rule suppressed all of them"),
    ):
        table("k int")
        sql(f"CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body}; END$$")
        sql("CREATE TRIGGER f BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()")
        with pytest.raises(CannotFill, match=rf"^public\.t: {message}\.$"):
            seeded("(k)")


def test_names_that_need_quotes(seeded, table):
    """Tables and columns may have any name that PostgreSQL allows."""
    table('"a ""b" int NOT NULL, "{c}" text, "p.c0" int CHECK ("p.c0" > 5), "%s" text, "\n" text CHECK ("\n" <> \'x\')')
    filled = seeded('("a ""b")')
    assert (200, 3, 3) == kinds(filled)


def test_the_reference_project(conn, seeded):
    """The reference project's table is filled with 10,000 rows."""
    revision = runpy.run_path(str(next((ROOT / "alembic" / "versions").glob("014*.py"))))
    with Operations.context(MigrationContext.configure(conn)):
        revision["upgrade"]()
    filled = seeded("(correlation_id, action_name, created_at)", table="agent_actions", rows=10_000)
    assert (10_000, 50, 50, 0) == (*kinds(filled), filled.null_keys)


def test_few_values_that_belong_together(seeded, table):
    """Columns that satisfy a check only together stay together, even if a key needs other combinations."""
    table("a bool NOT NULL, b bool NOT NULL, CHECK (a = b), c int NOT NULL, UNIQUE (a, b, c), d int NOT NULL")
    assert 200 == seeded("(d)").rows
    table("a bool NOT NULL, b bool NOT NULL, k bool NOT NULL, CHECK (a = b), d int NOT NULL, UNIQUE (a, k)")
    assert 3 <= seeded("(d)").rows <= 4


def test_one_table_after_the_other(sql, seeded, value):
    """A table that already has rows as a parent is filled like any other."""
    sql("""
        CREATE TABLE p (id serial PRIMARY KEY, name text NOT NULL UNIQUE, k int NOT NULL);
        CREATE TABLE t (id serial PRIMARY KEY, p int NOT NULL REFERENCES p, k int NOT NULL);
    """)
    assert 3 == seeded("(k)").exact
    assert 50 == value("SELECT count(*) FROM p")
    filled = seeded("(k)", table="p")
    assert (250, 0, 3, 3) == (*kinds(filled), filled.referenced)
