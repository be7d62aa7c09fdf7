"""What the check passes to a project's env.py, and which kinds of env.py it supports."""

import pytest

from dupe_audit.postgres.urls import sqlalchemy_url

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

#: like the template multidb: opens all connections first, each in a transaction until all are migrated
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

#: as in Alembic's cookbook: one schema per tenant, with the version table in it
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

#: the same through a connection option of the session
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
@pytest.mark.representatives("postgres")
def test_the_url_that_env_py_gets_names_an_installed_driver(orders, server):
    """Without a driver in the URL, SQLAlchemy 2.0 would look for psycopg2, which need not be installed."""
    with_url(orders, "driver://user:pass@localhost/dbname")
    orders.env(GENERIC)
    bare = orders.server.partition("://")[2]
    assert orders.check(server=f"{server}://{bare}").ok
    urls = (orders.directory / "said").read_text().split()
    assert {"postgresql+psycopg"} == {url.partition("://")[0] for url in urls}


@pytest.mark.parametrize(
    ("own", "driver"),
    [
        ("postgresql+psycopg_async://app@db/shop", "postgresql+psycopg_async"),
        ("postgresql+no_such_driver://app@db/shop", "postgresql+psycopg"),
        ("postgresql://%(nothing)s@db/shop", "postgresql+psycopg"),
    ],
)
def test_the_projects_own_driver_is_kept_if_it_is_installed(own, driver):
    """An env.py that creates an asynchronous engine from the URL may depend on it."""
    assert f"{driver}://u:p%40w@h:1/d" == sqlalchemy_url("postgresql+psycopg://u:p%40w@h:1/d", own)


def test_an_env_py_that_migrates_several_databases_is_refused(orders, dupe_audit_here):
    """All would be redirected to one, where the second would wait for the first forever."""
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
@pytest.mark.representatives("urls1-1")
def test_an_env_py_may_open_other_connections_than_the_one_it_migrates(orders, urls, migrated):
    """It reads something through them, in the same database or in another one."""
    orders.env(SEVERAL.format(urls=urls, migrated=migrated))
    assert orders.check().ok


def test_an_env_py_may_migrate_the_same_database_twice(orders):
    """It applies the revisions in each of two schemas, with one engine per schema."""
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
@pytest.mark.representatives("env1")
def test_the_version_table_is_read_where_the_migration_finds_it(orders, env):
    """It is found through a search_path that env.py sets only in its own session."""
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
    """A role in that database may have a search_path that the scratch database does not have."""
    sql("CREATE SCHEMA app; CREATE TABLE app.alembic_version (version_num text)")
    sql("INSERT INTO app.alembic_version VALUES ('a1')")
    report = orders.check(against=f"{database_url}{'&' if '?' in database_url else '?'}options=-csearch_path%3Dapp")
    assert report.ok, str(report)
