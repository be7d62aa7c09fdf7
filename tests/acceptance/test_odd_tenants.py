"""Tenants with odd names, half dropped, half created and without privileges: every message names schema and table."""

import uuid

import pytest
from sqlalchemy import make_url

from tenants import Tenants

UPPER, QUOTED, SPACED, PERCENT, LONG = NAMES = ("Upper", 'quo"te', "two words", "50%", "ü" * 31 + "x")
KEY = ("--table", "orders", "-c", "k")
CONSTRAINT = ("--table", "orders", "--name", "uq")
TABLE = (
    "CREATE TABLE {0}.orders (id int PRIMARY KEY, k int, v text); "
    "INSERT INTO {0}.orders SELECT n, n % 8, 'v' FROM generate_series(0, 9) AS n"
)
#: chooses each tenant's schema, and keeps its version in it
LOOP = """
import os
import dupe_audit.ops
from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
for tenant in {tenants!r}:
    with engine.connect() as connection:
        {choose}
        context.configure(connection=connection, version_table_schema=tenant)
        with context.begin_transaction():
            context.run_migrations()
"""
CHOICES = {
    "search path": "connection.execute(text('SELECT set_config(:name, :path, false)'), "
    "{'name': 'search_path', 'path': '\"' + tenant.replace('\"', '\"\"') + '\"'}); connection.commit()",
    "translate map": "connection = connection.execution_options(schema_translate_map={None: tenant})",
}
PLAIN_UP = "op.archive_duplicates('orders', ['k'])\nop.create_unique_constraint_online('uq', 'orders', ['k'])\n"
PLAIN_DOWN = "op.drop_unique_constraint_online('uq', 'orders')\nop.restore_duplicates('orders', ['k'])\n"


def quoted(name):
    return '"{}"'.format(name.replace('"', '""'))


