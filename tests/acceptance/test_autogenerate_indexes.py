"""``alembic revision --autogenerate`` for unique indexes: over columns, expressions and a part of the table."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Index, UniqueConstraint, func, text

from generated_project import Project, called, models, same

INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE indrelid = 'people'::regclass AND NOT indisprimary"
ADD, DROP = "create_unique_index_online", "drop_unique_index_online"
SCHEMA = """
CREATE TABLE people (id serial PRIMARY KEY, email text, town text, state text, gone timestamptz, data jsonb);
INSERT INTO people (email, state, gone)
VALUES ('A@x', 'new', NULL), ('a@X', 'new', NULL), ('a@x', 'old', now()), ('a@x', 'old', now())
"""


@pytest.fixture
def project(tmp_path, database_url, sql):
    """A project whose database has the models without any index, and rows that differ in the case of letters."""
    sql(SCHEMA)
    return Project(tmp_path, database_url)


def people(*indexes, **options):
    """Return models of the table with indexes, each a function of its columns."""
    more = sa.Column("state", sa.Text), sa.Column("gone", sa.DateTime(timezone=True)), sa.Column("data", sa.JSON)
    metadata = models(*more, **options)
    table = metadata.tables["people"]
    # JSONB, by whose name SQLAlchemy knows its operators.
    table.append_column(sa.Column("data", sa.dialects.postgresql.JSONB), replace_existing=True)
    for index in indexes:
        item = index(table.c)
        if isinstance(item, UniqueConstraint):
            table.append_constraint(item)
        elif item.table is None:  # it has no element but text
            item._set_parent(table)
    return metadata


def unique(name, *elements, **options):
    """Return a function that declares a unique index; an element can be a function of the columns."""

    def declare(columns):
        values = {key: value(columns) if callable(value) else value for key, value in options.items()}
        parts = [columns[part] if isinstance(part, str) else part(columns) for part in elements]
        return Index(name, *parts, unique=True, **values)

    return declare


def lower(columns):
    """Return the expression that ignores the case of letters."""
    return func.lower(columns.email)


def living(columns):
    """Return the predicate of rows that are not deleted."""
    return columns.gone.is_(None)


def rows(sql):
    """Return all rows as text."""
    return sql("SELECT p::text FROM people p ORDER BY id")


def walk(project, sql, *, names):
    """Upgrade, downgrade and upgrade; the indexes are those of *names*, and the rows return."""
    before, indexes = rows(sql), sorted(sql(INDEXES))
    for number in range(2):
        project.upgrade()
        assert project.clean()
        assert [(name,) for name in names] == sorted(sql(INDEXES))
        if not number:
            project.downgrade()
            assert before == rows(sql)
            assert indexes == sorted(sql(INDEXES))


def archive_divergent(project):
    """Let the newest revision archive groups whose rows differ."""
    path = next(Path(project.folder, "versions").glob(f"r{project.count}_*.py"))
    path.write_text(re.sub(r",?\s*\)(\n +op\.create_unique)", r', divergent="archive")\1', path.read_text(), count=1))


def test_expression_for_a_part_of_the_table(project, sql):
    """An expression index with a predicate becomes directives; the way back restores, and alembic check is clean."""
    up, down = project.generate(people(unique("ux", lower, postgresql_where=living)))
    assert (
        'op.archive_duplicates("people", [sa.text("lower(email)")], where="gone IS NULL")\n'
        'op.create_unique_index_online(\n    "ux",\n    "people",\n    [sa.text("lower(email)")],\n'
        '    where="gone IS NULL",\n)'
    ) == up
    assert (
        'op.drop_unique_index_online("ux", "people")\n'
        'op.restore_duplicates("people", [sa.text("lower(email)")], where="gone IS NULL")'
    ) == down
    archive_divergent(project)
    walk(project, sql, names=["ux"])
    assert [(3,)] == sql("SELECT count(*) FROM people")


def test_plain_unique_index(project, sql):
    """A unique index over columns stays an index, with its INCLUDE columns."""
    sql("DELETE FROM people WHERE id > 3")
    up, down = project.generate(people(unique("ux", "email", "town", postgresql_include=["state"])))
    assert same(
        'op.archive_duplicates("people", ["email", "town"])\n'
        'op.create_unique_index_online("ux", "people", ["email", "town"], include=["state"])'
    ) == same(up)
    assert [DROP, "restore_duplicates"] == called(down)
    walk(project, sql, names=["ux"])


@pytest.mark.thorough
def test_index_of_a_unique_column(project, sql):
    """unique=True with index=True is an index, whose name is marked as final."""
    metadata = people()
    metadata.tables["people"].append_column(sa.Column("town", sa.Text, unique=True, index=True), replace_existing=True)
    up, down = project.generate(metadata)
    assert (
        'op.archive_duplicates("people", ["town"])\n'
        'op.create_unique_index_online(op.f("ix_people_town"), "people", ["town"])'
    ) == up
    assert 'op.drop_unique_index_online(op.f("ix_people_town"), "people")' == down.splitlines()[0]
    walk(project, sql, names=["ix_people_town"])


@pytest.mark.parametrize(
    "index",
    [
        unique("ux", lower, postgresql_where=lambda c: c.state.in_(["a:b", "o'new"])),
        unique("ux", lambda c: func.coalesce(c.email, "a:none"), "town", postgresql_where=text("state <> 'old'")),
        unique("ux", lambda c: c.data["key"].astext, "id", postgresql_where=lambda c: c.email.isnot(None) & (c.id > 7)),
        unique("ux", lambda _: text("(email || '%' || town)"), "id", postgresql_where=lambda c: c.state.like("n%")),
        unique("ux", lambda c: sa.cast(c.email, sa.String(20)), "id", postgresql_where=lambda c: c.id.between(1, 9)),
        unique("ux", lambda c: sa.case((c.gone.is_(None), c.email)), "id"),
        unique("ux", lambda _: sa.literal_column("lower(email)"), "id"),
        unique("ux", lambda c: sa.asc(c.email), lambda _: text(r"(state = 'x\:y')"), "id"),
    ],
    ids=["in", "coalesce", "json", "percent", "cast", "case", "literal column", "order and colon"],
)
@pytest.mark.representatives("order and colon")
def test_what_the_catalog_prints_in_other_words(project, sql, index, caplog):
    """However the catalog prints an expression or a predicate, nothing differs after the upgrade, up, down and up."""
    up, _ = project.generate(people(index))
    assert ["archive_duplicates", ADD] == called(up)[:1] + called(up)[-1:], up
    walk(project, sql, names=["ux"])
    assert "Detected removed index" not in caplog.text


PARTIAL = {"postgresql_where": living}


@pytest.mark.parametrize(
    ("element", "old", "name", "new"),
    [
        ("town", PARTIAL, "ux", {}),
        ("town", PARTIAL, "uy", {}),
        ("town", {}, "ux", PARTIAL),
        ("town", {}, "uy", PARTIAL),
        (lower, PARTIAL, "ux", {}),
        (lower, {}, "uy", PARTIAL),
        (lower, PARTIAL, "ux", {"postgresql_where": lambda c: c.state != "old"}),
        ("town", PARTIAL, "uy", {"postgresql_where": lambda c: c.state != "old"}),
        ("town", {"postgresql_include": ["state"]}, "ux", {"postgresql_include": ["town"]}),
    ],
)
@pytest.mark.thorough
def test_index_that_changes(project, sql, element, old, name, new):
    """The new index exists before the old one goes, under the same name or a new one, in both directions."""
    sql("DELETE FROM people WHERE id > 1")
    project.generate(people(unique("ux", element, **old)))
    project.upgrade()
    up, down = project.generate(people(unique(name, element, **new)))
    assert {ADD, DROP} <= set(called(up)), up
    assert {ADD, DROP} <= set(called(down)), down
    walk(project, sql, names=[name])


@pytest.mark.min_pg(15)
@pytest.mark.thorough
def test_other_null_rule_and_other_expression(project, sql):
    """A changed NULL rule, and then a changed expression, replace the index."""
    sql("DELETE FROM people WHERE id > 1; INSERT INTO people (state) VALUES ('n'), ('n')")
    project.generate(people(unique("ux", lower)))
    project.upgrade()
    project.generate(people(unique("ux", lower, postgresql_nulls_not_distinct=True)))
    walk(project, sql, names=["ux"])
    assert [(2,)] == sql("SELECT count(*) FROM people")
    project.generate(people(unique("ux", lambda c: func.upper(c.email), postgresql_nulls_not_distinct=True)))
    walk(project, sql, names=["ux"])


@pytest.mark.thorough
def test_duplicates_leave_the_old_index(project, sql):
    """If divergent duplicates stop the new index, the table still has the old one, under the same name too."""
    sql("DELETE FROM people WHERE id > 3")
    project.generate(people(unique("ux", "email", postgresql_where=living)))
    project.upgrade()
    for name in ("ux", "uy"):
        project.generate(people(unique(name, lower, postgresql_where=living)))
        with pytest.raises(Exception, match="divergent-duplicates"):
            project.upgrade()
        assert [("CREATE UNIQUE INDEX ux ON public.people USING btree (email) WHERE (gone IS NULL)",)] == sql(
            "SELECT indexdef FROM pg_indexes WHERE tablename = 'people' AND indexname <> 'people_pkey'"
        )
        next(Path(project.folder, "versions").glob(f"r{project.count}_*.py")).unlink()


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["ux", "uy"])
def test_index_becomes_a_constraint_and_the_reverse(project, sql, name):
    """A key of the same columns changes its form both ways, under the same name or a new one."""
    sql("DELETE FROM people WHERE id > 1")
    index, constraint = unique("ux", "email", "town"), lambda _: UniqueConstraint("email", "town", name=name)
    project.generate(people(index))
    project.upgrade()
    up, down = project.generate(people(constraint))
    assert ["create_unique_constraint_online", DROP] == sorted(set(called(up)) - {"archive_duplicates"}), up
    assert [ADD, "drop_unique_constraint_online"] == sorted(set(called(down)) - {"restore_duplicates"}), down
    walk(project, sql, names=[name])
    assert [(name,)] == sql("SELECT conname FROM pg_constraint WHERE conrelid = 'people'::regclass AND contype = 'u'")
    project.generate(people(index))
    walk(project, sql, names=["ux"])
    assert [] == sql("SELECT conname FROM pg_constraint WHERE conrelid = 'people'::regclass AND contype = 'u'")


@pytest.mark.thorough
def test_new_name_alone(project, sql):
    """An index that only changes its name is renamed, although the catalog prints its predicate in other words."""
    where = {"postgresql_where": lambda c: c.state.in_(["a", "b"])}
    project.generate(people(unique("ux", lower, **where)))
    project.upgrade()
    oid = sql("SELECT 'ux'::regclass::oid")
    up, down = project.generate(people(unique("u y", lower, **where)))
    limit = "op.execute(\"SET LOCAL lock_timeout = '500ms'\")\n"
    assert limit + 'op.execute(\'ALTER INDEX "ux" RENAME TO "u y"\')' == up
    assert limit + 'op.execute(\'ALTER INDEX "u y" RENAME TO "ux"\')' == down
    walk(project, sql, names=['"u y"'])
    assert oid == sql("SELECT '\"u y\"'::regclass::oid")


@pytest.mark.thorough
def test_index_removed_from_the_models(project, sql):
    """A removed index is dropped online, and its rows are found again by the text under which they were archived."""
    before = rows(sql)
    project.generate(people(unique("ux", lower, postgresql_where=lambda c: c.state.in_(["new", "newer"]))))
    archive_divergent(project)
    project.upgrade()
    assert [(3,)] == sql("SELECT count(*) FROM people")
    up, down = project.generate(people())
    assert [DROP, "restore_duplicates"] == called(up)
    assert "where=\"state IN ('new', 'newer')\"" in up
    assert ["archive_duplicates", ADD] == called(down)
    project.upgrade()
    assert project.clean()
    assert before == rows(sql)
    with pytest.raises(Exception, match="divergent-duplicates"):
        project.downgrade()


@pytest.mark.thorough
def test_columns_that_come_and_go_with_an_index(project, sql):
    """A new column is added before the index that reads it, and an old one dropped after it, in both directions."""
    project.generate(people(unique("ux", "email", postgresql_where=living)))
    sql("DELETE FROM people WHERE id > 1")
    project.upgrade()
    metadata = people()
    table = metadata.tables["people"]
    table.append_column(sa.Column("born", sa.Date))
    table._columns.remove(table.c.gone)
    Index("ux", "email", unique=True, postgresql_where=table.c.born.isnot(None), _table=table)
    up, down = project.generate(metadata)
    assert ["add_column", DROP, "archive_duplicates", ADD, "drop_column"] == called(up)
    assert "add_column" == called(down)[0]
    assert "drop_column" == called(down)[-1]
    walk(project, sql, names=["ux"])


@pytest.mark.parametrize(
    ("element", "options", "reason"),
    [
        (lambda c: sa.desc(c.email), {}, "A sort order"),
        (lambda _: text("email DESC"), {}, "A sort order or an operator class in the text"),
        (lambda _: text("lower(email) text_pattern_ops"), {}, "A sort order or an operator class in the text"),
        ("email", {"postgresql_ops": {"email": "text_pattern_ops"}}, "postgresql_ops is not supported"),
        ("email", {"postgresql_with": {"fillfactor": 50}}, "postgresql_with is not supported"),
    ],
    ids=["DESC", "DESC as text", "class as text", "operator class", "storage"],
)
def test_what_is_left_to_alembic(project, element, options, reason, caplog, sql):
    """An order, an operator class or another option is left to Alembic's own operation, and a comment says why."""
    sql("TRUNCATE people")
    up, down = project.generate(people(unique("ux", element, **options)))
    assert ["create_index"] == called(up)
    assert ["drop_index"] == called(down)
    comment = " ".join(line.removeprefix("# ") for line in up.splitlines() if line.startswith("# "))
    assert "Creating ux blocks writes to people while the index is built, and fails at the first duplicate." in comment
    assert reason in comment
    assert reason in caplog.text
    project.upgrade()


