"""What the check does with good projects, and what it does not disturb."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
from subprocess import PIPE

import pytest
from sqlalchemy import NullPool, create_engine, make_url

from dupe_audit.checks import check
from dupe_audit.findings import CHECK
from waiting import PATIENCE, wait_for

KEY = '["customer", "no"]'


def enforce(project, **arguments):
    """Add a revision that cleans the table and makes the key unique, and its downgrade."""
    more = "".join(f", {name}={value!r}" for name, value in arguments.items())
    return project.add(
        "b2",
        f'op.archive_duplicates("orders", {KEY}{more})\nop.create_unique_constraint_online("once", "orders", {KEY})',
        f'op.drop_unique_constraint_online("once", "orders")\nop.restore_duplicates("orders", {KEY})',
    )


@pytest.mark.thorough
def test_our_directives_pass_with_every_shape_of_duplicates(orders, failing):
    """Exact and divergent duplicates and NULLs are archived, restored as they were, and archived again."""
    enforce(orders, divergent="archive")
    report = orders.check()
    [filled] = report.filled
    assert [] == failing(report), report
    assert filled.exact > 0
    assert filled.divergent > 0


@pytest.mark.thorough
def test_a_refusal_that_the_revision_asks_for_does_not_fail(orders, failing):
    """A directive that refuses divergent duplicates does so, and is tried again without them."""
    enforce(orders)
    report = orders.check()
    [filled] = report.filled
    assert [] == failing(report), report
    assert ["refused-as-configured"] == [result.finding.id for result in report.findings if result.rule == "round-trip"]
    assert 0 == filled.divergent
    assert filled.exact > 0


@pytest.mark.thorough
def test_children_that_reference_extras_are_among_the_rows(orders, failing):
    """Rows that reference extras are refused, or, if the revision says so, follow the survivor and come back."""
    orders.add(
        "a2",
        'op.execute("CREATE TABLE lines (id serial PRIMARY KEY, ref bigint REFERENCES orders ON DELETE CASCADE)")',
        'op.drop_table("lines")',
    )
    enforce(orders, divergent="archive", references="repoint")
    report = orders.check()
    [filled] = report.filled
    assert [] == failing(report), report
    assert filled.referenced > 0


@pytest.mark.parametrize(
    "up",
    [
        'op.execute("CREATE UNIQUE INDEX once ON orders (customer, no)")',
        'op.create_index("once", "orders", ["customer", "no"], unique=True)',
        'op.execute("CREATE UNIQUE INDEX once ON orders (abs(customer), no) WHERE note IS NOT NULL")',
        'op.execute("ALTER TABLE orders ADD UNIQUE (customer, no)")',
        'op.execute("ALTER TABLE orders DROP CONSTRAINT orders_pkey, ADD PRIMARY KEY (customer, no)")',
    ],
    ids=["raw index", "op.create_index", "expression and predicate", "raw constraint", "primary key"],
)
@pytest.mark.representatives("expression and predicate", "primary key")
def test_uniqueness_is_read_from_the_catalog_however_it_was_written(orders, up):
    """Every way to make an existing table unique is tried on duplicates."""
    orders.add("b2", up, "raise NotImplementedError")
    assert "unique-over-duplicates" in {result.finding.id for result in orders.check().failing}


def test_an_index_may_call_what_its_revision_creates(orders, failing):
    """A function created together with the index cannot be used for counting before; the build still meets the rows."""
    orders.add(
        "b2",
        """
        op.execute("CREATE FUNCTION half(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 / 2'")
        op.execute("CREATE UNIQUE INDEX once ON orders (half(no))")
        """,
        'op.execute("DROP INDEX once")\nop.execute("DROP FUNCTION half(int)")',
        extra="# dupe-audit: accept lock-during-work",
    )
    assert [("unique-over-duplicates", "b2")] == failing(orders.check())


def test_a_downgrade_that_committed_before_it_failed(orders, failing):
    """What a failed downgrade leaves behind does not affect the later revisions."""
    orders.add(
        "b2",
        'op.add_column("orders", sa.Column("paid", sa.Boolean))',
        """
        with op.get_context().autocommit_block():
            op.drop_column("orders", "paid")
        op.execute("SELECT 1/0")
        """,
    )
    orders.add(
        "c3",
        'op.alter_column("orders", "paid", new_column_name="settled")',
        'op.alter_column("orders", "settled", new_column_name="paid")',
    )
    assert [("downgrade-fails", "b2")] == failing(orders.check())


def test_a_table_that_the_same_revision_creates_is_not_filled(project, failing):
    """A unique constraint of a new table cannot be violated by existing rows."""
    project.add("a1", 'op.create_table("t", sa.Column("k", sa.Integer, unique=True))', 'op.drop_table("t")')
    report = project.check()
    assert [] == failing(report), report
    assert () == report.filled


def test_the_configured_database_is_not_touched(orders, database_url, sql, monkeypatch):
    """Whatever URL the config and the environment have, revisions only run in the scratch database."""
    sql("CREATE TABLE orders (precious int); INSERT INTO orders VALUES (1)")
    monkeypatch.setenv("DATABASE_URL", database_url)
    with orders.ini.open("a") as ini:
        ini.write(f"sqlalchemy.url = {database_url}\n")
    orders.env(
        f"""
