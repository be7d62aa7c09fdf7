"""One directive for the same table in many schemas: a run per schema, one campaign, refusals reported together."""

import signal
import threading
import uuid

import psycopg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from dupe_audit.constraint import window
from tenants import DOWN, QUERIED, UP, Tenants, at_statement, counted, warnings
from waiting import wait_for


@pytest.fixture
def tenants(sql, small_project, database_url, monkeypatch):
    """Schemas with the table, and the project that migrates them."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    return Tenants(sql, small_project)


@pytest.mark.parametrize("schemas", [["tenant_00", "tenant_01", "tenant_02"], QUERIED], ids=["list", "query"])
@pytest.mark.representatives("query")
def test_up_down_and_up(sql, tenants, schemas):
    """Each schema is cleaned and enforced in a run of its own, all in one campaign; down restores every row."""
    names = tenants.numbered(3)
    before = [sql(f"SELECT o::text FROM {name}.orders o ORDER BY id") for name in names]
    tenants.revision(schemas)

    assert "" == tenants.migrate("head")
    assert (names, [8] * 3) == (tenants.enforced, tenants.rows(*names))
    assert [(name, "enforced", 2, 1) for name in names] == sql(
        "SELECT schema_name, state, archived::int, campaign::int FROM dupe_audit.run ORDER BY id"
    )
    assert [(1, "0002", names, "done")] == sql("SELECT id::int, revision, places, state FROM dupe_audit.campaign")

    assert "" == tenants.migrate("0001")
    after = [sql(f"SELECT o::text FROM {name}.orders o ORDER BY id") for name in names]
    assert ([], before) == (tenants.enforced, after)
    assert [("undone",)] == sql("SELECT state FROM dupe_audit.campaign")

    assert "" == tenants.migrate("head")
    assert (names, [8] * 3) == (tenants.enforced, tenants.rows(*names))
    assert [(1, "undone"), (2, "done")] == sql("SELECT id::int, state FROM dupe_audit.campaign ORDER BY id")


@pytest.mark.parametrize("count", [7, pytest.param(200, marks=pytest.mark.thorough)])
def test_dirty_schemas_are_named_together_and_the_others_are_done(sql, tenants, count):
    """Every dirty schema is named, with counts and the next command; the others are done, and not touched again."""
    names = tenants.numbered(count)
    dirty = [names[number] for number in (1, 3, 4, count - 1)]
    clean = [name for name in names if name not in dirty]
    for name in dirty:
        sql(f"UPDATE {name}.orders SET v = 'w' WHERE id = 9")
    tenants.revision()

    message = tenants.migrate("head")
    lead = f"Refused: revision 0002, in 4 of {count} schemas. The other {count - 4} schemas are done."
    assert message.startswith(lead)
    for name in dirty:
        assert f"{name}.orders (k): [divergent-duplicates] Rows of {name}.orders (k)" in message
        assert f"next: dupe-audit preflight --schema {name} --table orders -c k" in message
    assert 4 == message.count("next: ")
    assert "in 1 group with 1 extra" in message
    assert (
        f"campaign 1 keeps {2 * len(clean)} rows in its archives and enforces keys in {count - 4} schemas." in message
    )
    assert "To undo it: dupe-audit restore --campaign 1" in message
    assert "Do not run alembic downgrade: revision 0002 was not stamped" in message
    assert (sorted(clean), "0001") == (tenants.enforced, tenants.stamped)
    assert ([10] * 4, [8] * len(clean)) == (tenants.rows(*dirty), tenants.rows(*clean))
    tenants.dupe_audit("preflight", "--schemas", "tenant_*", "--table", "orders", "-c", "k", code=1)

    with counted() as statements:
        assert tenants.migrate("head").startswith(lead)
    assert set(dirty) == touched(names, statements)

    for name in dirty:
        sql(f"UPDATE {name}.orders SET v = 'v'")
    runs = dict(sql("SELECT schema_name, r::text FROM dupe_audit.run r"))
    with counted() as statements:
        assert "" == tenants.migrate("head")
    assert set(dirty) == touched(names, statements)
    assert (sorted(names), "0002", [8] * count) == (tenants.enforced, tenants.stamped, tenants.rows(*names))
    assert [(name, "enforced") for name in sorted(names)] == sorted(tenants.states)
    later = dict(sql("SELECT schema_name, r::text FROM dupe_audit.run r"))
    assert set(dirty) == {name for name in names if later[name] != runs[name]}


def touched(names, statements):
    """Return the schemas whose tables statements name; the lists of all schemas in a query are literals."""
    text = "\n".join(statements)
    return {name for name in names if f'"{name}"' in text or f"{name}.orders" in text}


@pytest.mark.thorough
def test_what_is_done_takes_as_many_statements_for_few_schemas_as_for_many(sql, tenants, small_project):
    """An upgrade that finds everything enforced asks the catalog once, and not once per schema."""
    counts = []
    for names in (2, 4):
        sql("DROP SCHEMA IF EXISTS tenant_00, tenant_01 CASCADE")
        tenants.numbered(names)
        tenants.revision()
        assert "" == tenants.migrate("head")
        sql("UPDATE alembic_version SET version_num = '0001'")
        with counted() as statements:
            assert "" == tenants.migrate("head")
        counts.append(len(statements))
        sql("UPDATE alembic_version SET version_num = '0001'")
    assert counts[0] == counts[1]


def test_each_kind_of_refusal_names_its_schema_and_table(sql, tenants):
    """A view, a missing table, a missing schema, a taken name and a read-only rule: each is named, others are done."""
    tenants.create("good", "taken", "divergent")
    sql(
        "CREATE SCHEMA view; CREATE VIEW view.orders AS SELECT * FROM good.orders; CREATE SCHEMA empty;"
        "CREATE TABLE taken.uq (i int); UPDATE divergent.orders SET v = 'w' WHERE id = 9"
    )
    tenants.revision(["view", "empty", "absent", "taken", "good", "divergent"])
    message = tenants.migrate("head")
    assert message.startswith("Refused: revision 0002, in 5 of 6 schemas. The other schema is done.")
    assert "view.orders (k): [not-a-table] view.orders is" in message
    assert "empty.orders (k): [table-missing] " in message
    assert "absent.orders (k): [table-missing] " in message
    assert "taken.orders (k): [name-taken] " in message
    assert "divergent.orders (k): [divergent-duplicates] " in message
    assert (["good"], "0001") == (tenants.enforced, tenants.stamped)
    assert [10, 10, 8] == tenants.rows("taken", "divergent", "good")


@pytest.mark.thorough
def test_odd_names_of_schemas(sql, tenants):
    """Names with quotes, capitals, percent signs, colons and braces are found, enforced and restored."""
    names = ['x"y 50%', "a:{k}", "Ünïcode", "select"]
    sql("; ".join(f'CREATE SCHEMA "{quoted}"' for quoted in (name.replace('"', '""') for name in names)))
    for name in names:
        table = '"{}".orders'.format(name.replace('"', '""'))
        sql(f"CREATE TABLE {table} (id int PRIMARY KEY, k int); INSERT INTO {table} VALUES (1, 1), (2, 1)")
    tenants.revision(repr(names))
    assert "" == tenants.migrate("head")
    done = sql("SELECT schema_name, state, archived::int FROM dupe_audit.run ORDER BY id")
    assert [(name, "enforced", 1) for name in names] == done
    assert "" == tenants.migrate("0001")
    assert {("restored",)} == set(sql("SELECT state FROM dupe_audit.run"))


WRONG = {
    "empty": ("[]", "schemas is empty. Name at least one schema"),
    "twice": ("['a', 'b', 'a']", "schemas names a schema twice: a"),
    "text": ("'SELECT 1'", "schemas must be a list of names, or a query as sa.text('SELECT …'), not 'SELECT 1'"),
    "None in it": ("['a', None]", "schemas must be a list of names; None is not a name"),
    "too long": (f"['{'a' * 64}']", f"The schema name '{'a' * 64}' is longer than 63 bytes"),
    "parameter": ("sa.text('SELECT :a')", "schemas has the bound parameter :a"),
    "both": ("['a'], schema='b'", "schema and schemas cannot be given together"),
}


def test_arguments_that_can_never_work(tenants):
    """Each ends the upgrade with one sentence that names the directive and the line; nothing is begun."""
    for value, expected in WRONG.values():
        tenants.revision(up=f"op.archive_duplicates('orders', ['k'], schemas={value})", down="pass")
        message = tenants.migrate("head")
        assert f"op.archive_duplicates(): {expected}" in message
        assert "(0002.py, line 9)" in message
    assert tenants.sql("SELECT to_regnamespace('dupe_audit')") == [(None,)]


QUERIES = {
    "two columns": ("SELECT 'a', 'b'", "The schemas query returns 2 columns, not one"),
    "NULL": ("SELECT NULL::text", "The schemas query returns NULL instead of a name"),
    "number": ("SELECT 1", "The schemas query returns a value of type int instead of a name"),
    "missing table": ("SELECT name FROM tenant_list", 'relation "tenant_list" does not exist (SQLSTATE 42P01)'),
    "writes": ("INSERT INTO application VALUES (1) RETURNING 'a'", "(SQLSTATE 42601)"),
    "two": ("SELECT 'a'; SELECT 'b'", "(SQLSTATE 42601)"),
    "calls what writes": ("SELECT nextval('s')::text", "cannot execute nextval() in a read-only transaction"),
}


def test_queries_that_are_no_list_of_names(sql, tenants):
    """A query that fails or returns something else is refused with its text; nothing is begun."""
    sql("CREATE TABLE application (i int); CREATE SEQUENCE s")
    for query, expected in QUERIES.values():
        tenants.revision(f"sa.text({query!r})")
        message = tenants.migrate("head")
        assert expected in message
        assert query in message
    assert sql("SELECT to_regnamespace('dupe_audit')") == [(None,)]


def test_query_without_an_answer_is_a_warning(sql, tenants, caplog):
    """A database without tenants, such as a new one, is upgraded; the log says that nothing was done."""
    tenants.revision()
    assert "" == tenants.migrate("head")
    assert "0002" == tenants.stamped
    assert [True] == [
        "the schemas query returned no schema, so nothing is done" in text for text in warnings(caplog)[:1]
    ]
    assert "" == tenants.migrate("0001")


def test_schema_that_comes_meanwhile_is_done_too(sql, tenants):
    """The query is asked again at the end: a tenant created while others are worked on is cleaned and enforced."""
    names = tenants.numbered(2)
    tenants.revision()
    with at_statement("ADD CONSTRAINT", lambda: tenants.create("tenant_new")):
        assert "" == tenants.migrate("head")
    assert [*names, "tenant_new"] == tenants.enforced
    assert [(1, [*names, "tenant_new"])] == sql("SELECT id::int, places FROM dupe_audit.campaign")
    assert "" == tenants.migrate("0001")
    assert [10] * 3 == tenants.rows(*names, "tenant_new")


@pytest.mark.thorough
def test_dirty_schema_that_comes_meanwhile_is_named(sql, tenants):
    """A tenant that comes while others are worked on and cannot be cleaned is named like any other."""
    tenants.numbered(2)
    tenants.revision()

    def arrive():
        tenants.create("tenant_new")
        sql("UPDATE tenant_new.orders SET v = 'w' WHERE id = 9")

    with at_statement("ADD CONSTRAINT", arrive):
        message = tenants.migrate("head")
    assert "in 1 of 3 schemas" in message
    assert "tenant_new.orders (k): [divergent-duplicates]" in message
    assert "0001" == tenants.stamped


def test_schema_that_goes_meanwhile_is_left_out(sql, tenants, caplog):
    """A tenant that is dropped while others are worked on does not fail the upgrade; the log names it."""
    tenants.numbered(3)
    tenants.revision()
    with at_statement("ADD CONSTRAINT", lambda: sql("DROP SCHEMA tenant_02 CASCADE")):
        assert "" == tenants.migrate("head")
    assert ["tenant_00", "tenant_01"] == tenants.enforced
    assert "schema tenant_02 was dropped during the upgrade; skipped" in warnings(caplog)


def test_downgrade_covers_what_the_upgrade_did_and_what_came_later(sql, tenants):
    """A tenant created with the key after the upgrade loses it too, and needs no run; one that is gone is no matter."""
    names = tenants.numbered(3)
    tenants.revision()
    assert "" == tenants.migrate("head")
    sql(
        "CREATE SCHEMA tenant_new; CREATE TABLE tenant_new.orders (id int PRIMARY KEY, k int CONSTRAINT uq UNIQUE);"
        "DROP SCHEMA tenant_01 CASCADE; ALTER SCHEMA tenant_02 RENAME TO former"
    )
    names = ["tenant_00", "former"]
    assert "" == tenants.migrate("0001")
    # A renamed schema is no longer what the query returns, and no schema has the name that the ledger has.
    assert ["former"] == tenants.enforced
    assert [10, 8] == tenants.rows(*names)


@pytest.mark.thorough
def test_lost_archive_is_refused_for_its_schema_before_its_constraint_is_dropped(sql, tenants):
    """A downgrade drops no constraint where the rows could not come back, names the schema, and does the others."""
    tenants.numbered(3)
    tenants.revision()
    assert "" == tenants.migrate("head")
    sql("DROP TABLE dupe_audit.archive_2")
    message = tenants.migrate("0001")
    assert "Refused: revision 0002, in 1 of 3 schemas." in message
    assert "constraint uq on tenant_01.orders: [archive-missing]" in message
    assert "what it had committed stays: campaign 1 is undone in 2 schemas." in message
    assert "Alembic still considers revision 0002 applied." in message
    assert (["tenant_01"], "0002") == (tenants.enforced, tenants.stamped)
    assert [10, 8, 10] == tenants.rows("tenant_00", "tenant_01", "tenant_02")


def test_single_table_of_the_same_revision_is_judged_first(sql, tenants):
    """A directive for one table is refused before any schema is touched; beside a dirty schema it is done or not."""
    tenants.numbered(2)
    single = "op.create_unique_constraint_online('uq_a', 'absent', ['a'])"
    tenants.revision(up=UP + single, down="pass")
    message = tenants.migrate("head")
    assert "Refused: public.absent (a)" in message or "Refused: absent (a)" in message
    assert ([], [10, 10]) == (tenants.enforced, tenants.rows("tenant_00", "tenant_01"))


AMEND = """
op.amend_duplicates('orders', [sa.text('k % 100')], {{'k': None}}, where='id >= 0', schemas={schemas})
op.create_unique_index_online('uq', 'orders', [sa.text('k % 100')], where='id >= 0', schemas={schemas})
"""
BACK = """
op.drop_unique_index_online('uq', 'orders', schemas={schemas})
op.restore_duplicates('orders', [sa.text('k % 100')], where='id >= 0', schemas={schemas})
"""


def test_query_is_asked_before_a_single_table_is_changed(sql, tenants):
    """A query that fails stops the revision before a directive for one table, which stands above it, has acted."""
    tenants.create("single")
    single = "op.archive_duplicates('orders', ['k'], schema='single')\n"
    tenants.revision("sa.text('SELECT name FROM no_such_table')", up=single + UP, down="pass")
    assert "The schemas query failed" in tenants.migrate("head")
    assert [10] == tenants.rows("single")


@pytest.mark.thorough
def test_indexes_with_expressions_are_passed_over_too(sql, tenants):
    """A key with an expression and a predicate is recognised as done in every schema, and amended extras return."""
    names = tenants.numbered(3)
    tenants.revision(up=AMEND, down=BACK)
    assert "" == tenants.migrate("head")
    assert [(2,)] * 3 == [sql(f"SELECT count(*)::int FROM {name}.orders WHERE k IS NULL")[0] for name in names]
    sql("UPDATE alembic_version SET version_num = '0001'")
    with counted() as statements:
        assert "" == tenants.migrate("head")
    assert not any("DELETE FROM" in text or " CONCURRENTLY " in text for text in statements)
    sql("DROP INDEX tenant_01.uq; CREATE UNIQUE INDEX uq ON tenant_01.orders ((k % 99)) WHERE id >= 0")
    sql("UPDATE alembic_version SET version_num = '0001'")
    assert "tenant_01.orders (k % 100) WHERE id >= 0: [wrong-definition]" in tenants.migrate("head")
    sql("DROP INDEX tenant_01.uq")
    assert "" == tenants.migrate("head")
    assert "" == tenants.migrate("0001")
    assert [0] * 3 == [sql(f"SELECT count(*)::int FROM {name}.orders WHERE k IS NULL")[0][0] for name in names]


@pytest.mark.thorough
def test_constraint_that_became_invalid_or_another_is_not_passed_over(sql, tenants):
    """The ledger alone proves nothing: a constraint that was dropped since, or replaced, is worked on again."""
    tenants.numbered(3)
    tenants.revision()
    assert "" == tenants.migrate("head")
    sql(
        "ALTER TABLE tenant_00.orders DROP CONSTRAINT uq; INSERT INTO tenant_00.orders VALUES (100, 1, 'v');"
        "ALTER TABLE tenant_01.orders DROP CONSTRAINT uq, ADD CONSTRAINT uq UNIQUE (k, id)"
    )
    sql("UPDATE alembic_version SET version_num = '0001'")
    message = tenants.migrate("head")
    assert "in 1 of 3 schemas" in message
    assert "tenant_01.orders (k): [wrong-definition]" in message
    assert 8 == tenants.rows("tenant_00")[0]


def test_map_and_schemas_together_are_refused(sql, tenants):
    """Where schema_translate_map puts another schema in the place of a listed one, it is unclear which is meant."""
    tenants.create("a", "b")
    env = tenants.project.folder / "migrations" / "env.py"
    env.write_text(
        env.read_text().replace(
            "        context.configure(connection=connection",
            "        connection = connection.execution_options(schema_translate_map={'a': 'b'})\n"
            "        context.configure(connection=connection",
        )
    )
    tenants.revision(["a"])
    message = tenants.migrate("head")
    assert "schemas names a, and schema_translate_map of this connection puts another schema in its place" in message
    assert [10, 10] == tenants.rows("a", "b")


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
@pytest.mark.parametrize("direction", ["head", "0001"])
def test_stop_in_the_middle_and_again(sql, tenants, psycopg_connect, direction, number):
    """Stopped between two schemas, the same command ends in the same state, in one campaign; nothing is done twice."""
    names = tenants.numbered(6)
    tenants.revision(up=UP.replace("give_up_after='1s'", "give_up_after='2min'"))
    command, ended, rows = ("upgrade", "head"), "enforced", 8
    if direction == "0001":
        assert "" == tenants.migrate("head")
        command, ended, rows = ("downgrade", "0001"), "dropped", 10
    reader = psycopg_connect()
    reader.execute("SELECT FROM tenant_04.orders")  # the process comes no further than to this schema
    process, log = tenants.project.start(*command)
    wait_for(lambda: sql("SELECT to_regclass('dupe_audit.run') IS NOT NULL")[0][0])
    wait_for(lambda: sql(f"SELECT count(*) FROM dupe_audit.run WHERE state = '{ended}'")[0][0] == 4)
    process.send_signal(number)
    code = process.wait()
    reader.rollback()
    if number == signal.SIGINT:
        assert 130 == code
        assert "campaign 1 " in log.read_text()
    assert "" == tenants.migrate(direction)
    assert (names if direction == "head" else []) == tenants.enforced
    assert [rows] * 6 == tenants.rows(*names)
    assert [(6, 1)] == sql("SELECT count(*)::int, count(DISTINCT campaign)::int FROM dupe_audit.run")
    assert [(1,)] == sql("SELECT count(*)::int FROM dupe_audit.campaign")


@pytest.mark.thorough
def test_live_writers_in_some_schemas(sql, tenants, psycopg_connect, monkeypatch):
    """Writers that insert duplicates in two of the schemas lose no row, and all schemas are enforced; down restores."""
    monkeypatch.setattr(window, "HELD_IDLE_LIMIT", "1min")  # a busy machine takes longer than this limit
    names = tenants.numbered(4)
    up = UP.replace("give_up_after='1s'", "give_up_after='2min', lock_timeout='20s'")
    tenants.revision(up=up)
    stop, inserted = threading.Event(), dict.fromkeys(names[:2], 0)

    def write(name):
        connection = psycopg_connect(autocommit=True)
        number = 100
        while not stop.wait(0.05):
            number += 1
            try:
                connection.execute(f"INSERT INTO {name}.orders VALUES (%s, %s, 'v')", [number, number % 8])
                inserted[name] += 1
            except psycopg.errors.UniqueViolation:
                pass

    threads = [threading.Thread(target=write, args=[name]) for name in inserted]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: all(inserted.values()))
        message = tenants.migrate("head")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert "" == message
    assert names == tenants.enforced
    assert [8] * 4 == tenants.rows(*names)
    assert "" == tenants.migrate("0001")
    assert [10 + inserted.get(name, 0) for name in names] == tenants.rows(*names)


LOST = {
    "while the campaign is opened": ("head", "INSERT INTO dupe_audit.campaign"),
    "during a build": ("head", "CREATE UNIQUE INDEX CONCURRENTLY"),
    "while it is closed": ("head", "SET places = "),
    "during a drop": ("0001", "DROP CONSTRAINT"),
    "during a restore": ("0001", "INSERT INTO tenant_01.orders"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("place", LOST)
def test_lost_connection_ends_the_work_at_once(sql, tenants, place):
    """A connection lost in one schema does not count as its refusal; wherever it is lost, the next try continues."""
    names = tenants.numbered(2)
    tenants.revision()
    own = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
    direction, part = LOST[place]
    if direction == "0001":
        assert "" == tenants.migrate("head")
    with at_statement(part, lambda: sql(f"{own} current_database() AND application_name = ''")):
        message = tenants.migrate(direction)
    assert "The connection was lost" in message or "lost its connection" in message, message
    assert "of 2 schemas" not in message
    assert "" == tenants.migrate(direction)
    assert (names if direction == "head" else []) == tenants.enforced
    assert [8 if direction == "head" else 10] * 2 == tenants.rows(*names)
    if direction == "head":
        assert "" == tenants.migrate("0001")
    campaigns = sql("SELECT count(*)::int, min(state), max(state) FROM dupe_audit.campaign")
    runs = sql("SELECT count(*)::int, count(DISTINCT campaign)::int FROM dupe_audit.run WHERE state = 'restored'")
    assert [(campaigns[0][0] * 2, campaigns[0][0])] == runs
    assert campaigns[0][1:] == ("undone", "undone")


def test_statement_that_fails_afterwards_leaves_an_account(sql, tenants, caplog):
    """If a plain statement after the directives fails, the log says what the campaign did and how to undo it."""
    tenants.numbered(2)
    tenants.revision(up=UP + "op.execute('SELECT 1 / 0')")
    with pytest.raises(DBAPIError):
        tenants.migrate("head")
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert ["campaign 1 has worked on 2 schemas of 2" in text for text in errors] == [True]
    assert "dupe-audit restore --campaign 1" in errors[0]
    assert (["tenant_00", "tenant_01"], "0001") == (tenants.enforced, tenants.stamped)


@pytest.mark.thorough
def test_blocked_schema_does_not_stop_the_others(sql, tenants, psycopg_connect):
    """A reader that keeps one schema's table locked fails that schema alone, and is named by its pid."""
    tenants.numbered(3)
    tenants.revision()
    reader = psycopg_connect()
    reader.execute("SELECT * FROM tenant_01.orders")
    message = tenants.migrate("head")
    assert "in 1 of 3 schemas" in message
    assert "tenant_01.orders (k)" in message
    assert f"pid {reader.info.backend_pid}" in message
    assert ["tenant_00", "tenant_02"] == tenants.enforced
    reader.rollback()
    assert "" == tenants.migrate("head")


