"""What a revision leaves behind outside the rows of its table."""

import pytest

KEY = '["customer", "no"]'


def test_the_index_of_a_failed_concurrent_build_is_found(orders, failing):
    """Duplicates stop the build, which commits by itself, and the invalid index that it leaves is reported too."""
    orders.add(
        "b2",
        f"""
        with op.get_context().autocommit_block():
            op.create_index("once", "orders", {KEY}, unique=True, postgresql_concurrently=True)
        """,
        'op.drop_index("once", "orders")',
    )
    report = orders.check()
    assert [("invalid-index-left", "b2"), ("unique-over-duplicates", "b2")] == sorted(failing(report))
    [messages] = [result.finding.message for result in report.failing if result.finding.id == "invalid-index-left"]
    assert "index once on public.orders" in messages


def test_a_failure_that_is_rolled_back_leaves_no_index(orders, failing):
    """A failed build in a transaction leaves nothing behind, so only the failure is reported."""
    orders.add(
        "b2",
        f'op.create_index("once", "orders", {KEY}, unique=True)',
        'op.drop_index("once", "orders")',
        extra="# dupe-audit: accept lock-during-work",
    )
    assert [("unique-over-duplicates", "b2")] == failing(orders.check())


AUDIT = """
op.execute(
    "CREATE TABLE audit (what text);"
    "CREATE FUNCTION audited() RETURNS trigger LANGUAGE plpgsql AS $$"
    " BEGIN INSERT INTO audit VALUES (TG_OP); RETURN NULL; END $$;"
    "CREATE TRIGGER audited AFTER INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION audited()"
)
"""


MOVED = {
    "by SQL": (
        f"""
op.execute(
    "CREATE TABLE kept AS SELECT o.* FROM orders o WHERE EXISTS ("
    " SELECT FROM orders x WHERE (x.customer, x.no) = (o.customer, o.no) AND x.id < o.id);"
    "DELETE FROM orders WHERE id IN (SELECT id FROM kept)"
)
op.create_unique_constraint("once", "orders", {KEY})
""",
        """
op.drop_constraint("once", "orders")
op.execute("INSERT INTO orders TABLE kept; DROP TABLE kept")
""",
    ),
    "by directives": (
        f"""
op.archive_duplicates("orders", {KEY}, divergent="archive")
op.create_unique_constraint_online("once", "orders", {KEY})
""",
        f'op.drop_unique_constraint_online("once", "orders")\nop.restore_duplicates("orders", {KEY})',
    ),
}


@pytest.mark.parametrize(("up", "down"), MOVED.values(), ids=MOVED)
@pytest.mark.representatives("by SQL")
def test_the_log_of_a_trigger_does_not_fail_the_check(orders, failing, up, down):
    """Duplicates that are removed and restored leave entries in a log, which are reported and are not a loss."""
    orders.add("b2", AUDIT, 'op.execute("DROP TRIGGER audited ON orders; DROP TABLE audit; DROP FUNCTION audited")')
    orders.add("c3", up, down, extra="# dupe-audit: accept lock-during-work")
    report = orders.check(x=["dupe_audit.accept=delete-trigger"])
    [gained] = [result.finding for result in report.findings if result.finding.id == "rows-gained"]

    assert [] == failing(report), report
    assert "info" == gained.severity
    assert "public.audit has additional rows" in gained.message
    assert "after the round trip of public.orders" in gained.message
