"""What a revision leaves behind that is not in the table which it works on."""

KEY = '["customer", "no"]'


def test_the_index_of_a_failed_concurrent_build_is_found(orders, failing):
    """Duplicates stop the build, which commits by itself, and the invalid index that it leaves is told besides."""
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
    [left] = [one.finding.message for one in report.failing if one.finding.id == "invalid-index-left"]
    assert "index once on public.orders" in left


def test_a_failure_that_is_rolled_back_leaves_no_index(orders, failing):
    """Within a transaction nothing of a failed build is left, and there is nothing to tell but the failure."""
    orders.add(
        "b2",
        f'op.create_index("once", "orders", {KEY}, unique=True)',
        'op.drop_index("once", "orders")',
        extra="# dupe-audit: accept lock-during-work",
    )
    assert [("unique-over-duplicates", "b2")] == failing(orders.check())
