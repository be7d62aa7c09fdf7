"""Every verdict about an arbiter is compared with PostgreSQL's own answer to the same INSERT."""

import uuid
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from dupe_audit.checks.evidence import EmptyTrip, Evidence, Revision
from dupe_audit.checks.rules.writers import check, missing
from dupe_audit.errors import WrongUsage
from dupe_audit.schema.facts import Catalog
from dupe_audit.schema.snapshot import snapshot

SCHEMA = """
CREATE TABLE t (id int PRIMARY KEY, a int, b int, s text, v varchar(9), d jsonb, ts timestamp, e int,
                CONSTRAINT uq_ab UNIQUE (a, b) INCLUDE (e),
                CONSTRAINT ck CHECK (e > 0));
CREATE UNIQUE INDEX part ON t (s) WHERE a > 3 AND b IS NOT NULL;
CREATE UNIQUE INDEX low ON t (lower(v));
CREATE UNIQUE INDEX two ON t (a, lower(s));
CREATE UNIQUE INDEX day ON t ((ts::date), b);
CREATE UNIQUE INDEX js ON t ((d ->> 'k'));
CREATE UNIQUE INDEX col ON t (s COLLATE "C", v text_pattern_ops);
CREATE TABLE late (id int PRIMARY KEY, a int CONSTRAINT uq_late UNIQUE DEFERRABLE, b int);
CREATE UNIQUE INDEX late_b ON late (b);
CREATE TABLE twice (id int PRIMARY KEY, a int CONSTRAINT uq_twice UNIQUE DEFERRABLE INITIALLY DEFERRED);
CREATE UNIQUE INDEX twice_a ON twice (a);
CREATE TABLE spoilt (id int PRIMARY KEY, a int);
CREATE TABLE ex (id int PRIMARY KEY, r int4range, CONSTRAINT ex_r EXCLUDE USING gist (r WITH &&));
CREATE TABLE parts (a int, b int, UNIQUE (a, b)) PARTITION BY RANGE (a);
CREATE TABLE parts1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE UNIQUE INDEX parts1_b ON parts1 (b);
CREATE SCHEMA other;
CREATE TABLE other.alone (id int PRIMARY KEY);
CREATE TABLE "Odd Name" ("Key" int UNIQUE);
"""

SPOIL = "INSERT INTO spoilt VALUES (1, 1), (2, 1)"

