"""Little projects that each have one thing wrong, and the check that says which."""

import re

import pytest

from dupe_audit.findings import CHECK

KEY = '["customer", "no"]'
PLAIN = f'op.create_unique_constraint("once", "orders", {KEY})'
PLAIN_BACK = 'op.drop_constraint("once", "orders")'
LOCKS = "# dupe-audit: accept lock-during-work"


def several_heads(project):
    """Make two revisions that follow the same one."""
    project.add("b2", "op.execute(\"COMMENT ON TABLE orders IS 'x'\")", 'op.execute("COMMENT ON TABLE orders IS NULL")')
    project.add("c3", 'op.execute("SELECT 1")', 'op.execute("SELECT 1")', after="a1")


def no_way_back(project):
    """Forget the downgrade."""
    project.add("b2", 'op.add_column("orders", sa.Column("paid", sa.Boolean))')


def downgrade_fails(project):
    """Drop in the downgrade what is not there."""
    project.add("b2", 'op.add_column("orders", sa.Column("paid", sa.Boolean))', 'op.drop_column("orders", "payed")')


def downgrade_differs(project):
    """Leave a default behind."""
    project.add("b2", 'op.alter_column("orders", "note", server_default="-")', 'op.execute("SELECT 1")')


def second_upgrade_fails(project):
    """Leave a type behind, which stands in the way of the next upgrade."""
    project.add(
        "b2",
        """op.execute("CREATE TYPE state AS ENUM ('new')")""",
        'op.execute("SELECT 1")',
        extra="# dupe-audit: accept downgrade-differs",
    )


def upgrade_fails(project):
    """Name a table that no revision made."""
    project.add("b2", 'op.execute("ALTER TABLE order_lines ADD COLUMN x int")', 'op.execute("SELECT 1")')


def upgrade_fails_on_rows(project):
    """Add a column that no row there is can have a value in."""
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
    """Delete duplicates for good, without a way back for them."""
    copies = "DELETE FROM orders a USING orders b WHERE (a.customer, a.no) = (b.customer, b.no) AND a.id > b.id"
    project.add("b2", f'op.execute("{copies}")\n{PLAIN}', PLAIN_BACK, extra=LOCKS)


def uniqueness_not_proven(project):
    """Leave the constraint out where there are duplicates, and call that success."""
    look = "SELECT 1 FROM orders GROUP BY customer, no HAVING count(*) > 1"
    project.add(
        "b2",
        f'if op.get_bind().execute(sa.text("{look}")).first() is None:\n    {PLAIN}',
        'op.execute("ALTER TABLE orders DROP CONSTRAINT IF EXISTS once")',
        extra=LOCKS,
    )


def downgrade_fails_on_rows(project):
    """Turn numbers into words that are no numbers any more."""
    project.add(
        "b2",
        """op.execute("ALTER TABLE orders ALTER no TYPE text USING 'no ' || no")""",
        'op.execute("ALTER TABLE orders ALTER no TYPE int USING no::int")',
        extra=LOCKS,
    )


def not_seeded(project):
    """Demand values that nobody can make up."""
    project.add(
        "b2",
        r"""op.execute(r"ALTER TABLE orders ADD CHECK (note IS NOT NULL AND note ~ '^(\d+)-\1$')")""",
        'op.execute("ALTER TABLE orders DROP CONSTRAINT orders_note_check")',
        extra=f"{LOCKS}, upgrade-fails-on-rows",
    )
    project.add("c3", PLAIN, PLAIN_BACK, extra=LOCKS)


def invalid_index_left(project):
    """Go on when the concurrent build fails."""
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
    """Build an index while nobody may write."""
    project.add("b2", 'op.create_index("by_customer", "orders", ["customer"])', 'op.drop_index("by_customer")')


def unique_missing_in_database(project):
    """Let the models promise what no revision makes."""
    project.env(
        models="""
import sqlalchemy as sa
metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("customer", sa.Integer),
         sa.Column("no", sa.Integer), sa.Column("note", sa.Text), sa.UniqueConstraint("customer", "no", name="once"))
"""
    )


def no_arbiter(project):
    """Write with a conflict target that nothing backs."""
    source = project.directory / "src"
    source.mkdir()
    (source / "writer.py").write_text(
        'SQL = "INSERT INTO orders (customer, no) VALUES (1, 2) ON CONFLICT (no) DO NOTHING"\n'
    )


def insert_may_raise(project):
    """Make a key unique that the code inserts without expecting that."""
    project.add(
        "b2",
        f'op.archive_duplicates("orders", {KEY}, divergent="archive")\n'
        f'op.create_unique_constraint_online("once", "orders", {KEY})',
        f'op.drop_unique_constraint_online("once", "orders")\nop.restore_duplicates("orders", {KEY})',
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
def test_each_bad_project_has_exactly_its_finding(orders, failing, finding):
    """A project with one thing wrong fails with the one finding that says it, at its revision."""
    make, revision = BAD[finding]
    make(orders)
    source = orders.directory / "src"
    report = orders.check(writers=[source] if source.exists() else [])
    assert [(finding, revision)] == failing(report), report


@pytest.mark.parametrize("finding", BAD)
def test_each_finding_is_one_of_the_catalogue(finding):
    """The bad projects are named after findings that exist and that fail a check."""
    assert CHECK[finding].severity != "info"


def test_a_plain_unique_constraint_fails_with_the_count_h186(orders):
    """Over duplicates it says how many rows are in the way, at the line that adds it, and what to write instead."""
    unique_over_duplicates(orders)
    report = orders.check(rows=500)
    [found] = [one for one in report.failing if one.finding.id == "unique-over-duplicates"]
    [filled] = report.filled
    told = re.search(r"(\d+) extras in (\d+) rows, key \(customer, no\)", found.finding.message)

    assert told is not None, found.finding.message
    assert filled.exact + filled.divergent == int(told[1]) > 0
    assert filled.rows == int(told[2]) >= 500
    assert 'op.archive_duplicates("orders", ["customer", "no"])' in found.finding.help
    line = (orders.directory / str(found.place.file)).read_text().splitlines()[int(found.place.line or 0) - 1]
    assert "create_unique_constraint" in line
