"""SQLAlchemy models against a real catalog: what SQLAlchemy creates is equal, and each difference is reported."""

import dataclasses
import re
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import (
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)

from dupe_audit.checks.evidence import EmptyTrip, Evidence, Revision
from dupe_audit.checks.rules.models import check
from dupe_audit.errors import DupeAuditError
from dupe_audit.schema.facts import Catalog
from dupe_audit.schema.snapshot import snapshot

LONG = "a_name_of_more_than_sixty_three_bytes_that_postgresql_cuts_without_a_word"
CONVENTION = {"uq": "uq_%(table_name)s_%(column_0_N_name)s", "ix": "ix_%(column_0_N_label)s", "pk": "pk_%(table_name)s"}


def compared(final: Catalog, *metadata: MetaData, **evidence):
    blank = {"heads": (), "revisions": (), "empty_trips": (), "seeded_trips": ()}
    return list(check(Evidence(**(blank | evidence), final_schema=final, metadata=metadata)))


def ids_and_subjects(results):
    return [(result.finding.id, result.finding.message.rsplit(": ", 1)[-1].rstrip(".")) for result in results]


def t(*items, metadata=None, **options):
    """A table t with the columns id, a, b and s."""
    columns = (Column("id", Integer, primary_key=True), Column("a", Integer), Column("b", Integer), Column("s", Text))
    table = Table("t", metadata or MetaData(), *columns, *items, **options)
    return table.metadata


def test_what_sqlalchemy_creates_is_what_it_declares(conn, sql):
    """A database created from the models gives no finding, however the models declare uniqueness."""
    sql("CREATE SCHEMA apart")
    metadata = MetaData(naming_convention=CONVENTION)
    Table("u", metadata, Column("k", Text, unique=True), Column("i", Text, unique=True, index=True), Column("p", Text))
    Table("pk", metadata, Column("b", Integer), Column("a", Integer), PrimaryKeyConstraint("b", "a"))
    Table("t", metadata, Column("x", Integer, primary_key=True), schema="apart")
    Table("no_key", metadata, Column("x", Integer))
    table = Table(
        "Wide",
        metadata,
        *(Column(f"column_with_a_rather_long_name_{number}", Integer) for number in range(3)),
        Column("e-mail", Text),
        Column("gone", Integer),
        UniqueConstraint(*(f"column_with_a_rather_long_name_{number}" for number in range(3))),
        UniqueConstraint("gone", "e-mail", name="late", deferrable=True, initially="DEFERRED"),
        Index("low", func.lower(text('"e-mail"')), unique=True),
        Index("part", "gone", unique=True, postgresql_where=text("gone > 3")),
    )
    Index("desc", table.c.gone.desc().nulls_last(), table.c["e-mail"].collate("C"), unique=True)
    Index("half", func.lower(table.c["e-mail"]), "gone", unique=True, postgresql_where=table.c.gone.is_(None))
    Index("inc", "e-mail", unique=True, postgresql_include=["gone"], _table=table)
    Index("txt", text("gone DESC"), unique=True, _table=table)
    Index("plain", "gone", _table=table)
    metadata.create_all(conn)

    final = snapshot(conn)
    assert 12 == len([index for index in final.indexes if index.unique])
    assert [] == ids_and_subjects(compared(final, metadata))


@pytest.mark.min_pg(15)
def test_nulls_not_distinct_is_compared(conn, sql):
    """NULLS NOT DISTINCT is a difference only if one of the two lacks it."""
    both = t(UniqueConstraint("a", name="uq", postgresql_nulls_not_distinct=True))
    both.create_all(conn)
    assert [] == ids_and_subjects(compared(snapshot(conn), both))
    assert [("unique-differs", "it is NULLS NOT DISTINCT, but NULLS DISTINCT in the models")] == ids_and_subjects(
        compared(snapshot(conn), t(UniqueConstraint("a", name="uq")))
    )