from alembic import context
from sqlalchemy import NullPool, create_engine
import dupe_audit.ops
engine = create_engine({database_url!r}, poolclass=NullPool)
with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
    )
    enforce(orders, divergent="archive")

    assert orders.check().ok
    assert [(1,)] == sql("TABLE orders")
    assert [(1,)] == sql("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")


def test_no_scratch_database_is_left(orders, failing, sql):
    """The check drops its databases on a server that is not its own, even after a failure."""
    orders.add("b2", 'op.execute("SELECT 1/0")')
    assert [("no-way-back", "b2"), ("upgrade-fails", "b2")] == failing(orders.check())
    assert [(0,)] == sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'dupe_audit_check_%'")


@pytest.mark.thorough
def test_a_history_with_branches_is_checked(project, failing):
    """Branches and their merge are applied and undone one by one, however their ids sort."""
    project.add("a1", 'op.create_table("a", sa.Column("k", sa.Integer))', 'op.drop_table("a")')
    project.add("z2", 'op.create_table("b", sa.Column("k", sa.Integer))', 'op.drop_table("b")')
    project.add("b3", 'op.create_table("c", sa.Column("k", sa.Integer))', 'op.drop_table("c")', after="a1")
    project.add("m4", "pass", after=("z2", "b3"))
    project.add("d5", 'op.add_column("c", sa.Column("x", sa.Integer))', 'op.drop_column("c", "x")')
    report = project.check()
    assert [] == failing(report), report
    assert {"a1", "z2", "b3", "m4", "d5"} == set(report.revisions)
    assert report.revisions.index("m4") > max(report.revisions.index("z2"), report.revisions.index("b3"))


def test_only_the_range_that_is_asked_for_is_checked(orders, failing):
    """Revisions up to --from are applied and not judged, and revisions after --to are ignored."""
    orders.add("b2", 'op.add_column("orders", sa.Column("paid", sa.Boolean))')
    orders.add("c3", 'op.add_column("orders", sa.Column("sent", sa.Boolean))', 'op.drop_column("orders", "sent")')
    orders.add("d4", 'op.add_column("orders", sa.Column("seen", sa.Boolean))')
    report = orders.check(from_="b2", to="c3")
    assert ("c3",) == report.revisions
    assert [] == failing(report), report


def test_code_is_checked_without_any_revision(orders, failing):
    """With no revision after --from, models and writers are judged by the schema at --from."""
    (orders.directory / "writer.sql").write_text("INSERT INTO orders (no) VALUES (1) ON CONFLICT (no) DO NOTHING;\n")
    report = orders.check(from_="a1", writers=["writer.sql"])
    assert () == report.revisions
    assert [("no-arbiter", None)] == failing(report), report