#: an INSERT, the finding, and the SQLSTATE of the server
CASES = [
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT ((id)) DO NOTHING", None, None),
    ("INSERT INTO t AS x (id) VALUES (1) ON CONFLICT DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (b, a) DO UPDATE SET e = 1", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (a, a, b) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (a, b) WHERE a > 1 DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (a) DO NOTHING", "no-arbiter", "42P10"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (a, b, e) DO NOTHING", "no-arbiter", "42P10"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (nowhere) DO NOTHING", "no-arbiter", "42703"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT DO UPDATE SET e = 1", "no-arbiter", "42601"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT uq_ab DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET e = 1", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT none DO NOTHING", "no-arbiter", "42704"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT low DO NOTHING", "no-arbiter", "42704"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT ON CONSTRAINT ck DO NOTHING", "no-arbiter", "42809"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (s) DO NOTHING", "no-arbiter", "42P10"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (s) WHERE b IS NOT NULL AND (a > 3) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (s) WHERE t.a>3 AND b IS NOT NULL AND e = 1 DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (lower(v)) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (LOWER(v::text)) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (pg_catalog.lower(v)) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (upper(v)) DO NOTHING", "unsure", "42P10"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (lower(s), a) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (lower(s)) DO NOTHING", "no-arbiter", "42P10"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (b, (ts::date)) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (b, (CAST(ts AS date))) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (b, ts) DO NOTHING", "no-arbiter", "42P10"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT ((d->>'k')) DO NOTHING", None, None),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (s, v) DO NOTHING", None, None),
    ('INSERT INTO t (id) VALUES (1) ON CONFLICT (s COLLATE "C", v text_pattern_ops) DO NOTHING', None, None),
    ('INSERT INTO t (id) VALUES (1) ON CONFLICT (s COLLATE "POSIX", v) DO NOTHING', "no-arbiter", "42P10"),
    ("INSERT INTO t (id) VALUES (1) ON CONFLICT (id int4_ops) DO NOTHING", "unsure", None),
    ("INSERT INTO late (id) VALUES (1) ON CONFLICT (a) DO NOTHING", "arbiter-unfit", "55000"),
    ("INSERT INTO late (id) VALUES (1) ON CONFLICT ON CONSTRAINT uq_late DO NOTHING", "arbiter-unfit", "55000"),
    ("INSERT INTO late (id) VALUES (1) ON CONFLICT DO NOTHING", "arbiter-unfit", "55000"),
    ("INSERT INTO late (id) VALUES (1) ON CONFLICT (b) DO UPDATE SET a = 1", None, None),
    ("INSERT INTO twice (id) VALUES (1) ON CONFLICT (a) DO NOTHING", "arbiter-unfit", "55000"),
    ("INSERT INTO spoilt (id) VALUES (9) ON CONFLICT (a) DO NOTHING", "arbiter-unfit", "42P10"),
    ("INSERT INTO spoilt (id) VALUES (9) ON CONFLICT DO NOTHING", None, None),
    ("INSERT INTO ex (id) VALUES (1) ON CONFLICT ON CONSTRAINT ex_r DO NOTHING", None, None),
    ("INSERT INTO ex (id) VALUES (1) ON CONFLICT ON CONSTRAINT ex_r DO UPDATE SET id = 2", "no-arbiter", "42809"),
    ("INSERT INTO ex (id) VALUES (1) ON CONFLICT (r) DO NOTHING", "no-arbiter", "42P10"),
    ("INSERT INTO parts VALUES (1, 1) ON CONFLICT (a, b) DO NOTHING", None, None),
    ("INSERT INTO parts VALUES (1, 1) ON CONFLICT (b) DO NOTHING", "no-arbiter", "42P10"),
    ("INSERT INTO parts1 VALUES (1, 1) ON CONFLICT (b) DO NOTHING", None, None),
    ("INSERT INTO other.alone VALUES (1) ON CONFLICT (id) DO NOTHING", None, None),
    ("INSERT INTO other.alone VALUES (1) ON CONFLICT (nope) DO NOTHING", "no-arbiter", "42703"),
    ('INSERT INTO "Odd Name" VALUES (1) ON CONFLICT ("Key") DO NOTHING', None, None),
    (
        "WITH x AS (INSERT INTO t (id) VALUES (2) ON CONFLICT (e) DO NOTHING RETURNING 1) SELECT 1",
        "no-arbiter",
        "42P10",
    ),
]


def run_rule(final: Catalog, *sources: Path, **evidence):
    blank = {"heads": (), "revisions": (), "empty_trips": (), "seeded_trips": ()}
    return list(check(Evidence(**(blank | evidence), final_schema=final, writer_paths=sources)))


def ids_and_lines(results):
    return [(result.finding.id, result.place.line) for result in results]


