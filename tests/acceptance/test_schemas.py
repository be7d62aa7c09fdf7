"""One directive for the same table in many schemas: a run per schema, one campaign, refusals reported together."""

import pytest

QUERY = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'tenant%' ORDER BY nspname"

UP = """
schemas = {schemas}
op.archive_duplicates('orders', ['k'], order_by=['id'], schemas=schemas)
op.create_unique_constraint_online('uq', 'orders', ['k'], schemas=schemas)
"""
DOWN = """
schemas = {schemas}
op.drop_unique_constraint_online('uq', 'orders', schemas=schemas)
op.restore_duplicates('orders', ['k'], schemas=schemas)
"""

#: two exact duplicates of ten rows
ORDERS = (
    "CREATE SCHEMA {0}; CREATE TABLE {0}.orders (id int PRIMARY KEY, k int, v text); "
    "INSERT INTO {0}.orders SELECT n, n % 8, 'v' FROM generate_series(0, 9) AS n"
)


def query(text=QUERY):
    return f"sa.text({text!r})"


def tenants(sql, count):
    names = [f"tenant_{number:03}" for number in range(count)]
    sql("; ".join(ORDERS.format(name) for name in names))
    return names


@pytest.fixture
def project(small_project):
    """A project of one empty revision, 0001."""
    return small_project


def write(project, schemas, up=UP, down=DOWN):
    project.revision("0002", "0001", up.format(schemas=schemas), down.format(schemas=schemas))


def enforced(sql):
    rows = sql("SELECT connamespace::regnamespace::text FROM pg_constraint WHERE conname = 'uq' ORDER BY 1")
    return [name for (name,) in rows]


def rows(sql, names):
    return [sql(f"SELECT count(*) FROM {name}.orders")[0][0] for name in names]


def runs(sql):
    return sql("SELECT schema_name, state, archived::int, campaign::int FROM dupe_audit.run ORDER BY id")


@pytest.mark.parametrize("schemas", ["['tenant_000', 'tenant_001', 'tenant_002']", query()], ids=["list", "query"])
def test_up_down_and_up(sql, project, schemas):
    """Each schema is cleaned and enforced in a run of its own, all in one campaign; down restores every row."""
    names = tenants(sql, 3)
    before = [sql(f"SELECT o::text FROM {name}.orders o ORDER BY id") for name in names]
    write(project, schemas)

    code, output = project.run("upgrade", "head")
    assert 0 == code, output
    assert (names, [8] * 3) == (enforced(sql), rows(sql, names))
    assert [(name, "enforced", 2, 1) for name in names] == runs(sql)
    assert [(1, "0002", names, "done")] == sql("SELECT id::int, revision, places, state FROM dupe_audit.campaign")

    code, output = project.run("downgrade", "0001")
    assert 0 == code, output
    assert ([], before) == (
        enforced(sql),
        [sql(f"SELECT o::text FROM {name}.orders o ORDER BY id") for name in names],
    )
    assert [("undone",)] == sql("SELECT state FROM dupe_audit.campaign")

    code, output = project.run("upgrade", "head")
    assert 0 == code, output
    assert (names, [8] * 3) == (enforced(sql), rows(sql, names))
    assert [(1, "undone"), (2, "done")] == sql("SELECT id::int, state FROM dupe_audit.campaign ORDER BY id")
