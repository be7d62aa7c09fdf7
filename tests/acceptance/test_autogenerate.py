"""``alembic revision --autogenerate`` in a project from ``alembic init``, with the one import in env.py."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import UniqueConstraint
from sqlalchemy.exc import DBAPIError

from generated_project import Project, called, models, same

NAMES = "SELECT conname FROM pg_constraint WHERE conrelid = 'people'::regclass AND contype = 'u'"
CONVENTION = {"uq": "uq_%(table_name)s_%(column_0_N_name)s"}


@pytest.fixture
def project(tmp_path, database_url, sql):
    """A project whose database has the models without any constraint."""
    sql("CREATE TABLE people (id serial PRIMARY KEY, email text, town text)")
    return Project(tmp_path, database_url)


def test_from_the_model_to_the_rows_and_back(project, sql):
    """A constraint added to a model becomes a revision that archives duplicates and restores them on downgrade."""
    sql("INSERT INTO people (email) SELECT 'a' || i % 90 FROM generate_series(1, 100) AS i")
    before = sql("SELECT id, email FROM people ORDER BY id")

    up, down = project.generate(models(UniqueConstraint("email", name="one_email")))
    assert (
        'op.archive_duplicates("people", ["email"])\n'
        'op.create_unique_constraint_online("one_email", "people", ["email"])'
    ) == up
    assert (
        'op.drop_unique_constraint_online("one_email", "people")\nop.restore_duplicates("people", ["email"])'
    ) == down

    project.upgrade()
    assert [(90,)] == sql("SELECT count(*) FROM people")
    assert project.clean()
    project.downgrade()
    assert before == sql("SELECT id, email FROM people ORDER BY id")
    project.upgrade()
    assert project.clean()


def test_column_that_becomes_unique(project):
    """A column's own unique=True has no name, and gets the name that PostgreSQL would choose."""
    up, down = project.generate(models(email=True))
    assert (
        'op.archive_duplicates("people", ["email"])\n'
        'op.create_unique_constraint_online("people_email_key", "people", ["email"])'
    ) == up
    assert 'op.drop_unique_constraint_online("people_email_key", "people")' == down.splitlines()[0]

    project.upgrade()
    assert project.clean()


def test_name_by_convention(project, sql):
    """A name from the metadata's convention is marked as final, so that the convention is not applied twice."""
    up, down = project.generate(models(UniqueConstraint("email", "town"), convention=CONVENTION))
    assert same(
        'op.create_unique_constraint_online(op.f("uq_people_email_town"), "people", ["email", "town"])'
    ) in same(up)
    assert 'op.drop_unique_constraint_online(op.f("uq_people_email_town"), "people")' in down

    project.upgrade()
    assert [("uq_people_email_town",)] == sql(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'people'::regclass AND contype = 'u'"
    )
    assert project.clean()


@pytest.mark.thorough
@pytest.mark.min_pg(15)
def test_table_in_a_schema_and_equal_nulls(project, sql):
    """Each directive that takes a schema and a NULL rule gets them."""
    sql("CREATE SCHEMA sales; INSERT INTO people (town) VALUES ('x'), ('x')")
    project.edit("connection=connection, target", "connection=connection, include_schemas=True, target")
    keyed = models(UniqueConstraint("email", name="u2", postgresql_nulls_not_distinct=True), schema="sales")
    plain = models(schema="sales")
    models().tables["people"].to_metadata(plain)
    project.generate(plain)
    project.upgrade()

    models(UniqueConstraint("town", name="u1", postgresql_nulls_not_distinct=True)).tables["people"].to_metadata(keyed)
    up, down = project.generate(keyed)
    assert same(
        'op.archive_duplicates("people", ["town"], nulls_not_distinct=True)\n'
        'op.create_unique_constraint_online("u1", "people", ["town"], nulls_not_distinct=True)\n'
        'op.archive_duplicates("people", ["email"], schema="sales", nulls_not_distinct=True)\n'
        'op.create_unique_constraint_online("u2", "people", ["email"], schema="sales", nulls_not_distinct=True)'
    ) == same(up)
    assert (
        'op.drop_unique_constraint_online("u2", "people", schema="sales")\n'
        'op.restore_duplicates("people", ["email"], schema="sales")\n'
        'op.drop_unique_constraint_online("u1", "people")\n'
        'op.restore_duplicates("people", ["town"])'
    ) == down

    project.upgrade()
    assert [(1,)] == sql("SELECT count(*) FROM people")
    assert project.clean()
    project.downgrade()
    assert [(2,)] == sql("SELECT count(*) FROM people")