def test_downgrade_that_names_another_list_or_key_is_refused_before_the_upgrade(tenants):
    """A downgrade that would restore other schemas or another key than the upgrade archives stops it."""
    tenants.numbered(2)
    tenants.revision(["tenant_00", "tenant_01"], down=DOWN.replace("=schemas", "=['tenant_02']"))
    assert "tenant_02.orders (k), but upgrade() cleans up" in tenants.migrate("head")
    tenants.revision(down=DOWN.replace("['k']", "['v']").replace("=schemas", f"={QUERIED}"))
    assert "restores *.orders (v), but upgrade() cleans up *.orders (k)" in tenants.migrate("head")
    assert [10, 10] == tenants.rows("tenant_00", "tenant_01")


@pytest.mark.thorough
def test_key_is_replaced_in_every_schema_but_a_dirty_one(sql, tenants):
    """The new key stands before the old one goes, schema by schema; a refused schema keeps the old one, both ways."""
    names = tenants.numbered(3)
    for name in names:
        sql(f"ALTER TABLE {name}.orders ADD CONSTRAINT old UNIQUE (k, id)")
    sql("UPDATE tenant_01.orders SET v = 'w' WHERE id = 9")
    up = "op.drop_unique_constraint_online('old', 'orders', schemas={schemas})\n" + UP
    down = """
    op.drop_unique_constraint_online('uq', 'orders', schemas={schemas})
    op.restore_duplicates('orders', ['k'], schemas={schemas})
    op.create_unique_constraint_online('old', 'orders', ['k', 'id'], schemas={schemas})
    """
    tenants.revision(names, up=up, down=down)
    names_of = "SELECT connamespace::regnamespace::text, conname::text FROM pg_constraint"
    keys = f"{names_of} WHERE conname IN ('uq', 'old') ORDER BY 1, 2"
    assert "in 1 of 3 schemas" in tenants.migrate("head")
    assert [("tenant_00", "uq"), ("tenant_01", "old"), ("tenant_02", "uq")] == sql(keys)
    sql("UPDATE tenant_01.orders SET v = 'v'")
    assert "" == tenants.migrate("head")
    assert [(name, "uq") for name in names] == sql(keys)
    assert "" == tenants.migrate("0001")
    assert [(name, "old") for name in names] == sql(keys)
    assert [10] * 3 == tenants.rows(*names)