@pytest.mark.parametrize(("configured", "count"), [("", 1), ("include_object=ours, ", 0), ("include_name=named, ", 0)])
@pytest.mark.representatives("-1")
def test_what_env_py_leaves_out_is_not_compared_with_the_models(orders, configured, count):
    """An index that Alembic is told to ignore, such as one that a DBA created, need not be in the models."""
    orders.add(
        "b2",
        """
        with op.get_context().autocommit_block():
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY dba_1 ON orders (customer, id)")
        """,
        'op.execute("DROP INDEX dba_1")',
    )
    orders.env(
        orders.template.replace("context.configure(connection", f"context.configure({configured}connection"),
        models="""
import sqlalchemy as sa
metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.BigInteger, primary_key=True))
def ours(item, name, type_, reflected, compare_to):
    return not (type_ == "index" and reflected and compare_to is None and name.startswith("dba_"))
def named(name, type_, parents):
    return not (type_ == "index" and name.startswith("dba_") and parents["table_name"] == "orders")
""",
    )
    ids = [result.finding.id for result in orders.check().findings if result.rule == "models"]
    assert ["unique-missing-in-models"] * count == ids


def test_a_revision_that_says_it_has_no_way_back_is_believed(orders, failing):
    """NotImplementedError in downgrade() is reported as an info, and the next revision is still checked."""
    orders.add("b2", 'op.drop_column("orders", "note")', 'raise NotImplementedError("the notes are gone")')
    orders.add("c3", 'op.add_column("orders", sa.Column("sent", sa.Boolean))', 'op.drop_column("orders", "sent")')
    report = orders.check()
    assert [] == failing(report), report
    assert ["irreversible"] == [result.finding.id for result in report.findings if result.rule == "way-back"]


def test_a_data_migration_meets_rows(orders, failing):
    """A revision that reads and writes rows in Python runs on a filled table if it also makes a key unique."""
    orders.add(
        "b2",
        """
        bind = op.get_bind()
        for row in bind.execute(sa.text("SELECT id, customer FROM orders")):
            bind.execute(sa.text("UPDATE orders SET no = id WHERE id = :id"), {"id": row.id})
        with op.get_context().autocommit_block():
            op.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON orders (customer, no)")
        """,
        """
        with op.get_context().autocommit_block():
            op.execute("DROP INDEX CONCURRENTLY once")
        """,
    )
    report = orders.check()
    # It makes every key unique by changing it, which its downgrade does not undo.
    assert [("rows-lost", "b2")] == failing(report), report


@pytest.mark.parametrize("where", ["env.py", "revision"])
def test_an_upgrade_that_is_not_committed_fails(orders, failing, where):
    """The check reports that an upgrade was never committed, although Alembic exits with 0."""
    if where == "env.py":
        early = "        connection.exec_driver_sql('SELECT 1')\n"
        orders.env(orders.template.replace("        context.configure(conn", f"{early}        context.configure(conn"))
        first = "a1"
    else:
        orders.add("b2", "op.get_bind().commit()", 'op.execute("SELECT 1")')
        first = "b2"
    report = orders.check()
    assert [("upgrade-fails", first)] == failing(report), report
    assert "version table" in report.failing[0].finding.message


@pytest.mark.thorough
def test_an_engine_that_a_module_keeps(orders, failing):
    """An engine with a pool outlives every scratch database, and connects to each new one."""
    module = "engine_of_a_module"
    (orders.directory / f"{module}.py").write_text(
        'from sqlalchemy import create_engine\nengine = create_engine("postgresql+psycopg://nobody@no.such.host/x")\n'
    )
    with orders.ini.open("a") as ini:
        ini.write("prepend_sys_path = %(here)s\n")
    own = 'engine = create_engine("postgresql+psycopg://", poolclass=pool.NullPool)'
    orders.env(orders.template.replace(own, f"from {module} import engine"))
    enforce(orders, divergent="archive")
    orders.add("c3", 'op.add_column("orders", sa.Column("x", sa.Integer))', 'op.drop_column("orders", "y")')
    try:
        assert [("downgrade-fails", "c3")] == failing(orders.check())
    finally:
        sys.modules.pop(module).engine.dispose()