def test_the_ledger_stays(project, sql):
    """With include_schemas, autogenerate drops tables missing from the models, but never the ledger."""
    project.edit("connection=connection, target", "connection=connection, include_schemas=True, target")
    project.generate(models(UniqueConstraint("email", name="u")))
    project.upgrade()
    assert project.clean()

    sql("CREATE SCHEMA other; CREATE TABLE other.gone (id int)")
    up, _ = project.generate(models(UniqueConstraint("email", name="u")))
    assert "op.drop_table('gone', schema='other')" == up


def test_form_of_the_constraint(project, sql):
    """INCLUDE and DEFERRABLE, which Alembic's own rendering loses or cannot execute, reach the database."""
    form = {"deferrable": True, "initially": "DEFERRED"}
    include = "include" in UniqueConstraint("email").dialect_options["postgresql"]  # SQLAlchemy 2.0.41 and later
    if include:
        form["postgresql_include"] = ["town"]
    up, _ = project.generate(models(UniqueConstraint("email", name="u", **form)))
    assert 'op.archive_duplicates("people", ["email"])' == up.splitlines()[0]

    project.upgrade()
    definition = f"UNIQUE (email){' INCLUDE (town)' if include else ''} DEFERRABLE INITIALLY DEFERRED"
    assert [(definition,)] == sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'u'")
    assert project.clean()


def test_constraint_removed_from_the_models(project, sql):
    """A removed constraint is dropped online; what the downgrade archives, the next upgrade puts back."""
    project.generate(models(UniqueConstraint("email", name="one_email")))
    project.upgrade()
    up, down = project.generate(models())
    assert (
        'op.drop_unique_constraint_online(op.f("one_email"), "people")\n'
        "# Puts back the rows archived under this key, also by the revision that created it.\n"
        "# To keep them archived, remove this line.\n"
        'op.restore_duplicates("people", ["email"])'
    ) == up
    assert ["archive_duplicates", "create_unique_constraint_online"] == called(down)

    project.upgrade()
    assert project.clean()
    sql("INSERT INTO people (email) VALUES ('a'), ('a')")
    before = sql("SELECT * FROM people ORDER BY id")
    project.downgrade()
    assert [(1,)] == sql("SELECT count(*) FROM people")
    assert [("one_email",)] == sql(NAMES)
    project.upgrade()
    assert before == sql("SELECT * FROM people ORDER BY id")
    assert [("restored",)] == sql("SELECT state FROM dupe_audit.run ORDER BY id DESC LIMIT 1")


@pytest.fixture
def with_key(sql):
    """Return models with a key over some of three columns, which the table has too."""
    sql("ALTER TABLE people ADD market text, ADD source text, ADD snap text")

    def with_key(name, *columns):
        key = UniqueConstraint(*columns, name=name)
        return models(*(sa.Column(c, sa.Text) for c in ("market", "source", "snap")), key)

    return with_key


def test_stricter_key_is_created_before_the_old_one_is_dropped(project, sql, with_key):
    """If divergent extras stop the new key, the table still has the old one; resolved, it works both ways."""
    project.generate(with_key("old", "market", "source", "snap"))
    project.upgrade()
    up, down = project.generate(with_key("new", "market", "snap"))
    drop, add = "drop_unique_constraint_online", "create_unique_constraint_online"
    assert ["archive_duplicates", add, drop] == called(up)
    assert 'op.drop_unique_constraint_online(op.f("old"), "people")' == up.splitlines()[-1]
    # Under the new key no duplicates of the old one can exist, so the downgrade archives none.
    assert [add, drop, "restore_duplicates"] == called(down)

    sql("INSERT INTO people (market, source, snap) VALUES ('m', 'a', 's'), ('m', 'b', 's')")
    before = sql("SELECT * FROM people ORDER BY id")
    with pytest.raises(Exception, match="divergent-duplicates"):
        project.upgrade()
    assert [("old",)] == sql(NAMES)

    path = next(Path(project.folder, "versions").glob("r2_*.py"))
    path.write_text(path.read_text().replace('"snap"])', '"snap"], divergent="archive")', 1))
    project.upgrade()
    assert [("new",)] == sql(NAMES)
    assert [(1,)] == sql("SELECT count(*) FROM people")
    assert project.clean()
    project.downgrade()
    assert [("old",)] == sql(NAMES)
    assert before == sql("SELECT * FROM people ORDER BY id")
    project.upgrade()
    assert [("new",)] == sql(NAMES)
    assert project.clean()


