"""The check on revisions that change rows which stay in the table: what the downgrade leaves is compared row by row."""

import pytest

UP = {
    "amend": """op.amend_duplicates("orders", ["customer", "no"], {"no": sa.text("-orders.id")})""",
    "mixed": """op.archive_duplicates("orders", ["customer", "no"], divergent="amend",
                      set_={"no": sa.text("-orders.id")})""",
    "merge": """op.archive_duplicates("orders", ["customer", "no"],
                      merge={"note": sa.text("string_agg(note, ', ' ORDER BY id)")})""",
}
ENFORCE = """op.create_unique_constraint_online("once", "orders", ["customer", "no"])"""
DROP = """op.drop_unique_constraint_online("once", "orders")"""
RESTORE = """op.restore_duplicates("orders", ["customer", "no"])"""


@pytest.mark.parametrize("outcome", UP)
def test_changed_rows_are_as_before_after_the_downgrade(orders, failing, outcome):
    """A revision that amends or merges the generated duplicates passes up, down and up."""
    orders.add("b2", f"{UP[outcome]}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    report = orders.check()
    [filled] = report.filled
    assert [] == failing(report), report
    assert filled.exact + filled.divergent > 0


@pytest.mark.parametrize("outcome", ["amend", "merge"])
@pytest.mark.representatives("merge")
def test_changed_rows_that_the_downgrade_leaves_fail_the_check(orders, failing, outcome):
    """Rows that are changed by hand, and not changed back by the downgrade, are found."""
    spoil = "op.execute(\"UPDATE orders SET note = 'spoilt' WHERE id = (SELECT min(id) FROM orders)\")"
    orders.add("b2", f"{UP[outcome]}\n{ENFORCE}", f"{DROP}\n{RESTORE}\n{spoil}")
    assert ("rows-lost", "b2") in failing(orders.check())