UNREADABLE = "if op.get_bind().execute(sa.text('SELECT 1')).scalar():\n    pass\n"


@pytest.mark.thorough
def test_revision_that_cannot_be_read_reports_at_its_end(sql, tenants):
    """If a revision depends on data, dirty schemas are left out and named once, after its last directive."""
    names = tenants.numbered(3)
    sql("UPDATE tenant_01.orders SET v = 'w' WHERE id = 9")
    tenants.revision(up=UNREADABLE + UP)
    message = tenants.migrate("head")
    assert message.startswith("Refused: revision 0002, in 1 of 3 schemas. The other 2 schemas are done.")
    assert 1 == message.count("tenant_01.orders (k): [divergent-duplicates]")
    assert "campaign 1 keeps 4 rows in its archives and enforces keys in 2 schemas." in message
    assert "Do not run alembic downgrade: revision 0002 was not stamped" in message
    assert (["tenant_00", "tenant_02"], [8, 10, 8]) == (tenants.enforced, tenants.rows(*names))
    assert ("0001", [("open",)]) == (tenants.stamped, sql("SELECT state FROM dupe_audit.campaign"))
    sql("UPDATE tenant_01.orders SET v = 'v'")
    assert "" == tenants.migrate("head")
    assert (names, [8] * 3) == (tenants.enforced, tenants.rows(*names))
    assert ("0002", [("done",)]) == (tenants.stamped, sql("SELECT state FROM dupe_audit.campaign"))