def test_a_project_may_be_configured_in_pyproject(orders, failing):
    """Without an alembic.ini, the section tool.alembic of pyproject.toml is the configuration."""
    orders.ini.unlink()
    (orders.directory / "pyproject.toml").write_text('[tool.alembic]\nscript_location = "%(here)s/migrations"\n')
    report = orders.check()
    assert [] == failing(report), report
    assert ("a1",) == report.revisions


def test_a_project_may_bring_its_own_rows(orders, failing):
    """SQL named after a revision fills the table instead, and decides which rows the revision meets."""
    orders.add(
        "b2",
        'op.create_unique_constraint("once", "orders", ["customer", "no"])',
        'op.drop_constraint("once", "orders")',
        extra="# dupe-audit: accept lock-during-work",
    )
    seeds = orders.directory / "seeds"
    seeds.mkdir()
    (seeds / "b2.sql").write_text("INSERT INTO orders (customer, no) SELECT n, n FROM generate_series(1, 7) AS n")
    report = orders.check(seed_sql=seeds)
    assert [] == failing(report), report
    assert [7] == [filled.rows for filled in report.filled]

    (seeds / "b2.sql").write_text("INSERT INTO orders (customer, no) VALUES (1, 1), (1, 1), (1, 1)")
    report = orders.check(seed_sql=seeds)
    assert [("unique-over-duplicates", "b2")] == failing(report)
    assert "2 extras in 3 rows" in str(report.failing[0].finding.message)


def test_a_finding_can_be_accepted_in_the_revision_and_on_the_command_line(orders, failing):
    """An accepted finding is reported and does not fail the check; one that cannot be accepted still does."""
    file = orders.add("b2", 'op.add_column("orders", sa.Column("paid", sa.Boolean))')
    orders.add("c3", 'op.execute("SELECT 1")', 'op.execute("SELECT 1")', after="a1")
    assert {("no-way-back", "b2"), ("several-heads", "b2")} == set(failing(orders.check()))
    assert [("several-heads", "b2")] == failing(orders.check(accept=("no-way-back", "several-heads")))
    file.write_text("# dupe-audit: accept no-way-back\n" + file.read_text())
    report = orders.check()
    assert [("several-heads", "b2")] == failing(report)
    assert ["no-way-back"] == [result.finding.id for result in report.findings if result.accepted]


def test_pending_revisions_and_the_duplicates_that_would_stop_them(orders, failing, database_url, sql):
    """With --against, the revisions that a database lacks are reported, and how many extras would stop them."""
    enforce(orders, divergent="archive")
    sql(
        "CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('a1');"
        "CREATE TABLE orders (id int, customer int, no int, note text);"
        "INSERT INTO orders VALUES (1, 1, 1, 'a'), (2, 1, 1, 'b'), (3, 1, 2, 'c')"
    )
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    report = orders.check(against=url)
    assert {("revision-pending", "b2"), ("duplicates-in-wait", "b2")} == set(failing(report))
    assert "1 extra under" in next(
        result.finding.message for result in report.failing if result.finding.id == "duplicates-in-wait"
    )
    assert [(3,)] == sql("SELECT count(*) FROM orders")


def test_no_value_is_in_a_report(orders):
    """The reason of a failure is the server's first line, without the key values in its DETAIL."""
    orders.add("b2", 'op.execute("CREATE UNIQUE INDEX once ON orders (customer, no)")', 'op.drop_index("once")')
    report = orders.check()
    assert "unique-over-duplicates" in str(report)
    assert "Key (" not in repr(report)


@pytest.mark.thorough
def test_the_same_seed_finds_the_same(orders):
    """Two checks with one seed report the same numbers."""
    orders.add(
        "b2",
        f'op.create_unique_constraint("once", "orders", {KEY})',
        'op.drop_constraint("once", "orders")',
        extra="# dupe-audit: accept lock-during-work",
    )
    first, second = orders.check(seed=3, rows=50), orders.check(seed=3, rows=50)
    assert "unique-over-duplicates" in {result.finding.id for result in first.failing}
    assert first.filled == second.filled
    # The rule about locks measures times.
    first, second = ([result for result in each.findings if result.rule != "locks"] for each in (first, second))
    assert first == second