@pytest.mark.thorough
def test_looser_key_archives_on_the_way_back(project, sql, with_key):
    """The downgrade to a stricter key archives first, and drops the looser one last."""
    project.generate(with_key("old", "market", "snap"))
    project.upgrade()
    up, down = project.generate(with_key("new", "market", "source", "snap"))
    drop, add = "drop_unique_constraint_online", "create_unique_constraint_online"
    assert ["archive_duplicates", add, drop] == called(up)
    assert ["archive_duplicates", add, drop, "restore_duplicates"] == called(down)

    project.upgrade()
    sql("INSERT INTO people (market, source, snap) VALUES ('m', 'a', 's'), ('m', 'b', 's')")
    with pytest.raises(Exception, match="divergent-duplicates"):
        project.downgrade()
    assert [("new",)] == sql(NAMES)


@pytest.mark.thorough
def test_columns_of_a_key_that_changes(project, sql, with_key, caplog):
    """New columns are added before the new key, and old ones dropped after the old key; in reverse, the other way."""
    project.generate(with_key("old", "market", "source"))
    project.upgrade()
    key = UniqueConstraint("market", "born", name="new")
    metadata = models(*(sa.Column(c, sa.Text) for c in ("market", "snap", "born")), key)
    up, down = project.generate(metadata)
    drop, add = "drop_unique_constraint_online", "create_unique_constraint_online"
    assert ["add_column", "archive_duplicates", add, drop, "drop_column"] == called(up)
    assert ["add_column", "archive_duplicates", add, drop, "restore_duplicates", "drop_column"] == called(down)
    assert "its own revision" in caplog.text

    project.upgrade()
    assert project.clean()
    project.downgrade()
    assert [("old",)] == sql(NAMES)
    project.upgrade()
    assert project.clean()


def test_change_of_a_key_is_one_revision(project, with_key, caplog):
    """The new key and the drop of the one that it replaces need not be divided."""
    project.generate(with_key("old", "market", "source", "snap"))
    project.upgrade()
    caplog.clear()
    project.generate(with_key("new", "market", "snap"))
    assert "its own revision" not in caplog.text


def test_change_of_name_alone(project, sql, with_key):
    """A constraint that only changes its name is renamed, both ways; nothing is built or archived."""
    project.generate(with_key("old", "market", "snap"))
    project.upgrade()
    oid = sql("SELECT conindid FROM pg_constraint WHERE conname = 'old'")
    up, down = project.generate(with_key('new "quoted"', "market", "snap"))
    limit = "op.execute(\"SET LOCAL lock_timeout = '500ms'\")\n"
    assert limit + 'op.execute(\'ALTER TABLE "people" RENAME CONSTRAINT "old" TO "new ""quoted"""\')' == up
    assert limit + 'op.execute(\'ALTER TABLE "people" RENAME CONSTRAINT "new ""quoted""" TO "old"\')' == down

    for _ in range(2):
        project.upgrade()
        assert project.clean()
        assert [('new "quoted"',)] == sql(NAMES)
        project.downgrade()
        assert [("old",)] == sql(NAMES)
    assert oid == sql("SELECT conindid FROM pg_constraint WHERE conname = 'old'")


@pytest.mark.thorough
def test_change_of_name_waits_no_longer_than_a_directive(project, sql, with_key, psycopg_connect):
    """Both ways, a rename gives up after the lock timeout of the directives, so no statement of others waits longer."""
    project.generate(with_key("old", "market", "snap"))
    project.upgrade()
    project.generate(with_key("new", "market", "snap"))
    sql(f"ALTER DATABASE \"{sql('SELECT current_database()')[0][0]}\" SET statement_timeout = '8s'")
    reader = psycopg_connect()
    for move, name in ((project.upgrade, "new"), (project.downgrade, "old")):
        reader.execute("SELECT FROM people")
        with pytest.raises(DBAPIError, match="canceling statement due to lock timeout"):
            move()
        reader.rollback()
        move()
        assert [(name,)] == sql(NAMES)