UQ = UniqueConstraint
DIFFERENT = [
    (
        "ADD CONSTRAINT uq UNIQUE (b, a)",
        lambda: UQ("a", "b", name="uq"),
        "the models have its columns in another order (a, b)",
    ),
    (
        "ADD CONSTRAINT uq UNIQUE (a) DEFERRABLE",
        lambda: UQ("a", name="uq"),
        "it is DEFERRABLE, but NOT DEFERRABLE in the models",
    ),
    (
        "ADD CONSTRAINT uq UNIQUE (a)",
        lambda: UQ("a", name="uq", initially="deferred"),
        "it is NOT DEFERRABLE, but DEFERRABLE INITIALLY DEFERRED in the models",
    ),
    (
        "ADD CONSTRAINT uq UNIQUE (a) INCLUDE (s, b)",
        lambda: UQ("a", name="uq"),
        "INCLUDE is b, s, but empty in the models",
    ),
    (
        "ADD CONSTRAINT uq UNIQUE (a)",
        lambda: Index("uq", "a", unique=True),
        "in the models it is an index without a constraint",
    ),
    ("ADD CONSTRAINT uq UNIQUE (a)", lambda: UQ("a", name="other"), "in the models its name is other"),
    ("ADD CONSTRAINT uq UNIQUE (a)", lambda: UQ("b", name="uq"), "the models have constraint uq (b)"),
]


@pytest.mark.parametrize(("ddl", "declare", "difference"), DIFFERENT, ids=[difference for *_, difference in DIFFERENT])
def test_each_difference_is_reported(conn, sql, ddl, declare, difference):
    """A key that differs between the two is one finding that says how."""
    sql(f"CREATE TABLE t (id int PRIMARY KEY, a int, b int, s text); ALTER TABLE t {ddl}")
    assert [("unique-differs", difference)] == ids_and_subjects(compared(snapshot(conn), t(declare())))


PREDICATES = [
    ("WHERE b IS NULL", text("b IS NOT NULL"), True),
    ("WHERE b IS NULL", text("t.b is null"), False),
    ("WHERE b > 3", None, True),
    ("", text("b > 3"), True),
    ("WHERE b > 3 AND s <> 'x'", text("s != 'x' and b > 3"), False),
]


def test_predicates_are_compared_leniently(conn, sql):
    """A predicate that only one of the two has is a difference, and the same predicate in other words is not."""
    sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int, s text)")
    for where, declared, differs in PREDICATES:
        sql(f"CREATE UNIQUE INDEX uq ON t (a) {where}")
        results = compared(snapshot(conn), t(Index("uq", "a", unique=True, postgresql_where=declared)))
        assert (["unique-differs"] if differs else []) == [result.finding.id for result in results], (
            where,
            str(declared),
        )
        sql("DROP INDEX uq")
    sql("CREATE UNIQUE INDEX uq ON t (a) WHERE s IS NOT NULL AND s <> ''")
    metadata = t(Index("uq", "a", unique=True))
    (index,) = metadata.tables["t"].indexes
    index.dialect_options["postgresql"]["where"] = metadata.tables["t"].c.b > 3
    assert ["unique-differs"] == [result.finding.id for result in compared(snapshot(conn), metadata)]


def test_an_invalid_index_is_reported_and_alembic_does_not_see_it(conn, sql):
    """An INVALID index, DEFERRABLE, INCLUDE and column order are reported; Alembic's comparison sees none of them."""
    sql("CREATE TABLE t (id serial PRIMARY KEY, a int, b int, s text); INSERT INTO t (a) VALUES (1), (1)")
    sql("ALTER TABLE t ADD CONSTRAINT late UNIQUE (b) DEFERRABLE, ADD CONSTRAINT inc UNIQUE (s) INCLUDE (a)")
    sql("ALTER TABLE t ADD CONSTRAINT ord UNIQUE (b, s)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        sql("CREATE UNIQUE INDEX CONCURRENTLY spoilt ON t (a)")
    metadata = t(Index("spoilt", "a", unique=True), UQ("b", name="late"), UQ("s", name="inc"), UQ("s", "b", name="ord"))

    results = compared(snapshot(conn), metadata)
    assert (
        "The uniqueness of public.t differs between the database and the models: "
        "index spoilt (a): its index is INVALID."
    ) in [result.finding.message for result in results]
    assert ["unique-differs"] * 4 == [result.finding.id for result in results]
    alembic_names = {
        str(difference[1].name) for difference in compare_metadata(MigrationContext.configure(conn), metadata)
    }
    assert set() == alembic_names & {"spoilt", "late", "inc", "ord"}


def test_a_key_that_only_one_side_has_is_reported(conn, sql):
    """A key that only the database has is a warning, and a key that only the models have is an error."""
    sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int, s text); CREATE UNIQUE INDEX low ON t (lower(s), a)")
    sql("CREATE TABLE unknown (a int UNIQUE); CREATE TABLE alembic_version (version_num text PRIMARY KEY)")
    metadata = t(UQ("a", "b", name="uq_ab"), Index("exp", func.upper(text("s")), "b", unique=True), UQ("id"))
    Table("alembic_version", metadata, Column("x", Text))
    Table("not_made", metadata, Column("x", Text, unique=True))
    results = compared(snapshot(conn), metadata)
    assert [
        ("error", "constraint uq_ab (a, b)"),
        ("error", "index exp (an expression, b)"),
        ("warning", "index low (lower(s), a)"),
    ] == sorted((result.finding.severity, ids_and_subjects([result])[0][1]) for result in results)
    assert [] == ids_and_subjects(compared(snapshot(conn)))