def test_the_command_reports_and_ends_as_the_contract_says(orders, dupe_audit_here):
    """The command prints only the report on stdout, and exits with 1 if a finding fails the check."""
    orders.add("b2", 'op.add_column("orders", sa.Column("paid", sa.Boolean))')
    done = dupe_audit_here("check", "--server", orders.server, "--format", "json", "--rows", "50", code=1)
    report = json.loads(done.stdout)
    assert ["no-way-back"] == [result["id"] for result in report["findings"]]
    assert re.search(r"scratch databases .* on the server of database postgres on .* as postgres", done.stderr)
    dupe_audit_here("check", "--server", orders.server, "--to", "a1")


def test_one_check_writes_several_reports(orders, dupe_audit_here):
    """Other formats are written to files in addition; an unknown format or an unwritable file is refused."""
    arguments = ("check", "--server", orders.server)
    dupe_audit_here(*arguments, "--report", "sarif=a.sarif", "--report", "junit=a.xml")
    assert "2.1.0" == json.loads((orders.directory / "a.sarif").read_text())["version"]
    assert (orders.directory / "a.xml").read_text().startswith("<?xml")
    assert "FORMAT=FILE" in dupe_audit_here(*arguments, "--report", "html=a.html", code=2).stderr
    assert "cannot be written" in dupe_audit_here(*arguments, "--report", "json=no/where.json", code=3).stderr


def test_every_rule_is_run_or_says_why_not(orders):
    """The report has each rule once."""
    rules = [rule.rule for rule in orders.check().rules]
    assert rules == list(dict.fromkeys(rules))
    assert {"one-head", "way-back", "round-trip", "locks", "invalid-index", "models", "pending", "writers"} < set(rules)
    assert len(CHECK) > len(rules)


def test_squawk_runs_only_if_asked_for(orders, failing, dupe_audit_here):
    """With squawk installed, its opinions fail a clean project only with --squawk."""
    report = orders.check()
    assert [] == failing(report), report
    assert {"squawk": "not requested: --squawk"} == {
        rule.rule: rule.skipped for rule in report.rules if rule.rule == "squawk"
    }
    report = orders.check(squawk=True)
    assert {("squawk", "a1")} == set(failing(report))
    assert [None] == [rule.skipped for rule in report.rules if rule.rule == "squawk"]
    assert "[squawk]" in dupe_audit_here("check", "--server", orders.server, "--squawk", code=1).stdout


NEVER_BUILT = """
op.execute("CREATE FUNCTION sleep() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); END'")
op.execute("CREATE EVENT TRIGGER sleep ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION sleep()")
"""


def test_an_interrupted_check_leaves_nothing(orders, sql):
    """Ctrl-C in the middle of a directive ends with exit code 130, no traceback, and no scratch database."""
    orders.add("a2", NEVER_BUILT)
    enforce(orders, divergent="archive")
    working = "query LIKE 'CREATE UNIQUE INDEX%' AND wait_event = 'PgSleep' AND datname LIKE 'dupe_audit_check_%'"
    command = [sys.executable, "-m", "dupe_audit.cli", "check", "--server", orders.server]
    with subprocess.Popen(command, cwd=orders.directory, stdout=PIPE, stderr=PIPE, text=True) as process:
        wait_for(lambda: process.poll() is not None or sql(f"SELECT 1 FROM pg_stat_activity WHERE {working}"))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=PATIENCE)
    assert 130 == process.returncode, (output, errors)
    assert "Traceback" not in errors
    assert [(0,)] == sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'dupe_audit_check_%'")


def test_the_process_is_left_as_it_was(orders):
    """No listener, environment variable or log handler remains."""
    before = dict(os.environ), list(logging.root.handlers), logging.root.manager.disable
    check(orders.ini, server=orders.server)
    assert before == (dict(os.environ), list(logging.root.handlers), logging.root.manager.disable)
    with create_engine(orders.server, poolclass=NullPool).connect() as connection:
        assert "postgres" == connection.exec_driver_sql("SELECT current_database()").scalar()