@pytest.mark.parametrize("name", ["a :b", ":a:b", r"a\:b", "100 %s :a::text"])
@pytest.mark.thorough
def test_change_of_a_name_with_colons(project, sql, with_key, name):
    """A name with colons, which SQLAlchemy would read as bound parameters, arrives in the catalog, and leaves it."""
    project.generate(with_key("old", "market", "snap"))
    project.upgrade()
    project.generate(with_key(name, "market", "snap"))
    project.upgrade()
    assert [(name,)] == sql(NAMES)
    assert project.clean()
    project.downgrade()
    assert [("old",)] == sql(NAMES)


@pytest.mark.min_pg(15)
@pytest.mark.thorough
def test_more_than_the_name_changes(project, sql, with_key):
    """A key whose NULL rule changes with its name is built, not renamed."""
    project.generate(with_key("old", "market", "snap"))
    project.upgrade()
    metadata = models(*(sa.Column(c, sa.Text) for c in ("market", "source", "snap")))
    metadata.tables["people"].append_constraint(
        UniqueConstraint("market", "snap", name="new", postgresql_nulls_not_distinct=True)
    )
    up, down = project.generate(metadata)
    drop, add = "drop_unique_constraint_online", "create_unique_constraint_online"
    assert ["archive_duplicates", add, drop] == called(up)
    assert [add, drop, "restore_duplicates"] == called(down)
    sql("INSERT INTO people (email) VALUES (NULL), (NULL)")
    before = sql("SELECT * FROM people ORDER BY id")
    project.upgrade()
    assert project.clean()
    project.downgrade()
    assert before == sql("SELECT * FROM people ORDER BY id")


def test_constraint_that_changes(project, sql):
    """A constraint that keeps its name is replaced after new columns are added, and before old ones are dropped."""
    project.generate(models(UniqueConstraint("email", name="u")))
    project.upgrade()
    up, down = project.generate(models(sa.Column("born", sa.Date), UniqueConstraint("email", "born", name="u")))
    drop, add = "drop_unique_constraint_online", "create_unique_constraint_online"
    assert ["add_column", drop, "archive_duplicates", add] == called(up)
    assert [drop, "archive_duplicates", add, "restore_duplicates", "drop_column"] == called(down)

    project.upgrade()
    assert project.clean()
    project.downgrade()
    assert [("UNIQUE (email)",)] == sql("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'u'")


@pytest.mark.thorough
def test_stricter_key_under_the_same_name(project, sql, with_key):
    """Under the stricter key no duplicates of the old one exist, so the downgrade archives none, and restores last."""
    project.generate(with_key("u", "market", "source", "snap"))
    project.upgrade()
    up, down = project.generate(with_key("u", "market", "snap"))
    drop, add = "drop_unique_constraint_online", "create_unique_constraint_online"
    assert [drop, "archive_duplicates", add] == called(up)
    assert [drop, add, "restore_duplicates"] == called(down)

    path = next(Path(project.folder, "versions").glob("r2_*.py"))
    path.write_text(path.read_text().replace('"snap"])', '"snap"], divergent="archive")', 1))
    sql("INSERT INTO people (market, source, snap) VALUES ('m', 'a', 's'), ('m', 'b', 's')")
    before = sql("SELECT * FROM people ORDER BY id")
    for _ in range(2):
        project.upgrade()
        assert [(1,)] == sql("SELECT count(*) FROM people")
        assert project.clean()
        project.downgrade()
        assert before == sql("SELECT * FROM people ORDER BY id")


@pytest.mark.thorough
@pytest.mark.parametrize("key", [("market", "snap", True), ("snap", "market", False)], ids=["deferrable", "order"])
def test_same_columns_under_a_new_name(project, with_key, key):
    """A second constraint over the same columns would be refused, so the old one is dropped first."""
    project.generate(with_key("old", "market", "snap"))
    project.upgrade()
    first, second, deferrable = key
    metadata = models(*(sa.Column(c, sa.Text) for c in ("market", "source", "snap")))
    metadata.tables["people"].append_constraint(UniqueConstraint(first, second, name="new", deferrable=deferrable))
    project.generate(metadata)
    for _ in range(2):
        project.upgrade()
        assert project.clean()
        project.downgrade()