def lines(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def options(*names):
    return [word for name in names for word in ("--schemas", name)]


@pytest.fixture
def tenants(sql, small_project, database_url, monkeypatch):
    """Five schemas with the table, and the project that migrates them."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    for name in map(quoted, NAMES):
        sql(f"CREATE SCHEMA {name}; {TABLE.format(name)}")
    return Tenants(sql, small_project)


@pytest.fixture
def plain_role(sql, tenants, database_url, monkeypatch):
    """A role that owns the tables of all tenants but the last, and migrates as such."""
    role, database = f"dupe_audit_odd_{uuid.uuid4().hex[:8]}", sql("SELECT current_database()")[0][0]
    sql(
        f"CREATE ROLE {role} LOGIN; GRANT ALL ON DATABASE {database} TO {role}; GRANT CREATE ON SCHEMA public TO {role}"
    )
    for name in map(quoted, NAMES[:-1]):
        sql(f"ALTER SCHEMA {name} OWNER TO {role}; ALTER TABLE {name}.orders OWNER TO {role}")
    url = make_url(database_url).update_query_dict({"options": f"-crole={role}"})
    monkeypatch.setenv("DATABASE_URL", url.render_as_string(hide_password=False))
    tenants.project.environment["DATABASE_URL"] = url.render_as_string(hide_password=False)
    yield role
    sql(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.thorough
@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
def test_loop_over_odd_names(sql, tenants, choose):
    """An env.py that loops over tenants with odd names upgrades and downgrades, and preflight and verify examine it."""
    project = tenants.project
    project.env(LOOP.format(tenants=NAMES, choose=choose))
    project.revision("0002", "0001", PLAIN_UP, PLAIN_DOWN)
    before = tenants.dupe_audit("preflight", code=1)
    assert [1] * 5 == [before.stdout.splitlines().count(f"{name}.orders (k)") for name in NAMES], before.stdout
    code, output = project.run("upgrade", "head")
    assert 0 == code, output
    assert [8] * 5 == [sql(f"SELECT count(*) FROM {quoted(name)}.orders")[0][0] for name in NAMES]
    verified = tenants.dupe_audit("verify")
    assert [True] * 5 == [f"{name}.orders" in verified.stdout for name in NAMES], verified.stdout
    code, output = project.run("downgrade", "0001")
    assert 0 == code, output
    assert [10] * 5 == [sql(f"SELECT count(*) FROM {quoted(name)}.orders")[0][0] for name in NAMES]


@pytest.mark.thorough
def test_commands_name_each_odd_tenant(sql, tenants):
    """preflight, upgrade, verify, runs, restore and purge treat odd names and half dropped tenants one by one."""
    sql(f"DROP TABLE {quoted(QUOTED)}.orders")  # created half way: the schema has no table yet
    tenants.revision(list(NAMES))
    done = tenants.dupe_audit("preflight", *options(*NAMES), *KEY, code=1)
    assert [f"{name} 10 2 2 2 0 duplicates" for name in NAMES if name != QUOTED] == [
        line for line in lines(done.stdout) if line.endswith("duplicates")
    ]
    assert f"{QUOTED} - - - - - table-missing" in lines(done.stdout)
    message = tenants.migrate("head")
    assert message.startswith("Refused: revision 0002, in 1 of 5 schemas. The other 4 schemas are done.")
    assert f"{QUOTED}.orders (k): [table-missing] There is no table for key {QUOTED}.orders (k)" in message
    assert "next: dupe-audit preflight --schema 'quo\"te' --table orders -c k" in message
    sql(TABLE.format(quoted(QUOTED)))
    assert "" == tenants.migrate("head")
    sql(f"DROP SCHEMA {quoted(SPACED)} CASCADE")
    done = tenants.dupe_audit("verify", *options(*NAMES), *CONSTRAINT, code=1)
    assert f"{LONG} yes 8 0 5 -" in lines(done.stdout) or f"{LONG} yes 8 0 4 -" in lines(done.stdout), done.stdout
    assert f"error [table-missing] in 1 schema: {SPACED}" in lines(done.stdout)
    listed = tenants.dupe_audit("runs", *options(*NAMES)).stdout
    assert f"{SPACED}.orders (not found)" in listed
    assert [1] * 5 == [listed.count(f"{name}.orders") for name in NAMES]
    done = tenants.dupe_audit("restore", "--campaign", "1", "--yes", code=1)
    assert f"The table of run 2, {SPACED}.orders, was dropped" in done.stderr
    assert [10] * 3 == tenants.rows(UPPER, PERCENT, LONG)
    assert [(10,)] == sql(f"SELECT count(*) FROM {quoted(QUOTED)}.orders")
    done = tenants.dupe_audit("purge", "1", code=2)
    assert "Every archived row of run 1 is back in Upper.orders." in done.stderr
    assert "To confirm, add --yes." in done.stderr
    tenants.dupe_audit("purge", *options(*NAMES), "--yes")
    done = tenants.dupe_audit("purge", *options(*NAMES))
    assert "are already purged; nothing to do." in done.stderr


@pytest.mark.thorough
def test_tenant_without_privileges_keeps_no_other_from_being_examined(sql, tenants, plain_role):
    """A table that the role may not read or does not own is named with its schema; all other tenants are completed."""
    tenants.revision(list(NAMES))
    sql(f"REVOKE ALL ON SCHEMA {quoted(LONG)} FROM PUBLIC")
    done = tenants.dupe_audit("preflight", *options(*NAMES), *KEY, code=1)
    assert f'The role lacks the privilege USAGE ON SCHEMA "{LONG}".' in done.stdout
    assert f"{PERCENT} 10 2 2 2 0 duplicates" in lines(done.stdout)
    sql(f"GRANT USAGE ON SCHEMA {quoted(LONG)} TO {plain_role}")
    done = tenants.dupe_audit("preflight", *options(*NAMES), *KEY, code=1)
    assert f'The role lacks the privilege SELECT ON "{LONG}".orders.' in done.stdout
    message = tenants.migrate("head")
    assert "Refused: revision 0002, in 1 of 5 schemas. The other 4 schemas are done." in message
    assert f"{LONG}.orders (k): " in message
    assert f'[not-owner] "{LONG}".orders is owned by role ' in message
    done = tenants.dupe_audit("verify", *options(*NAMES), *CONSTRAINT, code=1)
    assert f"{LONG} NO - - - constraint-missing" in lines(done.stdout)

    lost = quoted(PERCENT)
    sql(f"ALTER SCHEMA {lost} OWNER TO CURRENT_USER; REVOKE ALL ON SCHEMA {lost} FROM {plain_role}")
    done = tenants.dupe_audit("restore", "--campaign", "1", "--yes", code=1)
    assert "1 of 4 runs could not be restored; the others are." in done.stderr
    assert f"of {PERCENT}.orders: restore failed: permission denied" in done.stderr
    assert [10, 10] == tenants.rows(UPPER, SPACED)
