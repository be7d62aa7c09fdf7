"""Uniqueness that comes together with another name, or with another table under the same name."""

import pytest

ORDERS = (
    'op.execute("CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, day date)")',
    'op.execute("DROP TABLE orders")',
)

RENAMED_COLUMN = (
    """
    op.alter_column("orders", "customer", new_column_name="client")
    with op.get_context().autocommit_block():
        op.create_index("u3", "orders", ["client", "day"], unique=True, postgresql_concurrently=True)
    """,
    """
    op.drop_index("u3", "orders", if_exists=True)
    op.alter_column("orders", "client", new_column_name="customer")
    """,
)
RENAMED_IN_EXPRESSION = (
    """
    op.alter_column("orders", "customer", new_column_name="abs")
    op.execute("CREATE UNIQUE INDEX u3 ON orders (abs(abs), day) WHERE abs > 0")
    """,
    """
    op.drop_index("u3", "orders")
    op.alter_column("orders", "abs", new_column_name="customer")
    """,
)
MADE_ANEW = (
    """
    op.execute(
        "CREATE TABLE orders_new (id int PRIMARY KEY, customer int NOT NULL, day date, UNIQUE (customer, day));"
        "INSERT INTO orders_new SELECT * FROM orders; DROP TABLE orders; ALTER TABLE orders_new RENAME TO orders"
    )
    """,
    'op.execute("ALTER TABLE orders DROP CONSTRAINT orders_new_customer_day_key")',
)
IN_A_BATCH = (
    """
    with op.batch_alter_table("orders", recreate="always") as batch:
        batch.create_unique_constraint("u3", ["customer", "day"])
    """,
    'op.drop_constraint("u3", "orders")',
)
RENAMED_TABLE = (
    """
    op.rename_table("orders", "purchases")
    op.create_unique_constraint("u3", "purchases", ["customer", "day"])
    """,
    """
    op.drop_constraint("u3", "purchases")
    op.rename_table("purchases", "orders")
    """,
)


@pytest.fixture
def project(project):
    """A project whose first revision makes a table."""
    project.add("a1", *ORDERS)
    return project


@pytest.mark.parametrize(
    ("revision", "key"),
    [
        (RENAMED_COLUMN, "(client, day)"),
        (RENAMED_IN_EXPRESSION, "(abs(abs), day) WHERE abs > 0"),
        (MADE_ANEW, "(customer, day)"),
        (IN_A_BATCH, "(customer, day)"),
        (RENAMED_TABLE, "(customer, day)"),
    ],
    ids=["a column renamed", "in an expression", "the table made anew", "in a batch", "the table renamed"],
)
def test_duplicates_stop_it_under_whatever_name(project, revision, key):
    """The table is filled with duplicates as it was before, and they are found in the key as the revision has it."""
    project.add("b2", *revision)
    report = project.check()
    told = [one.finding for one in report.failing if one.finding.id == "unique-over-duplicates"]
    [filled] = [one for one in report.filled if one.table == "public.orders"]

    assert 1 == len(told), [one.finding.message for one in report.failing]
    assert filled.exact + filled.divergent > 0
    assert f"{filled.exact + filled.divergent} extras in {filled.rows} rows, key {key}" in told[0].message


def test_the_advice_has_the_names_that_the_revision_gives(project):
    """What to write instead stands behind the renaming, so it says the new names."""
    project.add("b2", RENAMED_COLUMN[0] + '    op.rename_table("orders", "purchases")\n', "raise NotImplementedError")
    told = [one.finding.help for one in project.check().failing if one.finding.id == "unique-over-duplicates"]
    assert 1 == len(told)
    assert 'op.archive_duplicates("purchases", ["client", "day"])' in told[0]


def test_a_table_made_anew_as_unique_as_before_makes_no_trip(project):
    """A primary key that only comes again with its table is nothing new, so the table need not be filled for it."""
    anew = (
        "CREATE TABLE x (id int PRIMARY KEY, customer int NOT NULL, day date); DROP TABLE orders; "
        "ALTER TABLE x RENAME TO orders; ALTER INDEX x_pkey RENAME TO orders_pkey"
    )
    project.add("b2", f'op.execute("{anew}")', 'op.execute("SELECT 1")')
    assert () == tuple(project.check().filled)


@pytest.mark.parametrize(
    "unique",
    [
        'op.create_unique_constraint("u3", "purchases", ["customer", "id"])',
        'op.create_index("u3", "purchases", ["customer", "id"], unique=True)',
    ],
    ids=["constraint", "index"],
)
def test_a_table_is_renamed_and_made_unique_without_harm(project, failing, unique):
    """What no duplicate can violate is proven in the table under its new name."""
    project.add(
        "b2",
        f'op.rename_table("orders", "purchases")\n{unique}',
        """
        op.execute("ALTER TABLE purchases DROP CONSTRAINT IF EXISTS u3; DROP INDEX IF EXISTS u3")
        op.rename_table("purchases", "orders")
        """,
        extra="# dupe-audit: accept lock-during-work",
    )
    report = project.check()
    assert [] == failing(report), report
    assert ["public.orders"] == [one.table for one in report.filled]