@pytest.mark.thorough
def test_batches_of_alembic(project):
    """With render_as_batch the directives are outside the batch, which cannot contain a commit."""
    project.edit("connection=connection, target", "connection=connection, render_as_batch=True, target")
    up, _ = project.generate(models(sa.Column("born", sa.Date), UniqueConstraint("email", name="u")))
    assert ["batch_alter_table", "add_column", "archive_duplicates", "create_unique_constraint_online"] == called(up)

    project.upgrade()
    assert project.clean()


@pytest.mark.thorough
def test_more_than_one_key_causes_a_warning(project, caplog):
    """If a revision does anything else, which the first directive would commit, a warning asks to divide it."""
    project.generate(models(UniqueConstraint("email", name="u")))
    assert "its own revision" not in caplog.text
    project.upgrade()
    project.generate(
        models(UniqueConstraint("email", name="u"), UniqueConstraint("town", name="v"), sa.Column("x", sa.Text))
    )
    assert "its own revision" in caplog.text


def test_new_table_keeps_its_keys(project):
    """A new table is created with its constraint inline and its unique index, and stays as Alembic writes it."""
    metadata = models()
    name, town = sa.Column("name", sa.Text, unique=True), sa.Column("town", sa.Text, unique=True, index=True)
    sa.Table("pets", metadata, sa.Column("id", sa.Integer, primary_key=True), name, town)
    up, down = project.generate(metadata)

    assert ["create_table", "create_index"] == called(up)
    assert "sa.UniqueConstraint('name')" in up
    assert ["drop_index", "drop_table"] == called(down)
    project.upgrade()
    assert project.clean()


@pytest.mark.thorough
def test_long_name_by_convention(project, sql):
    """A name from a convention that SQLAlchemy cuts is written as it is in the database, so nothing differs later."""
    columns = [f"a_column_with_a_very_long_name_{n}" for n in range(2)]
    sql("".join(f"ALTER TABLE people ADD {name} text;" for name in columns))
    items = [*(sa.Column(name, sa.Text) for name in columns), UniqueConstraint(*columns)]
    up, _ = project.generate(models(*items, convention=CONVENTION))
    assert ["archive_duplicates", "create_unique_constraint_online"] == called(up)
    [name] = re.findall(r'op\.f\(\s*"([^"]+)"', up)
    assert name.startswith("uq_people_a_column_with_a_very_long_name")
    assert len(name) <= 63

    project.upgrade()
    assert [(name,)] == sql(NAMES)
    assert project.clean()
    project.downgrade()
    assert [] == sql(NAMES)
    project.upgrade()
    assert project.clean()


def test_what_the_directives_do_not_support(project, caplog):
    """A constraint with too long a name, or an option that the directives do not support, is left to Alembic aloud."""
    UniqueConstraint.argument_for("postgresql", "made_up", None)
    too_long = UniqueConstraint("email", name="ü" * 40)
    unsupported = UniqueConstraint("email", name="u", postgresql_made_up=1)
    for constraint, reason in (
        (too_long, "longer than 63 bytes"),
        (unsupported, "postgresql_made_up is not supported"),
    ):
        caplog.clear()
        up, _ = project.generate(models(constraint))
        assert ["create_unique_constraint"] == called(up)
        assert reason in up.replace("\n#", "")
        assert reason in caplog.text
        Path(project.folder, "versions", f"r{project.count}_r{project.count}.py").unlink()

    up, _ = project.generate(models(UniqueConstraint("email", name="u", sqlite_on_conflict="IGNORE")))
    assert ["archive_duplicates", "create_unique_constraint_online"] == called(up)


def test_opt_out(project):
    """One setting in env.py leaves everything to Alembic."""
    project.edit("connection=connection, target", "connection=connection, dupe_audit_autogenerate=False, target")
    up, down = project.generate(models(UniqueConstraint("email", name="u")))
    assert ["create_unique_constraint"] == called(up)
    assert ["drop_constraint"] == called(down)