def test_the_key_of_a_table_is_compared(conn, sql):
    """A primary key with another column order is a difference, and a missing one in the database is an error."""
    sql("CREATE TABLE k (a int, b int, PRIMARY KEY (a, b)); CREATE TABLE n (a int)")
    metadata = MetaData()
    Table("k", metadata, Column("a", Integer), Column("b", Integer), PrimaryKeyConstraint("b", "a"))
    Table("n", metadata, Column("a", Integer, primary_key=True))
    assert [
        ("unique-differs", "the models have its columns in another order (b, a)"),
        ("unique-missing-in-database", "primary key without a name (a)"),
    ] == ids_and_subjects(compared(snapshot(conn), metadata))


def test_the_name_of_a_primary_key_is_not_compared(conn, sql):
    """A naming convention that is newer than the table makes no difference for its primary key."""
    sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int, s text, CONSTRAINT uq_t_a UNIQUE (a))")
    assert [] == ids_and_subjects(compared(snapshot(conn), t(UQ("a"), metadata=MetaData(naming_convention=CONVENTION))))


def test_a_long_name_is_the_name_that_postgresql_keeps(conn, sql):
    """A name that PostgreSQL truncated to 63 bytes is the same name."""
    sql(f"CREATE TABLE t (id int PRIMARY KEY, a int, b int, s text, CONSTRAINT {LONG} UNIQUE (a))")
    assert [] == ids_and_subjects(compared(snapshot(conn), t(UQ("a", name=LONG))))


def test_two_metadata_may_describe_one_table(conn, sql):
    """A key is declared if one of several MetaData declares it."""
    sql("CREATE TABLE t (id int PRIMARY KEY, a int UNIQUE, b int UNIQUE, s text)")
    assert [] == ids_and_subjects(compared(snapshot(conn), t(UQ("a")), t(UQ("b"))))


def test_a_conditional_constraint_is_not_missed(conn, sql):
    """A constraint declared only for another dialect is not expected here."""
    sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int, s text)")
    assert [] == ids_and_subjects(compared(snapshot(conn), t(UQ("a").ddl_if(dialect="sqlite"))))


def only_here(conn):
    """Create a table and a model that each have keys which the other lacks; return the model."""
    conn.exec_driver_sql(
        "CREATE SCHEMA apart; CREATE TABLE apart.t (id int PRIMARY KEY, a int, b int, s text, "
        "CONSTRAINT in_the_database UNIQUE (a), CONSTRAINT of_both UNIQUE (a, b)); "
        "CREATE UNIQUE INDEX low ON apart.t (lower(s)) WHERE b > 0"
    )
    return t(UQ("b", name="in_the_models"), Index("up", "s", unique=True), UQ("b", "a", name="of_both"), schema="apart")


