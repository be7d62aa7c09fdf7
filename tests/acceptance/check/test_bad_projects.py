"""Small projects that each have one mistake, and the finding that the check reports."""

import re

import pytest

from dupe_audit.findings import CHECK

KEY = '["customer", "no"]'
PLAIN = f'op.create_unique_constraint("once", "orders", {KEY})'
PLAIN_BACK = 'op.drop_constraint("once", "orders")'
LOCKS = "# dupe-audit: accept lock-during-work"


def several_heads(project):
    """Create two revisions that follow the same one."""
    project.add("b2", "op.execute(\"COMMENT ON TABLE orders IS 'x'\")", 'op.execute("COMMENT ON TABLE orders IS NULL")')
    project.add("c3", 'op.execute("SELECT 1")', 'op.execute("SELECT 1")', after="a1")


def no_way_back(project):
    """Forget the downgrade."""
    project.add("b2", 'op.add_column("orders", sa.Column("paid", sa.Boolean))')


def downgrade_fails(project):
    """Drop a column that does not exist in the downgrade."""
    project.add("b2", 'op.add_column("orders", sa.Column("paid", sa.Boolean))', 'op.drop_column("orders", "payed")')


def downgrade_differs(project):
    """Leave a default behind."""
    project.add("b2", 'op.alter_column("orders", "note", server_default="-")', 'op.execute("SELECT 1")')


def second_upgrade_fails(project):
    """Leave a type behind, which stops the next upgrade."""
    project.add(
        "b2",
        """op.execute("CREATE TYPE state AS ENUM ('new')")""",
        'op.execute("SELECT 1")',
        extra="# dupe-audit: accept downgrade-differs",
    )


def upgrade_fails(project):
    """Name a table that no revision creates."""
    project.add("b2", 'op.execute("ALTER TABLE order_lines ADD COLUMN x int")', 'op.execute("SELECT 1")')


def upgrade_fails_on_rows(project):
    """Add a NOT NULL column without a default, which no existing row can satisfy."""
    project.add(
        "b2",
        'op.add_column("orders", sa.Column("paid", sa.Boolean, nullable=False))',
        'op.drop_column("orders", "paid")',
        extra=LOCKS,
    )


def unique_over_duplicates(project):
    """Add a plain unique constraint to a table that holds duplicates."""
    project.add("b2", PLAIN, PLAIN_BACK, extra=LOCKS)


def rows_lost(project):
    """Delete duplicates for good, without restoring them in the downgrade."""
    copies = "DELETE FROM orders a USING orders b WHERE (a.customer, a.no) = (b.customer, b.no) AND a.id > b.id"
    project.add("b2", f'op.execute("{copies}")\n{PLAIN}', PLAIN_BACK, extra=LOCKS)


def uniqueness_not_proven(project):
    """Leave the constraint out if there are duplicates, and succeed anyway."""
    look = "SELECT 1 FROM orders GROUP BY customer, no HAVING count(*) > 1"
    project.add(
        "b2",
        f'if op.get_bind().execute(sa.text("{look}")).first() is None:\n    {PLAIN}',
        'op.execute("ALTER TABLE orders DROP CONSTRAINT IF EXISTS once")',
        extra=LOCKS,
    )


def downgrade_fails_on_rows(project):
    """Turn numbers into text that can no longer be converted back."""
    project.add(
        "b2",
        """op.execute("ALTER TABLE orders ALTER no TYPE text USING 'no ' || no")""",
        'op.execute("ALTER TABLE orders ALTER no TYPE int USING no::int")',
        extra=LOCKS,
    )


def not_seeded(project):
    """Require values that the check cannot generate."""
    project.add(
        "b2",
        r"""op.execute(r"ALTER TABLE orders ADD CHECK (note IS NOT NULL AND note ~ '^(\d+)-\1$')")""",
        'op.execute("ALTER TABLE orders DROP CONSTRAINT orders_note_check")',
        extra=f"{LOCKS}, upgrade-fails-on-rows",
    )
    project.add("c3", PLAIN, PLAIN_BACK, extra=LOCKS)


def invalid_index_left(project):
    """Continue when the concurrent build fails."""
    project.add(
        "b2",
        """
        with op.get_context().autocommit_block():
            try:
                op.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON orders (customer, no)")
            except sa.exc.IntegrityError:
                pass
        """,
        """
        with op.get_context().autocommit_block():
            op.execute("DROP INDEX CONCURRENTLY once")
        """,
    )