def test_long_calls_are_laid_out_as_by_a_formatter(project, tmp_path):
    """A call that does not fit on a line is divided as ruff would divide it, with ruff's quotes."""
    columns = [f"a_column_with_a_long_name_{n}" for n in range(4)]
    metadata = models(*(sa.Column(name, sa.Text) for name in columns), table="a_table_with_a_name_that_is_long")
    project.generate(metadata)
    project.upgrade()
    named = UniqueConstraint(*columns, name="a_constraint_whose_name_is_not_short_at_all_but_allowed")
    more = models(*(sa.Column(name, sa.Text) for name in columns), named, table="a_table_with_a_name_that_is_long")
    up, down = project.generate(more)

    for text in (up, down):
        code = "def change():\n" + "".join(f"    {line}\n" for line in text.splitlines())
        ruff = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
        done = subprocess.run(ruff, input=code, capture_output=True, text=True, check=True)
        assert done.stdout == code
    assert "(\n" in up


@pytest.mark.thorough
def test_foreign_key_to_the_new_key_of_its_own_table(project, sql):
    """An unnamed foreign key is created after the key that it references, and dropped before it."""
    sql("ALTER TABLE people ADD parent text")
    sql("INSERT INTO people (email, parent) VALUES ('a', NULL), ('a', NULL), ('b', 'a'), ('c', 'b')")
    before = sql("SELECT * FROM people ORDER BY id")
    parent = sa.Column("parent", sa.Text)
    foreign = sa.ForeignKeyConstraint(["parent"], ["people.email"])
    up, down = project.generate(models(parent, UniqueConstraint("email", name="u"), foreign))
    assert ["archive_duplicates", "create_unique_constraint_online", "create_foreign_key"] == called(up)
    assert ["drop_constraint", "drop_unique_constraint_online", "restore_duplicates"] == called(down)

    project.upgrade()
    assert project.clean()
    assert [("people_parent_fkey",)] == sql("SELECT conname FROM pg_constraint WHERE confrelid = 'people'::regclass")
    project.downgrade()
    assert before == sql("SELECT * FROM people ORDER BY id")
    project.upgrade()
    assert [(3,)] == sql("SELECT count(*) FROM people")
    assert project.clean()


@pytest.mark.thorough
def test_foreign_key_to_a_composite_key_with_the_primary_key_in_it(project, sql):
    """The order holds too if the foreign key names the columns of the key in another order."""
    sql("ALTER TABLE people ADD p int; INSERT INTO people (email, town, p) VALUES ('a', 'a', 1), ('b', 'a', 1)")
    foreign = sa.ForeignKeyConstraint(["town", "p"], ["people.email", "people.id"])
    metadata = models(sa.Column("p", sa.Integer), UniqueConstraint("id", "email", name="uq_ic"), foreign)
    project.generate(metadata)

    project.upgrade()
    assert project.clean()
    project.downgrade()
    project.upgrade()
    assert [(2,)] == sql("SELECT count(*) FROM people")
    assert project.clean()


def pets(metadata, *, owned=True):
    """Add two tables to the models: one sorts before the table that they reference, and one after it."""
    for name in ("cats", "rats"):
        owner = [sa.ForeignKeyConstraint(["owner"], ["people.email"], ondelete="CASCADE")] if owned else []
        sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("owner", sa.Text), *owner)
    return metadata


@pytest.mark.thorough
def test_foreign_keys_of_existing_tables(project, sql):
    """Foreign keys of other tables wait too, keep their options, and exist again after the downgrade."""
    for name in ("cats", "rats"):
        sql(f"CREATE TABLE {name} (id serial PRIMARY KEY, owner text)")
        sql(f"INSERT INTO {name} (owner) VALUES ('a'), ('b'), ('b')")
    sql("INSERT INTO people (email) VALUES ('a'), ('a'), ('b')")
    metadata = pets(models(UniqueConstraint("email", name="u")))
    up, down = project.generate(metadata)
    assert ["archive_duplicates", "create_unique_constraint_online", *["create_foreign_key"] * 2] == called(up)
    assert [*["drop_constraint"] * 2, "drop_unique_constraint_online", "restore_duplicates"] == called(down)
    project.upgrade()
    assert project.clean()

    up, down = project.generate(pets(models(), owned=False))
    assert [*["drop_constraint"] * 2, "drop_unique_constraint_online", "restore_duplicates"] == called(up)
    assert ["archive_duplicates", "create_unique_constraint_online", *["create_foreign_key"] * 2] == called(down)
    project.upgrade()
    assert project.clean()
    project.downgrade()
    assert [("c",), ("c",)] == sql("SELECT confdeltype::text FROM pg_constraint WHERE confrelid = 'people'::regclass")
    project.downgrade()
    assert [(3,)] == sql("SELECT count(*) FROM people")
    project.upgrade()
    assert project.clean()


