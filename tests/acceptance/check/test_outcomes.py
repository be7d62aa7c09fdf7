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
@pytest.mark.representatives("merge")
def test_changed_rows_are_as_before_after_the_downgrade(orders, failing, outcome):
    """A revision that amends or merges the generated duplicates passes up, down and up."""
    orders.add("b2", f"{UP[outcome]}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    report = orders.check()
    [filled] = report.filled
    assert [] == failing(report), report
    assert filled.exact + filled.divergent > 0


@pytest.mark.parametrize("outcome", ["amend", "merge"])
@pytest.mark.thorough
def test_changed_rows_that_the_downgrade_leaves_fail_the_check(orders, failing, outcome):
    """Rows that are changed by hand, and not changed back by the downgrade, are found."""
    spoil = "op.execute(\"UPDATE orders SET note = 'spoilt' WHERE id = (SELECT min(id) FROM orders)\")"
    orders.add("b2", f"{UP[outcome]}\n{ENFORCE}", f"{DROP}\n{RESTORE}\n{spoil}")
    assert ("rows-lost", "b2") in failing(orders.check())


@pytest.mark.thorough
@pytest.mark.parametrize("accepted", [False, True])
def test_trigger_that_a_comment_accepts(orders, failing, accepted):
    """A comment in the revision accepts a trigger for the upgrade that the check runs."""
    trigger = (
        'op.execute("CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$")\n'
        'op.execute("CREATE TRIGGER noted BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION note()")'
    )
    orders.add("b2", trigger, 'op.execute("DROP FUNCTION note() CASCADE")')
    comment = "# dupe-audit: accept update-trigger\n" if accepted else ""
    orders.add("b3", f"{comment}{UP['amend']}\n{ENFORCE}", f"{DROP}\n{RESTORE}")
    assert ([] == failing(orders.check())) is accepted


@pytest.mark.thorough
def test_amendment_that_the_downgrade_does_not_undo_fails_the_check(orders, failing):
    """Rows that are amended, and that the downgrade leaves so, are lost, as archived rows are."""
    orders.add("b2", f"{UP['amend']}\n{ENFORCE}", DROP)
    assert ("rows-lost", "b2") in failing(orders.check())