@pytest.mark.thorough
def test_index_that_becomes_unique(project, sql):
    """Alembic's own operations create and drop an index that is not unique, before ours and after it."""
    before = lambda c: Index("ux", c.town)  # noqa: E731 - as short as its siblings
    project.generate(people(before))
    project.upgrade()
    up, down = project.generate(people(unique("ux", "town")))
    assert ["drop_index", "archive_duplicates", ADD] == called(up)
    assert [DROP, "restore_duplicates", "create_index"] == called(down)
    walk(project, sql, names=["ux"])


def test_filters_of_the_project(project, sql):
    """An index that include_object leaves out is not compared."""
    sql("CREATE UNIQUE INDEX ux ON people (town) WHERE id > 5")
    project.edit(
        "connection=connection, target",
        "connection=connection, include_object=lambda item, name, kind, *_: name != 'ux', target",
    )
    up, _ = project.generate(people(unique("ux", "town")))
    assert "pass" == up


def test_opt_out(project):
    """One setting in env.py leaves everything to Alembic."""
    project.edit("connection=connection, target", "connection=connection, dupe_audit_autogenerate=False, target")
    up, down = project.generate(people(unique("ux", lower, postgresql_where=living)))
    assert ["create_index"] == called(up)
    assert ["drop_index"] == called(down)


def test_long_calls_are_laid_out_as_by_a_formatter(project):
    """A long expression is divided as ruff would divide it, with the prefix that env.py gives to SQLAlchemy."""
    prefix = 'connection=connection, sqlalchemy_module_prefix="sqlalchemy.", target'
    project.edit("connection=connection, target", prefix)
    expression = " || ".join(["lower(email)"] * 6)
    long = unique("a_name_of_an_index_that_is_long_enough", lambda _: text(expression), "town", "state")
    up, down = project.generate(people(long))
    assert 'sqlalchemy.text(\n            "lower(email) || ' in up
    for part in (up, down):
        code = "def change():\n" + "".join(f"    {line}\n" for line in part.splitlines())
        ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
        done = subprocess.run(ruff, input=code, capture_output=True, text=True, check=True)
        assert done.stdout == code