def servers_verdict(connection, statement):
    """Return the SQLSTATE with which the server refuses a statement, or None."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate
    return None


def verdicts(final, connection, cases, directory):
    """Return each statement with the rule's finding and the server's SQLSTATE, which the message must contain."""
    judged = []
    for number, (statement, _finding, _state) in enumerate(cases):
        state = servers_verdict(connection, statement)
        file = directory / f"{number}.sql"
        file.write_text(statement)
        results = run_rule(final, file)
        # For the rule, a missing column and a check constraint are just no arbiter, with another code.
        assert not results or state in ("42703", "42809") or f"[{state}]" in results[0].finding.message
        judged.append((statement, results[0].finding.id if results else None, state))
    return judged


def test_each_verdict_is_the_servers(conn, sql, psycopg_connect, tmp_path):
    """Whether a unique index can be the arbiter of an INSERT is judged as PostgreSQL judges it."""
    sql(SCHEMA)
    sql(SPOIL)
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("CREATE UNIQUE INDEX CONCURRENTLY spoilt_a ON spoilt (a)")
    judged = verdicts(snapshot(conn), psycopg_connect(autocommit=True), CASES, tmp_path)
    assert [(s, None if f == "unsure" else f, state) for s, f, state in CASES] == judged


@pytest.mark.min_pg(18)
def test_without_overlaps_is_no_arbiter(conn, sql, psycopg_connect, tmp_path):
    """A constraint WITHOUT OVERLAPS is an exclusion constraint, which can be named but not inferred."""
    sql("CREATE TABLE o (a int4range, r int4range, CONSTRAINT uq UNIQUE (a, r WITHOUT OVERLAPS))")
    cases = [
        ("INSERT INTO o VALUES ('[1,2)', '[1,2)') ON CONFLICT (a, r) DO NOTHING", "no-arbiter", "42P10"),
        ("INSERT INTO o VALUES ('[1,2)', '[1,2)') ON CONFLICT DO NOTHING", None, None),
        ("INSERT INTO o VALUES ('[1,2)', '[1,2)') ON CONFLICT ON CONSTRAINT uq DO NOTHING", None, None),
        (
            "INSERT INTO o VALUES ('[1,2)', '[1,2)') ON CONFLICT ON CONSTRAINT uq DO UPDATE SET a = NULL",
            "no-arbiter",
            "42809",
        ),
    ]
    assert cases == verdicts(snapshot(conn), psycopg_connect(autocommit=True), cases, tmp_path)


BEFORE = """
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int, day date DEFAULT current_date,
                     token uuid DEFAULT gen_random_uuid(), note varchar(20), UNIQUE (note));