def test_the_filters_of_env_py_are_called_as_alembic_calls_them(conn, sql):
    """include_name and include_object get the same arguments as from autogenerate, with equal objects."""
    alembic_calls, our_calls = [], []

    def recording(calls):
        def include_object(item, name, type_, reflected, compare_to):
            table = item if type_ == "table" else item.table
            columns = sorted(map(str, item.columns.keys())) if type_.startswith(("unique", "index")) else None
            calls.append((type_, name, table.name, table.schema, columns, reflected, compare_to is None))
            return True

        def include_name(name, type_, parents):
            calls.append((type_, name, *sorted(parents.items())))
            return True

        return {"include_object": include_object, "include_name": include_name}

    metadata = only_here(conn)
    compare_metadata(
        MigrationContext.configure(conn, opts={**recording(alembic_calls), "include_schemas": True}), metadata
    )
    results = compared(snapshot(conn), metadata, **recording(our_calls))

    assert 5 == len(results)
    # Alembic does not see another order of columns, so it does not call the filters for it.
    assert {"of_both"} == {call[1] for call in our_calls if call not in alembic_calls}
    assert {"of_both", "in_the_database", "in_the_models", "low", "t", "up"} == {call[1] for call in our_calls}


@pytest.mark.parametrize("by", ["include_object", "include_name"])
@pytest.mark.parametrize(
    ("excluded", "remaining"),
    [
        (("table", "t"), {}),
        (("unique_constraint", "in_the_database"), {"of_both", "in_the_models", "low", "up"}),
        (("unique_constraint", "of_both"), {"in_the_database", "in_the_models", "low", "up"}),
        (("unique_constraint", "in_the_models"), {"of_both", "in_the_database", "low", "up"}),
        (("index", "low"), {"of_both", "in_the_database", "in_the_models", "up"}),
        (("index", "up"), {"of_both", "in_the_database", "in_the_models", "low"}),
    ],
)
@pytest.mark.representatives(
    "excluded0-remaining0-include_object", "excluded3-remaining3-include_name", "excluded5-remaining5-include_object"
)
def test_what_env_py_leaves_out_is_not_compared(conn, sql, by, excluded, remaining):
    """An excluded table, constraint or index gives no finding; include_name is not called for the models' own keys."""

    def include_object(_item, name, type_, _reflected, _compare_to):
        return (type_, name) != excluded

    def include_name(name, type_, _parents):
        return (type_, name) != excluded

    metadata = only_here(conn)
    results = compared(snapshot(conn), metadata, **{by: {"o": include_object, "n": include_name}[by[8]]})
    names = {re.search(r"(?:constraint|index) (\w+)", result.finding.message)[1] for result in results}
    assert set(remaining) | ({excluded[1]} & {"in_the_models", "up"} if by == "include_name" else set()) == names


def test_a_filter_that_raises_is_named(conn, sql):
    """An error in the project's own filter is reported with what to do."""
    metadata = only_here(conn)
    with pytest.raises(DupeAuditError, match=r"include_object .* raised KeyError: 'no'. Fix it"):
        compared(snapshot(conn), metadata, include_object=lambda *_all: {}["no"])


def test_a_table_without_a_schema_is_in_public(conn, sql):
    """A model without a schema means the table in public, or the only table of that name."""
    sql("CREATE SCHEMA a; CREATE TABLE a.t (id int PRIMARY KEY, a int UNIQUE)")
    assert ["unique-missing-in-models"] == [result.finding.id for result in compared(snapshot(conn), t())]
    sql("CREATE TABLE t (id int PRIMARY KEY)")
    assert [] == ids_and_subjects(compared(snapshot(conn), t()))


def test_the_place_is_the_revision_that_created_the_index(conn, sql):
    """The place is the upgrade() that created the index, and nowhere if no checked revision did."""
    sql("CREATE TABLE t (id int PRIMARY KEY, a int, b int UNIQUE, s text)")
    before = snapshot(conn)
    sql("ALTER TABLE t ADD CONSTRAINT uq UNIQUE (a)")
    after = snapshot(conn)
    revision = Revision(
        id="2",
        parents=(),
        path=Path("2.py"),
        file="versions/2.py",
        upgrade_line=7,
        downgrade_line=9,
        empty_upgrade=False,
        empty_downgrade=False,
        refuses_downgrade=False,
        accepts=frozenset(),
    )
    steps = (EmptyTrip(revision=revision, before=before, after=after),)
    steps += (EmptyTrip(revision=dataclasses.replace(revision, id="3"), before=after, after=after),)
    results = compared(after, t(), empty_trips=steps)
    assert {("uq", "versions/2.py", 7), ("t_b_key", None, None)} == {
        (ids_and_subjects([result])[0][1].split()[1], result.place.file, result.place.line) for result in results
    }