def test_statement_that_fails_in_a_revision_that_cannot_be_read_hides_no_dirty_schema(sql, tenants, caplog):
    """If a later statement ends such a revision, the log has named the dirty schemas and what was committed."""
    tenants.numbered(3)
    sql("UPDATE tenant_01.orders SET v = 'w' WHERE id = 9")
    tenants.revision(up=UNREADABLE + UP + "op.execute('SELECT 1 / 0')")
    with pytest.raises(DBAPIError):
        tenants.migrate("head")
    assert 1 == sum("tenant_01.orders (k):\n    [divergent-duplicates]" in text for text in warnings(caplog))
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert ["campaign 1 has worked on 3 schemas of 3" in text for text in errors] == [True]
    assert "0001" == tenants.stamped


@pytest.mark.thorough
def test_tables_that_reference_each_other_in_every_schema(sql, tenants):
    """Several tables per schema: children follow the survivors within their own schema, and back."""
    names = tenants.numbered(2)
    for name in names:
        sql(
            f"CREATE TABLE {name}.items (id int PRIMARY KEY, order_id int REFERENCES {name}.orders, n int);"
            f"CREATE INDEX ON {name}.items (order_id); INSERT INTO {name}.items VALUES (1, 8, 1), (2, 9, 1), (3, 1, 2)"
        )
    both = """
    schemas = {schemas}
    op.archive_duplicates('orders', ['k'], order_by=['id'], references='repoint', schemas=schemas)
    op.create_unique_constraint_online('uq', 'orders', ['k'], schemas=schemas)
    op.archive_duplicates('items', ['n'], order_by=['id'], ignore=['order_id'], schemas=schemas)
    op.create_unique_constraint_online('uq_n', 'items', ['n'], schemas=schemas)
    """
    back = """
    schemas = {schemas}
    op.drop_unique_constraint_online('uq_n', 'items', schemas=schemas)
    op.restore_duplicates('items', ['n'], schemas=schemas)
    op.drop_unique_constraint_online('uq', 'orders', schemas=schemas)
    op.restore_duplicates('orders', ['k'], schemas=schemas)
    """
    tenants.revision(up=both, down=back)
    before = [sql(f"SELECT i::text FROM {name}.items i ORDER BY id") for name in names]
    assert "" == tenants.migrate("head")
    assert [[(1, 0), (3, 1)]] * 2 == [sql(f"SELECT id, order_id FROM {name}.items ORDER BY id") for name in names]
    assert [("done", 4)] == sql(
        "SELECT c.state, count(*)::int FROM dupe_audit.campaign c JOIN dupe_audit.run r ON r.campaign = c.id GROUP BY 1"
    )
    assert "" == tenants.migrate("0001")
    assert before == [sql(f"SELECT i::text FROM {name}.items i ORDER BY id") for name in names]