@pytest.mark.thorough
def test_foreign_keys_of_new_tables(project, sql):
    """A new table is created without the foreign key that has to wait, and keeps the others inline."""
    sql("INSERT INTO people (email) VALUES ('a'), ('a'), ('b')")
    metadata = pets(models(UniqueConstraint("email", name="u")))
    metadata.tables["cats"].append_column(sa.Column("person", sa.ForeignKey("people.id")))
    up, down = project.generate(metadata)
    keys = ["archive_duplicates", "create_unique_constraint_online"]
    assert ["create_table", "create_table", *keys, "create_foreign_key", "create_foreign_key"] == called(up)
    assert "['person'], ['people.id']" in up
    back = ["drop_unique_constraint_online", "restore_duplicates", "drop_table", "drop_table"]
    assert ["drop_constraint", "drop_constraint", *back] == called(down)

    project.upgrade()
    assert project.clean()
    project.downgrade()
    assert [(3,)] == sql("SELECT count(*) FROM people")
    project.upgrade()
    assert project.clean()


def test_dropped_tables_with_their_foreign_keys(project):
    """Tables are dropped before the key that they reference, and re-created after it."""
    project.generate(pets(models(UniqueConstraint("email", name="u"))))
    project.upgrade()
    up, down = project.generate(models())
    assert ["drop_table", "drop_table", "drop_unique_constraint_online", "restore_duplicates"] == called(up)
    assert ["archive_duplicates", "create_unique_constraint_online", "create_table", "create_table"] == called(down)

    project.upgrade()
    assert project.clean()
    project.downgrade()


def test_foreign_key_that_does_not_need_the_key(project):
    """A foreign key to another key stays where Alembic puts it, before the archive, which then sees it."""
    parent, foreign = sa.Column("parent", sa.Integer), sa.ForeignKeyConstraint(["parent"], ["people.id"], name="f")
    up, _ = project.generate(models(UniqueConstraint("email", name="u"), parent, foreign))
    assert ["add_column", "create_foreign_key", "archive_duplicates", "create_unique_constraint_online"] == called(up)


@pytest.mark.thorough
def test_foreign_keys_with_batches_and_schemas(project, sql):
    """With render_as_batch, and across schemas, a foreign key waits too."""
    sql("CREATE SCHEMA sales; CREATE TABLE sales.cats (id serial PRIMARY KEY, owner text, town text)")
    options = "connection=connection, render_as_batch=True, include_schemas=True, target"
    project.edit("connection=connection, target", options)
    metadata = models(UniqueConstraint("email", name="u"))
    columns = [sa.Column("id", sa.Integer, primary_key=True), sa.Column("owner", sa.Text), sa.Column("town", sa.Text)]
    home = [UniqueConstraint("town", name="v"), sa.ForeignKeyConstraint(["owner"], ["sales.cats.town"])]
    owner = sa.ForeignKeyConstraint(["owner"], ["people.email"], name="cats_owner_to_people")
    sa.Table("cats", metadata, *columns, *home, owner, schema="sales")
    up, down = project.generate(metadata)
    keys = ["archive_duplicates", "create_unique_constraint_online"]
    assert [*keys, *keys, "batch_alter_table", "create_foreign_key", "create_foreign_key"] == called(up)
    assert ["batch_alter_table", "drop_constraint", "drop_constraint"] == called(down)[:3]

    project.upgrade()
    assert project.clean()
    project.downgrade()
    project.upgrade()
    assert project.clean()


@pytest.mark.thorough
def test_long_name_of_a_foreign_key(project, sql):
    """A foreign key gets a name that PostgreSQL does not truncate, so the downgrade knows it."""
    columns = [f"a_column_with_a_very_long_name_which_ends_in_{n}" for n in range(2)]
    sql("".join(f"ALTER TABLE people ADD {name} text;" for name in columns))
    foreign = [sa.ForeignKeyConstraint([columns[0]], ["people.email"])]
    foreign.append(sa.ForeignKeyConstraint(columns, ["people.email", "people.town"]))
    uniques = UniqueConstraint("email", name="u"), UniqueConstraint("email", "town", name="v")
    project.generate(models(*(sa.Column(name, sa.Text) for name in columns), *uniques, *foreign))

    project.upgrade()
    assert project.clean()
    project.downgrade()
    project.upgrade()
