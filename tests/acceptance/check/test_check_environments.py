"""What a project's env.py is given, and what of it the check can follow."""

import pytest

from dupe_audit.checks.trial.redirect import in_terms_of

GENERIC = """
from pathlib import Path
import os
from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
said = [config.get_main_option("sqlalchemy.url"), os.environ["DATABASE_URL"]]
with Path("said").open("a") as file:
    print(*said, file=file)
section = config.get_section(config.config_ini_section)
engine = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""

#: as the template multidb does: all connections first, and each in a transaction until all are migrated
SEVERAL = """
from contextlib import ExitStack
from alembic import context
from sqlalchemy import create_engine, pool
with ExitStack() as stack:
    several = []
    for url in {urls}:
        connection = stack.enter_context(create_engine(url, poolclass=pool.NullPool).connect())
        connection.begin()
        several.append(connection)
    for connection in several[:{migrated}]:
        context.configure(connection=connection, target_metadata=None)
        context.run_migrations()
        connection.commit()
"""

#: as Alembic's cookbook has it: a schema for each tenant, and the version table in it
TENANT = """
from alembic import context
from sqlalchemy import create_engine, pool
engine = create_engine("postgresql+psycopg://", poolclass=pool.NullPool)
with engine.connect() as connection:
    connection.exec_driver_sql('CREATE SCHEMA IF NOT EXISTS "Demo"')
    connection.exec_driver_sql('SET search_path TO "Demo"')
    connection.commit()
    connection.dialect.default_schema_name = "Demo"
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""

#: the same by what the server is told when a session begins
OPTIONS = """
from alembic import context
from sqlalchemy import create_engine, pool
plain = create_engine("postgresql+psycopg://", poolclass=pool.NullPool)
with plain.begin() as connection:
    connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS app")
engine = create_engine(
    "postgresql+psycopg://", poolclass=pool.NullPool, connect_args={"options": "-csearch_path=app,public"}
)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None)
    with context.begin_transaction():
        context.run_migrations()
"""


def with_url(project, url):
    """Write a URL into the project's ini."""
    project.ini.write_text(project.ini.read_text() + f"sqlalchemy.url = {url}\n")


@pytest.mark.parametrize("server", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_url_that_env_py_sees_names_a_driver_that_is_there(orders, server):
    """Without a name, SQLAlchemy 2.0 would look for psycopg2, which nobody has to have."""
    with_url(orders, "driver://user:pass@localhost/dbname")
    orders.env(GENERIC)
    bare = orders.server.partition("://")[2]
    assert orders.check(server=f"{server}://{bare}").ok
    seen = (orders.directory / "said").read_text().split()
    assert {"postgresql+psycopg"} == {one.partition("://")[0] for one in seen}


@pytest.mark.parametrize(
    ("own", "seen"),
    [
        ("postgresql+psycopg_async://app@db/shop", "postgresql+psycopg_async"),
        ("postgresql+no_such_driver://app@db/shop", "postgresql+psycopg"),
        ("postgresql://%(nothing)s@db/shop", "postgresql+psycopg"),
    ],
)
def test_a_driver_that_the_project_names_stays_if_it_is_there(own, seen):
    """An env.py that makes an asynchronous engine of the URL may count on it."""
    assert f"{seen}://u:p%40w@h:1/d" == in_terms_of(own, "postgresql+psycopg://u:p%40w@h:1/d")


def test_an_env_py_that_migrates_several_databases_is_refused(orders, dupe_audit_here):
    """They would all be led to one, where the second would wait for the first, and for ever."""
    urls = ["postgresql+psycopg://app@db1/shop", "postgresql+psycopg://app@db1:5433/ledger"]
    orders.env(SEVERAL.format(urls=urls, migrated=2))
    done = dupe_audit_here("check", "--server", orders.server, code=3)
    assert "Error: The project's env.py migrates several databases (shop on db1, ledger on db1:5433); " in done.stderr


@pytest.mark.parametrize(
    ("urls", "migrated"),
    [
        (["postgresql+psycopg://app@db1/shop", "postgresql+psycopg://app@db1/postgres"], 1),
        (["postgresql+psycopg://app@db1/shop", "postgresql+psycopg://reader@db1/shop"], 1),
    ],
)
def test_an_env_py_may_open_other_connections_than_the_one_that_it_migrates(orders, urls, migrated):
    """It looks for something there, in the same database or in another one."""
    orders.env(SEVERAL.format(urls=urls, migrated=migrated))
    assert orders.check().ok


def test_an_env_py_may_migrate_the_same_database_twice(orders):
    """It runs the revisions in each of two schemas, over an engine for each."""
    tenants = SEVERAL.replace("        connection.begin()\n", "").replace(
        "        context.configure(",
        """        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS tenant{several.index(connection)}")
        connection.exec_driver_sql(f"SET search_path = tenant{several.index(connection)}")
        connection.commit()
        context.configure(""",
    )
    urls = ["postgresql+psycopg://app@db1/shop", "postgresql+psycopg://admin@db1/shop"]
    orders.env(tenants.replace("{urls}", repr(urls)).replace("{migrated}", "2"))
    report = orders.check()
    assert report.ok, str(report)


@pytest.mark.parametrize("env", [TENANT, OPTIONS])
def test_the_version_table_is_read_where_the_migration_finds_it(orders, env):
    """A search_path that env.py sets leads to it, in a session that another one knows nothing of."""
    orders.env(env)
    report = orders.check()
    assert report.ok, str(report)


def test_the_version_table_of_against_is_read_where_the_migration_finds_it(orders, database_url, sql):
    """A tenant's schema is at the newest revision, and nothing is pending."""
    sql('CREATE SCHEMA "Demo"; CREATE TABLE "Demo".alembic_version (version_num text)')
    sql("""INSERT INTO "Demo".alembic_version VALUES ('a1')""")
    orders.env(TENANT)
    report = orders.check(against=database_url)
    assert report.ok, str(report)


def test_a_usual_version_table_of_against_is_read_where_its_own_session_finds_it(orders, database_url, sql):
    """There, a role of the application may have a search_path that the scratch database knows nothing of."""
    sql("CREATE SCHEMA app; CREATE TABLE app.alembic_version (version_num text)")
    sql("INSERT INTO app.alembic_version VALUES ('a1')")
    report = orders.check(against=f"{database_url}{'&' if '?' in database_url else '?'}options=-csearch_path%3Dapp")
    assert report.ok, str(report)
