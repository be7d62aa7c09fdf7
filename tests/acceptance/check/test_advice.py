"""What the check advises to write instead of a stopped revision, and when it advises nothing."""

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
    """Return message and help of each revision that duplicates stop."""
    return [
        (result.finding.message, result.finding.help)
        for result in report.failing
        if result.finding.id == "unique-over-duplicates"
    ]


def followed(orders, help_):
    """Replace the revision by what the advice says, with divergent duplicates archived, and return a second report."""
    up, down = re.fullmatch(r".* Write: (.*); in downgrade\(\): (.*)", help_).groups()
    up = up.replace("); ", ', divergent="archive"); ', 1)
    orders.add("b2", up.replace("; ", "\n"), down.replace("; ", "\n"), after="a1")
    return orders.check()


@pytest.mark.parametrize("table", ["ev", "ev1"])
@pytest.mark.representatives("ev1")
def test_a_partitioned_table_is_reported_once(project, failing, table):
    """The table is filled and reported without its partitions; directives are not advised for a partition alone."""
    project.add("a1", *EV)
    project.add(
        "b2",
        f'op.execute("ALTER TABLE {table} ADD CONSTRAINT once UNIQUE (at, k)")',
        f'op.execute("ALTER TABLE {table} DROP CONSTRAINT once")',
        extra=LOCKS,
    )
    report = project.check()
    assert [("unique-over-duplicates", "b2")] == failing(report), report
    [(message, help_)] = stopped(report)
    assert f"Duplicates in public.{table} stop this revision" in message
    assert (table == "ev") == ('op.archive_duplicates("ev", ["at", "k"])' in help_)
    assert (table == "ev") == ("archive_duplicates" in help_)


@pytest.mark.parametrize(
    ("clause", "advised"),
    [
        ("", ""),
        (" DEFERRABLE", ", deferrable=True"),
        (" DEFERRABLE INITIALLY DEFERRED", ', deferrable=True, initially="DEFERRED"'),
    ],
    ids=["plain", "deferrable", "deferred"],
)
@pytest.mark.parametrize("passes", [False, True], ids=["read", "followed"])
@pytest.mark.representatives("read-deferred")
def test_the_advice_is_as_deferrable_as_the_constraint(orders, failing, passes, clause, advised):
    """The advised directive is as deferrable as the constraint, and a revision that follows the advice passes."""
    orders.add(
        "b2",
        f'op.execute("ALTER TABLE orders ADD CONSTRAINT once UNIQUE (customer, no){clause}")',
        'op.execute("ALTER TABLE orders DROP CONSTRAINT once")',
        extra=LOCKS,
    )
    [(_message, help_)] = stopped(orders.check())
    build = f'op.create_unique_constraint_online("once", "orders", ["customer", "no"]{advised}); '
    assert build in help_
    if passes:
        report = followed(orders, help_)
        assert [] == failing(report), report


@pytest.mark.parametrize("clause", ["", " INCLUDE (note)"])
@pytest.mark.parametrize("passes", [False, True], ids=["read", "followed"])
@pytest.mark.representatives("read- INCLUDE (note)")
def test_the_advice_for_an_index_is_an_index(orders, failing, passes, clause):
    """What the models declare as an index stays one, so that alembic check finds no difference after the advice."""
    columns = "" if not clause else ', postgresql_include=["note"]'
    orders.env(
        models=f"""
import sqlalchemy as sa
metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.BigInteger, primary_key=True),
         sa.Column("customer", sa.Integer, nullable=False), sa.Column("no", sa.Integer, nullable=False),
         sa.Column("note", sa.Text), sa.Index("once", "customer", "no", unique=True{columns}))
"""
    )
    orders.add(
        "b2",
        f'op.create_index("once", "orders", ["customer", "no"], unique=True{columns})',
        'op.drop_index("once")',
        extra=LOCKS,
    )
    [(_message, help_)] = stopped(orders.check())
    include = "" if not clause else ', include=["note"]'
    assert f'op.create_unique_index_online("once", "orders", ["customer", "no"]{include}); ' in help_
    if not passes:
        return
    report = followed(orders, help_)
    assert [] == failing(report), report
    assert [1] == [rule.looked_at for rule in report.rules if rule.rule == "models"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("index", "advised"),
    [
        ("(customer, no) WHERE id > 0", '["customer", "no"], where="id > 0"'),
        ("((customer + 1), no)", '[sa.text("(customer + 1)"), "no"]'),
        ("(abs(customer), no) WHERE (note IS NULL OR note <> 'a:b')", '[sa.text("abs(customer)"), "no"], where='),
    ],
    ids=["part", "expression", "both"],
)
def test_the_advice_for_an_expression_or_a_part_of_the_table(orders, failing, index, advised):
    """The advised directives have the expressions and the predicate, and a revision that follows the advice passes."""
    orders.add("b2", f'op.execute("CREATE UNIQUE INDEX once ON orders {index}")', 'op.drop_index("once")', extra=LOCKS)
    [(_message, help_)] = stopped(orders.check())
    assert f'op.archive_duplicates("orders", {advised}' in help_
    assert f'op.create_unique_index_online("once", "orders", {advised}' in help_
    report = followed(orders, help_)
    assert [] == failing(report), report


@pytest.mark.thorough
def test_models_with_an_index_over_an_expression_for_a_part_of_the_table(orders, failing):
    """The rule about models recognises an index that a directive creates over an expression, and a lost predicate."""
    models = """
import sqlalchemy as sa
metadata = sa.MetaData()
orders = sa.Table("orders", metadata, sa.Column("id", sa.BigInteger, primary_key=True),
                  sa.Column("customer", sa.Integer, nullable=False), sa.Column("no", sa.Integer, nullable=False),
                  sa.Column("note", sa.Text))
sa.Index("once", sa.func.abs(orders.c.customer), orders.c.no, unique=True{where})
"""
    key = """[sa.text("abs(customer)"), "no"], where="note IN ('a', 'b')")"""
    orders.add(
        "b2",
        f'op.archive_duplicates("orders", {key[:-1]}, divergent="archive")\n'
        f'op.create_unique_index_online("once", "orders", {key}',
        f'op.drop_unique_index_online("once", "orders")\nop.restore_duplicates("orders", {key}',
    )
    orders.env(models=models.format(where=', postgresql_where=orders.c.note.in_(["a", "b"])'))
    report = orders.check()
    assert [] == failing(report), report
    assert [1] == [rule.looked_at for rule in report.rules if rule.rule == "models"]
    orders.env(models=models.format(where=""))
    assert ["unique-differs"] == [id_ for id_, _ in failing(orders.check())]