@pytest.fixture
def roles(sql):
    """Two owners of tenants, and a role that is a member of both and migrates them; dropped after the test."""
    suffix = uuid.uuid4().hex[:8]
    names = [f"dupe_audit_{kind}_{suffix}" for kind in ("a", "b", "migration")]
    database = sql("SELECT current_database()")[0][0]
    sql("; ".join(f"CREATE ROLE {name}; GRANT ALL ON DATABASE {database} TO {name}" for name in names))
    sql(f"GRANT {names[0]}, {names[1]} TO {names[2]}; GRANT CREATE ON SCHEMA public TO {names[2]}")
    yield names
    sql("; ".join(f"DROP OWNED BY {name} CASCADE" for name in names))
    sql("; ".join(f"DROP ROLE {name}" for name in names))


@pytest.mark.thorough
def test_each_schema_can_have_its_own_owner(sql, tenants, roles, database_url, monkeypatch):
    """A migration role that is a member of the owners does everything; no owner can read another one's archive."""
    names = tenants.numbered(2)
    for name, role in zip(names, roles, strict=False):
        sql(f"ALTER SCHEMA {name} OWNER TO {role}; ALTER TABLE {name}.orders OWNER TO {role}")
    url = make_url(database_url).update_query_dict({"options": f"-c role={roles[2]}"})
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    tenants.revision()
    assert "" == tenants.migrate("head")
    assert (names, [8, 8]) == (tenants.enforced, tenants.rows(*names))
    readers = "SELECT has_table_privilege(r, a, 'SELECT') FROM unnest(ARRAY['{}', '{}']) AS r, unnest(ARRAY[{}]) AS a"
    archives = "'dupe_audit.archive_1', 'dupe_audit.archive_2'"
    assert [(True,), (False,), (False,), (False,)] == sql(readers.format(*roles[:2], archives))
    assert "" == tenants.migrate("0001")
    assert [10, 10] == tenants.rows(*names)

    sql(f"REVOKE CREATE, USAGE ON SCHEMA tenant_01 FROM {roles[1]}")
    message = tenants.migrate("head")
    assert (
        "tenant_01.orders (k): [missing-privilege] The role lacks the privilege USAGE ON SCHEMA tenant_01." in message
    )
    assert "[expression-invalid]" not in message

    sql(f"GRANT CREATE, USAGE ON SCHEMA tenant_01 TO {roles[1]}; REVOKE {roles[1]} FROM {roles[2]}")
    message = tenants.migrate("head")
    assert "in 1 of 2 schemas" in message
    assert f"tenant_01.orders is owned by role {roles[1]}" in message
    assert ["tenant_00"] == tenants.enforced