CREATE UNIQUE INDEX low ON orders (lower(note)) WHERE note IS NOT NULL;
CREATE TABLE lines (id int PRIMARY KEY);
"""
AFTER = "ALTER TABLE orders ADD CONSTRAINT uq_orders UNIQUE (customer, day)"


@pytest.fixture(scope="module")
def orders(server_url, template):
    """The catalog before the revision; tests that only read it need no database."""
    name = f"dupe_audit_test_{uuid.uuid4().hex[:8]}"
    engine = create_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    own = create_engine(engine.url.set(database=name), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with own.connect() as connection:
        connection.exec_driver_sql(BEFORE)
        connection.exec_driver_sql("CREATE UNIQUE INDEX part ON orders (day) WHERE customer > 1")
        catalog = snapshot(connection)
    yield catalog
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def revision(tmp_path):
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    return Revision(
        id="2",
        parents=("1",),
        path=versions / "2.py",
        file="2.py",
        upgrade_line=1,
        downgrade_line=None,
        empty_upgrade=False,
        empty_downgrade=True,
        refuses_downgrade=False,
        accepts=frozenset(),
    )


@pytest.fixture
def step(conn, sql, revision):
    """A revision that makes orders unique by customer and day."""
    sql(BEFORE)
    before = snapshot(conn)
    sql(AFTER)
    return EmptyTrip(revision=revision, before=before, after=snapshot(conn))


PLAIN = [
    ("INSERT INTO orders (customer, day) VALUES (1, '2026-01-01')", True),
    ("INSERT INTO orders (customer, day) SELECT 1, '2026-01-01'", True),
    ("INSERT INTO orders (customer) VALUES (1)", True),
    ("INSERT INTO orders (customer, day) VALUES (1, DEFAULT)", True),
    ("INSERT INTO orders (customer, day) VALUES (1, NULL)", False),
    ("INSERT INTO orders (day) VALUES ('2026-01-01')", False),
    ("INSERT INTO orders DEFAULT VALUES", False),
    ("INSERT INTO orders (customer) VALUES (1) ON CONFLICT DO NOTHING", False),
    ("INSERT INTO orders (customer) VALUES (1) ON CONFLICT (day, customer) DO NOTHING", False),
    ("INSERT INTO orders (customer) VALUES (1) ON CONFLICT (note) DO NOTHING", True),
    ("INSERT INTO orders (customer) VALUES (1) ON CONFLICT (lower(note)) WHERE note IS NOT NULL DO NOTHING", True),
    ("INSERT INTO lines (id) SELECT coalesce(max(id), 0) + 1 FROM lines", False),
]


def test_an_insert_that_the_new_uniqueness_would_stop_is_reported(step, psycopg_connect, tmp_path):
    """An INSERT is reported if PostgreSQL refuses its second execution for the uniqueness that a revision added."""
    server = psycopg_connect(autocommit=True)
    outcomes = []
    for statement, _raises in PLAIN:
        state = None
        try:
            with server.transaction(force_rollback=True):
                server.execute(statement.encode())
                server.execute(statement.encode())
        except psycopg.errors.UniqueViolation as error:
            state = error.diag.constraint_name
        file = tmp_path / "app.sql"
        file.write_text(f"-- first line\n{statement};")
        outcomes.append(
            (statement, state == "uq_orders", ids_and_lines(run_rule(step.after, file, empty_trips=(step,))))
        )
    assert [(statement, raises, [("insert-may-raise", 2)] if raises else []) for statement, raises in PLAIN] == outcomes


def test_the_text_and_place_of_the_finding(step, tmp_path):
    """The finding names table, index, columns and revision, and points to the line of the INSERT."""
    file = tmp_path / "app.py"
    file.write_text('SQL = """\n    INSERT INTO orders (customer) VALUES (%s)"""\n')
    (result,) = run_rule(step.after, file, empty_trips=(step,))
    assert (
        "This INSERT into public.orders will raise 23505 when its key exists, because of "
        "uq_orders (customer, day), which revision 2 adds." == result.finding.message
    )
    assert ("writers", file.as_posix(), 2, "2") == (
        result.rule,
        result.place.file,
        result.place.line,
        result.place.revision,
    )


def test_uniqueness_that_another_index_already_had_is_not_new(conn, sql, step, tmp_path):
    """A revision that builds a unique index again adds nothing, so the revision that added it first is named."""
    before = snapshot(conn)
    sql("CREATE UNIQUE INDEX again ON orders (customer, day); ALTER TABLE orders DROP CONSTRAINT uq_orders")
    (tmp_path / "app.sql").write_text("INSERT INTO orders (customer) VALUES (1)")
    again = EmptyTrip(revision=step.revision, before=before, after=snapshot(conn))
    assert [] == run_rule(again.after, tmp_path, empty_trips=(again,))
    (result,) = run_rule(again.after, tmp_path, empty_trips=(step, again))
    assert "again (customer, day), which revision 2 adds" in result.finding.message


BAD = "ON CONFLICT (day) DO NOTHING"
PYTHON = [
    (f'q = "INSERT INTO orders (customer) VALUES (%s) {BAD}"', 1),
    (f'q = ("INSERT INTO orders (customer)"\n     " VALUES (%(c)s) "\n     "{BAD}")', 1),
    (f'q = "INSERT INTO orders " + columns + " VALUES (:c) {BAD}"', None),
    (f'q = "INSERT INTO orders (" + columns + ") VALUES (:c) " + \\\n    "{BAD}"', 1),
    (f'q = f"""WITH x AS (SELECT 1)\n  INSERT INTO {{schema}}orders ({{", ".join(c)}}) VALUES ({{v}}) {BAD}"""', None),
    (f'q = f"""WITH x AS (SELECT 1)\n\n  INSERT INTO orders ({{", ".join(c)}}) VALUES ({{v}}) {BAD}"""', 3),
    (f'q = f"INSERT INTO orders (customer) VALUES (${{n}}) {BAD}"', 1),
    (f'q = SQL("INSERT INTO orders ({{}}) VALUES ({{}}) {BAD}").format(a, b)', 1),
    (f"q = text(\"INSERT INTO orders (customer, note) VALUES (:c, ':x ?'::text) {BAD}\")", 1),
    (f'q = "INSERT INTO orders (customer, day) VALUES (?, ?::date) {BAD}"', 1),
    (f'q = "INSERT INTO orders (customer) VALUES ($1) {BAD}"', 1),
    (f'execute_values(c, "INSERT INTO orders (customer) VALUES %s {BAD}", rows)', 1),
    (f'q = "INSERT INTO %s (customer) VALUES (1) {BAD}" % table', None),
    (f'q = "DELETE FROM lines; -- INSERT INTO x\\nINSERT INTO orders (id) SELECT 1; SELECT 2"\nr = "{BAD}"', None),
    (f'q = "/* é */ insert into public.orders (customer) values (100 %% 7) {BAD}"', 1),
    (f'class A:\n    """INSERT INTO orders (customer) VALUES (1) {BAD}"""', None),
    (f'log("could not do: INSERT INTO orders (customer) VALUES (1) {BAD}")', None),
    (f'q = "INSERT INTO elsewhere (customer) VALUES (1) {BAD}"', None),
    ('q = "INSERT INTO orders (customer) VALUES (1) ON CONFLICT ({}) DO NOTHING".format(c)', None),
    ('w = base + "x"', None),
]


@pytest.mark.parametrize(("code", "line"), PYTHON, ids=[code for code, _line in PYTHON])
def test_sql_in_python_is_read_from_its_strings(orders, tmp_path, code, line):
    """A constant, joined, formatted or concatenated string is parsed, whatever placeholders its driver uses."""
    file = tmp_path / "app.py"
    file.write_text(code)
    expected = [] if line is None else [("no-arbiter", line)]
    assert expected == [result for result in ids_and_lines(run_rule(orders, file)) if result[0] != "sql-unreadable"]


def test_a_string_that_grows_elsewhere_is_not_taken_for_a_plain_insert(step, tmp_path):
    """An INSERT that becomes part of a longer string, or ends in an unknown part, may have an ON CONFLICT."""
    (tmp_path / "a.py").write_text('BASE = "INSERT INTO orders (customer) VALUES (1)"\nALL = BASE + TAIL\n')
    (tmp_path / "b.py").write_text('f"INSERT INTO orders (customer) SELECT id FROM lines {tail}"\n')
    assert [("sql-unreadable", 1)] == ids_and_lines(run_rule(step.after, tmp_path, empty_trips=(step,)))


def test_what_cannot_be_parsed_is_counted_once_per_file(orders, tmp_path):
    """A file's statements that do not parse are one info, with their number and the line of the first."""
    (tmp_path / "a.py").write_text(
        '\nx = "INSERT INTO orders VALUES (1 2)"\ny = f"INSERT INTO {t} VALUES (1) {tail}"\n'
    )
    (tmp_path / "b.py").write_text("def (  # insert")
    (tmp_path / "c.sql").write_text("SELECT 1;\nINSERT INTO orders VALUES (1 2);\nINSERT INTO lines (x) VALUES ('")
    (tmp_path / "d.py").write_bytes(b"x = '\xff'")
    results = run_rule(orders, tmp_path)
    assert [
        ("sql-unreadable", 2),
        ("sql-unreadable", 1),
        ("sql-unreadable", 2),
        ("sql-unreadable", 1),
    ] == ids_and_lines(results)
    assert [
        f"INSERT statements in this file that could not be read and were not checked: {subject}."
        for subject in (
            "2, the first on line 2",
            "1, the first on line 1",
            "1, the first on line 2",
            "1, the first on line 1",
        )
    ] == [result.finding.message for result in results]
    assert {"info"} == {result.finding.severity for result in results}


