"""The directives act on the same table as Alembic's own operations, whichever schema the environment chooses."""

import json

import pytest

ORDERS = (
    "CREATE SCHEMA {0}; CREATE TABLE {0}.orders (id int PRIMARY KEY, k int); "
    "INSERT INTO {0}.orders VALUES (1, 1), (2, 1)"
)
PUBLIC = "CREATE TABLE orders (id int PRIMARY KEY, k int); INSERT INTO orders VALUES (1, 1), (2, 1)"

LOOP = """
import logging
import os
import dupe_audit.ops
from alembic import context
from sqlalchemy import create_engine, pool, text

logging.basicConfig(level=logging.INFO)
engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
for tenant in {tenants!r}:
    with engine.connect() as connection:
        {choose}
        context.configure(connection=connection, version_table_schema=tenant or "public")
        with context.begin_transaction():
            context.run_migrations()
"""

CHOICES = {
    "translate map": "connection = connection.execution_options(schema_translate_map={None: tenant})",
    "search path": "connection.execute(text(f'SET search_path = {tenant}')); connection.commit()",
}

UP = """
op.archive_duplicates('orders', ['k'])
op.create_unique_constraint_online('uq', 'orders', ['k'])
op.create_unique_constraint('uq_id', 'orders', ['id', 'k'])
"""
DOWN = """
op.drop_constraint('uq_id', 'orders')
op.drop_unique_constraint_online('uq', 'orders')
op.restore_duplicates('orders', ['k'])
"""


@pytest.fixture
def project(small_project):
    """A project of one empty revision, 0001."""
    return small_project


#: by a name that the revisions use
NAMED = "connection = connection.execution_options(schema_translate_map={'tenant': tenant})"


def state(sql, schema):
    condition = f"conrelid = '{schema}.orders'::regclass AND contype = 'u'"
    names = sql(f"SELECT conname::text FROM pg_constraint WHERE {condition} ORDER BY 1")
    return [name for (name,) in names], sql(f"SELECT count(*) FROM {schema}.orders")[0][0]


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
@pytest.mark.representatives("search path")
def test_tenants_in_a_loop(sql, project, choose):
    """One process upgrades the same revision for several schemas, each judged, cleaned and enforced in its own."""
    sql(f"{PUBLIC}; {ORDERS.format('tenant_a')}; {ORDERS.format('tenant_b')}")
    project.env(LOOP.format(tenants=["tenant_a", "tenant_b"], choose=choose))
    project.revision("0002", "0001", UP, DOWN)

    code, output = project.run("upgrade", "head")
    assert 0 == code, output
    assert (["uq", "uq_id"], 1) == state(sql, "tenant_a")
    assert (["uq", "uq_id"], 1) == state(sql, "tenant_b")
    assert ([], 2) == state(sql, "public")

    code, output = project.run("downgrade", "0001")
    assert 0 == code, output
    assert [([], 2)] * 3 == [state(sql, schema) for schema in ("tenant_a", "tenant_b", "public")]


@pytest.mark.parametrize("choose", [*CHOICES.values(), NAMED], ids=[*CHOICES, "translated name"])
@pytest.mark.representatives("translate map")
def test_preflight_and_verify_see_each_tenant(sql, project, choose):
    """Whichever way env.py chooses a tenant's schema, preflight and verify examine the tables in all of them."""
    sql(f"{PUBLIC}; {ORDERS.format('tenant_a')}; {ORDERS.format('tenant_b')}")
    project.env(LOOP.format(tenants=["tenant_a", "tenant_b"], choose=choose))
    up, down = UP, DOWN
    if choose == NAMED:
        up, down = up.replace("])", "], schema='tenant')"), down.replace("])", "], schema='tenant')")
        down = down.replace("'orders')", "'orders', schema='tenant')")
    project.revision("0002", "0001", up, down)

    def keys(command, code):
        done = project.launcher.run(
            "dupe_audit.cli", command, "--format", "json", cwd=project.folder, env=project.environment
        )
        assert code == done.returncode, (done.stdout, done.stderr)
        return sorted(
            (key["schema"], key["constraint"], key["extras"]) for key in json.loads(done.stdout) if key["schema"]
        )

    tenants = ("tenant_a", "tenant_b")
    expected = [(tenant, *key) for tenant in tenants for key in (("uq", 1), ("uq_id", 0))]
    assert expected == keys("preflight", 1)
    code, output = project.run("upgrade", "head")
    assert 0 == code, output
    assert [(tenant, *key) for tenant in tenants for key in (("uq", 0), ("uq_id", None))] == keys("verify", 0)


@pytest.mark.parametrize("choose", CHOICES.values(), ids=CHOICES)
@pytest.mark.representatives("translate map")
def test_second_tenant_is_judged_too(sql, project, choose):
    """A reason against the second tenant's last directive is found before its first row moves."""
    sql(f"{ORDERS.format('tenant_a')}; {ORDERS.format('tenant_b')}; CREATE TABLE tenant_b.uq (i int)")
    project.env(LOOP.format(tenants=["tenant_a", "tenant_b"], choose=choose))
    project.revision("0002", "0001", UP, DOWN)
    code, output = project.run("upgrade", "head")
    assert 255 == code
    assert "Refused: tenant_b.orders (k), revision 0002. No row was changed." in output
    assert "[name-taken]" in output
    assert ([], 2) == state(sql, "tenant_b")


def test_named_schema_is_translated(sql, project):
    """A schema that the revision names is translated as in Alembic's own operations."""
    sql(f"{PUBLIC}; {ORDERS.format('tenant_a')}")
    choose = "connection = connection.execution_options(schema_translate_map={'tenant': tenant})"
    project.env(LOOP.format(tenants=["tenant_a"], choose=choose))
    up, down = (text.replace("])", "], schema='tenant')") for text in (UP, DOWN))
    project.revision("0002", "0001", up, down.replace("'orders')", "'orders', schema='tenant')"))
    code, output = project.run("upgrade", "head")
    assert (0, (["uq", "uq_id"], 1), ([], 2)) == (code, state(sql, "tenant_a"), state(sql, "public")), output
    code, output = project.run("downgrade", "0001")
    assert (0, ([], 2)) == (code, state(sql, "tenant_a")), output


def test_script_names_the_table_as_alembics_own_operations_do(sql, project):
    """Alembic does not translate schemas in a script, so neither do the directives: both name the same table."""
    project.env(
        """
import os
import dupe_audit.ops
from alembic import context
from sqlalchemy import create_engine, pool

connection = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool).connect()
connection = connection.execution_options(schema_translate_map={None: "tenant_a"})
context.configure(connection=connection, as_sql=True)
with context.begin_transaction():
    context.run_migrations()
"""
    )
    project.revision("0002", "0001", UP)
    script = project.script("upgrade", "0001:0002")
    assert "ALTER TABLE orders ADD CONSTRAINT uq_id" in script
    assert 'ALTER TABLE "orders" ADD CONSTRAINT "uq"' in script
    assert "tenant_a" not in script