def lock_during_work(project):
    """Build an index while writes are blocked."""
    project.add("b2", 'op.create_index("by_customer", "orders", ["customer"])', 'op.drop_index("by_customer")')


def unique_missing_in_database(project):
    """Declare a constraint in the models that no revision creates."""
    project.env(
        models="""
import sqlalchemy as sa
metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("customer", sa.Integer),
         sa.Column("no", sa.Integer), sa.Column("note", sa.Text), sa.UniqueConstraint("customer", "no", name="once"))
"""
    )


def no_arbiter(project):
    """Write with a conflict target that no unique index has."""
    source = project.directory / "src"
    source.mkdir()
    (source / "writer.py").write_text(
        'SQL = "INSERT INTO orders (customer, no) VALUES (1, 2) ON CONFLICT (no) DO NOTHING"\n'
    )


def insert_may_raise(project):
    """Make a key unique that the code inserts without expecting a conflict."""
    project.add(
        "b2",
        f"""
        op.execute(
            "CREATE TABLE kept AS SELECT o.* FROM orders o WHERE EXISTS ("
            " SELECT FROM orders x WHERE (x.customer, x.no) = (o.customer, o.no) AND x.id < o.id);"
            "DELETE FROM orders WHERE id IN (SELECT id FROM kept)"
        )
        {PLAIN}
        """,
        f'{PLAIN_BACK}\nop.execute("INSERT INTO orders TABLE kept; DROP TABLE kept")',
        extra=LOCKS,
    )
    source = project.directory / "src"
    source.mkdir()
    (source / "writer.sql").write_text("INSERT INTO orders (customer, no) VALUES (1, 2);\n")


BAD = {
    made.__name__.replace("_", "-"): (made, revision)
    for made, revision in (
        (several_heads, "b2"),
        (no_way_back, "b2"),
        (downgrade_fails, "b2"),
        (downgrade_differs, "b2"),
        (second_upgrade_fails, "b2"),
        (upgrade_fails, "b2"),
        (upgrade_fails_on_rows, "b2"),
        (unique_over_duplicates, "b2"),
        (rows_lost, "b2"),
        (uniqueness_not_proven, "b2"),
        (downgrade_fails_on_rows, "b2"),
        (not_seeded, "c3"),
        (invalid_index_left, "b2"),
        (lock_during_work, "b2"),
        (unique_missing_in_database, None),
        (no_arbiter, None),
        (insert_may_raise, "b2"),
    )
}


@pytest.mark.parametrize("finding", BAD)
@pytest.mark.representatives("several-heads", "downgrade-differs", "unique-over-duplicates", "rows-lost", "not-seeded")
def test_each_bad_project_has_exactly_its_finding(orders, failing, finding):
    """A project with one mistake fails with exactly the finding about it, at its revision."""
    make, revision = BAD[finding]
    make(orders)
    source = orders.directory / "src"
    report = orders.check(writers=[source] if source.exists() else [])
    assert [(finding, revision)] == failing(report), report


@pytest.mark.parametrize("finding", BAD)
def test_each_finding_is_one_of_the_catalogue(finding):
    """The bad projects are named after findings that exist and fail a check."""
    assert CHECK[finding].severity != "info"


def test_a_plain_unique_constraint_fails_with_the_count_h186(orders):
    """The finding counts the duplicates, points to the line that adds the constraint, and advises what to write."""
    unique_over_duplicates(orders)
    report = orders.check(rows=500)
    [result] = [candidate for candidate in report.failing if candidate.finding.id == "unique-over-duplicates"]
    [filled] = report.filled
    counts = re.search(r"(\d+) extras in (\d+) rows, key \(customer, no\)", result.finding.message)

    assert counts is not None, result.finding.message
    assert filled.exact + filled.divergent == int(counts[1]) > 0
    assert filled.rows == int(counts[2]) >= 500
    assert 'op.archive_duplicates("orders", ["customer", "no"])' in result.finding.help
    line = (orders.directory / str(result.place.file)).read_text().splitlines()[int(result.place.line or 0) - 1]
    assert "create_unique_constraint" in line