def test_an_sql_file_may_be_psqls(orders, tmp_path):
    """Commands and variables of psql, the rows of a dump and function bodies do not hide the other statements."""
    (tmp_path / "app.sql").write_text(
        "\\set x 1\nCOPY public.lines (id) FROM stdin;\n1\n; it's\n\\.\n"
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$ INSERT INTO orders (customer) VALUES (1); $$;\n"
        f"INSERT INTO orders (customer, note) VALUES (:x, :'x')\n {BAD};\n"
        f"INSERT INTO orders (customer) VALUES (1)\n ON CONFLICT DO NOTHING;\nINSERT INTO orders VALUES (1) {BAD};"
    )
    assert [("no-arbiter", 7), ("no-arbiter", 11)] == ids_and_lines(run_rule(orders, tmp_path))


CONSTRUCTS = [
    ("index_elements=['note']", None),
    ("index_elements=('customer', 'day')", "no-arbiter"),
    ("index_elements=[Order.day]", None),
    ("index_elements=['day'], index_where=w", None),
    ("index_elements=['token'], set_={}", "no-arbiter"),
    ("constraint='orders_note_key'", None),
    ("constraint='uq_orders'", "no-arbiter"),
    ("constraint=Order.uq", None),
    ("", None),
]


@pytest.mark.parametrize(("arguments", "expected"), CONSTRUCTS)
def test_literal_arbiters_of_sqlalchemy_are_looked_up(orders, tmp_path, arguments, expected):
    """A literal constraint or index_elements must exist on any table, because the table is unknown."""
    (tmp_path / "app.py").write_text(f"q = (\n  insert(Order)\n  .on_conflict_do_update({arguments})\n)\n")
    assert ([(expected, 3)] if expected else []) == ids_and_lines(run_rule(orders, tmp_path))


