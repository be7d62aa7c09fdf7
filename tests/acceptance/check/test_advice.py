"""What a stopped revision is advised to write instead, and where there is nothing to advise."""

import re

import pytest

EV = (
    """
    op.execute(
        "CREATE TABLE ev (at int NOT NULL, k int NOT NULL) PARTITION BY RANGE (at);"
        "CREATE TABLE ev1 PARTITION OF ev FOR VALUES FROM (0) TO (1000000);"
        "CREATE TABLE ev2 PARTITION OF ev DEFAULT"
    )
    """,
    'op.execute("DROP TABLE ev")',
)
LOCKS = "# dupe-audit: accept lock-during-work"


def stopped(report):
    """Return the messages and the helps of what duplicates stop."""
    return [
        (one.finding.message, one.finding.help) for one in report.failing if one.finding.id == "unique-over-duplicates"
    ]


@pytest.mark.parametrize("table", ["ev", "ev1"])
def test_a_partitioned_table_is_told_once_and_without_directives(project, failing, table):
    """The whole is filled and told, not its partitions besides; the directives would refuse it, or a partition."""
    project.add("a1", *EV)
    project.add(
        "b2",
        f'op.execute("ALTER TABLE {table} ADD CONSTRAINT once UNIQUE (at, k)")',
        f'op.execute("ALTER TABLE {table} DROP CONSTRAINT once")',
        extra=LOCKS,
    )
    report = project.check()
    assert [("unique-over-duplicates", "b2")] == failing(report), report
    [(message, told)] = stopped(report)
    assert f"Duplicates in public.{table} stop this revision" in message
    assert "archive_duplicates" not in told


@pytest.mark.parametrize(
    ("said", "advised"),
    [
        ("", ""),
        (" DEFERRABLE", ", deferrable=True"),
        (" DEFERRABLE INITIALLY DEFERRED", ', deferrable=True, initially="DEFERRED"'),
    ],
    ids=["plain", "deferrable", "deferred"],
)
def test_the_advice_is_as_deferrable_as_the_constraint(orders, failing, said, advised):
    """The directive that builds gets what the constraint says of deferring, and the revision written so is good."""
    orders.add(
        "b2",
        f'op.execute("ALTER TABLE orders ADD CONSTRAINT once UNIQUE (customer, no){said}")',
        'op.execute("ALTER TABLE orders DROP CONSTRAINT once")',
        extra=LOCKS,
    )
    [(_message, told)] = stopped(orders.check())
    build = f'op.create_unique_constraint_online("once", "orders", ["customer", "no"]{advised}); '
    assert build in told

    up, down = re.fullmatch(r".* Write: (.*); in downgrade\(\): (.*)", told).groups()
    up = up.replace('"no"]);', '"no"], divergent="archive");', 1)
    orders.add("b2", up.replace("; ", "\n"), down.replace("; ", "\n"), after="a1")
    report = orders.check()
    assert [] == failing(report), report
