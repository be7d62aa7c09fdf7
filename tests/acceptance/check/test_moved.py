"""Uniqueness that is added together with a new name, or with a new table under the same name."""

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
RECREATED = (
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
    """A project whose first revision creates a table."""
    project.add("a1", *ORDERS)
    return project


@pytest.mark.parametrize(
    ("revision", "key"),
    [
        (RENAMED_COLUMN, "(client, day)"),
        (RENAMED_IN_EXPRESSION, "(abs(abs), day) WHERE abs > 0"),
        (RECREATED, "(customer, day)"),
        (IN_A_BATCH, "(customer, day)"),
        (RENAMED_TABLE, "(customer, day)"),
    ],
    ids=["a column renamed", "in an expression", "the table re-created", "in a batch", "the table renamed"],
)
@pytest.mark.representatives("in an expression", "the table renamed")
def test_duplicates_stop_it_under_whatever_name(project, revision, key):
    """The table is filled as it was before, and its duplicates are counted under the key that the revision adds."""
    project.add("b2", *revision)
    report = project.check()
    stopped = [result.finding for result in report.failing if result.finding.id == "unique-over-duplicates"]
    [filled] = [filled for filled in report.filled if filled.table == "public.orders"]

    assert 1 == len(stopped), [result.finding.message for result in report.failing]
    assert filled.exact + filled.divergent > 0
    assert f"{filled.exact + filled.divergent} extras in {filled.rows} rows, key {key}" in stopped[0].message


def test_the_advice_has_the_names_that_the_revision_gives(project):
    """The advised directives come after the renaming, so they use the new names."""
    project.add("b2", RENAMED_COLUMN[0] + '    op.rename_table("orders", "purchases")\n', "raise NotImplementedError")
    helps = [result.finding.help for result in project.check().failing if result.finding.id == "unique-over-duplicates"]
    assert 1 == len(helps)
    assert 'op.archive_duplicates("purchases", ["client", "day"])' in helps[0]


def test_a_recreated_table_as_unique_as_before_makes_no_trip(project):
    """A primary key that is only re-created with its table is not new, so the table need not be filled."""
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
@pytest.mark.representatives("constraint")
def test_a_table_is_renamed_and_made_unique_without_harm(project, failing, unique):
    """A key that no duplicate can violate is verified in the table under its new name."""
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
    assert ["public.orders"] == [filled.table for filled in report.filled]