def test_a_comment_accepts_a_finding(step, tmp_path):
    """A comment at the INSERT, or on the line above, accepts the findings that it names and no others."""
    (tmp_path / "a.py").write_text(
        "# dupe-audit: accept insert-may-raise\nq = 'INSERT INTO orders (customer) VALUES (1)'\n"
        "\nq = 'INSERT INTO orders (customer) VALUES (1)'  # dupe-audit: accept no-arbiter\n"
    )
    (tmp_path / "b.sql").write_text(
        "INSERT INTO orders (customer) VALUES (1);\n"
        "\nINSERT INTO orders (customer) -- dupe-audit: accept insert-may-raise\nVALUES (1);"
    )
    results = run_rule(step.after, tmp_path, empty_trips=(step,))
    assert [(2, True), (4, False), (1, False), (3, True)] == [
        (result.place.line, result.accepted) for result in results
    ]


def test_files_that_are_not_the_projects_code_are_left_out(step, tmp_path):
    """Hidden directories, environments and the revisions themselves are skipped; a named file is always read."""
    places = [
        ".hidden/a.sql",
        "env/lib/a.sql",
        "migrations/versions/a.py",
        "node_modules/a.sql",
        "app/a.txt",
        "app/a.sql",
    ]
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        text = "INSERT INTO orders (customer) VALUES (1)"
        (tmp_path / place).write_text(f"q = '{text}'" if place.endswith("py") else text)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    evidence = {"empty_trips": (step,), "revisions": (step.revision,)}

    results = run_rule(step.after, tmp_path, tmp_path / "app", **evidence)
    assert [(tmp_path / "app/a.sql").as_posix()] == [result.place.file for result in results]
    assert 1 == len(run_rule(step.after, tmp_path / "env" / "lib" / "a.sql", **evidence))
    with pytest.raises(WrongUsage, match="does not exist"):
        run_rule(step.after, tmp_path / "nowhere", **evidence)


def test_a_name_in_two_schemas_means_the_one_in_public(conn, sql, tmp_path):
    """An unqualified name means the table in public, and no table if neither of two is in public."""
    sql(
        "CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.x (i int); CREATE TABLE b.x (i int); CREATE TABLE a.y (i int)"
    )
    sql("CREATE TABLE y (i int UNIQUE)")
    (tmp_path / "app.sql").write_text(
        "INSERT INTO x VALUES (1) ON CONFLICT (i) DO NOTHING;\nINSERT INTO y VALUES (1) ON CONFLICT (i) DO NOTHING;\n"
        "INSERT INTO a.y VALUES (1) ON CONFLICT (i) DO NOTHING;"
    )
    assert [("no-arbiter", 3)] == ids_and_lines(run_rule(snapshot(conn), tmp_path))


def test_without_the_parser_the_rule_says_what_to_install(monkeypatch):
    """If pglast is not installed, the rule can be imported and says how to install it."""
    assert missing() is None
    monkeypatch.setattr("dupe_audit.checks.code.sql_text.find_spec", lambda _name: None)
    assert "pglast is not installed: pip install 'dupe-audit[lint]'" == missing()
