"""Preflight and verify read projects of every shape that `alembic init` and `flask db init` make."""

import shutil
import subprocess
import sys
from pathlib import Path

import alembic
import pytest
from sqlalchemy import make_url

TABLE = "CREATE TABLE t (id int PRIMARY KEY, k int); INSERT INTO t VALUES (1, 1), (2, 1), (3, 2)"
SECTION = "config.get_section(config.config_ini_section, {})"
UP = ("op.archive_duplicates('t', ['k'])", "op.create_unique_constraint_online('uq', 't', ['k'])")


def walk(project, upgrade, *, options=()):
    """Examine a project's pending key, upgrade, and verify; *options* go before the command."""
    (report,) = project.reports(*options, "preflight", code=1)
    assert ("t", ["k"], "uq", 1) == (report["table"], report["columns"], report["constraint"], report["extras"])
    assert ["duplicates"] == [finding["id"] for finding in report["findings"]]
    upgrade()
    (report,) = project.reports(*options, "verify")
    assert (True, 0, "uq") == (report["ok"], report["extras"], report["constraint"])


def start(project, sql):
    """Create the table and apply the first revision; the second one is pending."""
    sql(TABLE)
    project.revision("0001")
    project.alembic("upgrade", "head")
    project.revision("0002", *UP)


@pytest.mark.parametrize("shape", ["generic", "pyproject", "async", "pyproject_async"])
@pytest.mark.thorough
def test_templates_of_alembic_init(project, sql, shape):
    """Each template for one database is read, those with an async engine too."""
    if not (Path(alembic.__file__).parent / "templates" / shape).exists():
        pytest.skip("this version of Alembic has no such template")
    project.init(shape)
    start(project, sql)
    walk(project, lambda: project.alembic("upgrade", "head"))
    assert (project.directory / "pyproject.toml").exists() is shape.startswith("pyproject")


@pytest.mark.thorough
def test_a_project_without_an_ini_file(project, sql):
    """With all configuration in pyproject.toml, and the URL in the environment, no alembic.ini is needed."""
    project.init("pyproject")
    (project.directory / "alembic.ini").unlink()
    project.edit_env("if config.config_file_name is not None:\n    fileConfig(config.config_file_name)", "import os")
    project.edit_env(SECTION, "{'sqlalchemy.url': os.environ['DATABASE_URL']}")
    start(project, sql)
    walk(project, lambda: project.alembic("upgrade", "head"), options=("-c", "pyproject.toml"))
    assert [True] == [report["ok"] for report in project.reports("verify")]


def test_the_url_of_the_option_reaches_env_py(project, sql, database_url):
    """An env.py that reads DATABASE_URL is given the URL of --database-url, in a form that SQLAlchemy reads."""
    project.init()
    project.edit_env("target_metadata = None", "import os\n\ntarget_metadata = None")
    project.edit_env(SECTION, "{'sqlalchemy.url': os.environ['DATABASE_URL']}")
    start(project, sql)
    del project.environment["DATABASE_URL"]
    url = make_url(database_url)
    plain = f"postgres://postgres@/{url.database}?host={url.query['host']}&port={url.query['port']}"
    (report,) = project.reports("--database-url", plain, "preflight", code=1)
    assert 1 == report["extras"]


def test_several_databases_are_refused(project, sql):
    """The multidb template is refused with a message, whether its URLs are set or not."""
    project.init("multidb")
    project.revision("0001")
    ini = project.directory / "alembic.ini"
    done = project.dupe_audit("preflight", code=3)
    assert "env.py migrates several databases (engine1, engine2)" in done.stderr

    url = project.environment["DATABASE_URL"].replace("%", "%%")
    other = make_url(project.environment["DATABASE_URL"]).set(database="postgres").render_as_string(hide_password=False)
    assert f"{url}2" in ini.read_text()
    ini.write_text(ini.read_text().replace(f"{url}2", other.replace("%", "%%")))
    done = project.dupe_audit("verify", code=3)
    assert "env.py migrates several databases (" in done.stderr


@pytest.mark.thorough
def test_a_version_table_in_its_own_schema(project, sql):
    """The version table is found in the schema that env.py names."""
    project.init()
    sql("CREATE SCHEMA versions")
    project.edit_env(
        "connection=connection, target_metadata=target_metadata",
        "connection=connection, version_table_schema='versions', version_table='v'",
    )
    start(project, sql)
    walk(project, lambda: project.alembic("upgrade", "head"))


@pytest.mark.parametrize("location", ["migrations", "absolute", "package:migrations"])
@pytest.mark.representatives("package:migrations")
def test_script_locations(project, sql, location):
    """The scripts may be in a directory relative to here, in an absolute one, or in a package."""
    project.init()
    ini = project.directory / "alembic.ini"
    if location.startswith("package"):
        (project.directory / "package").mkdir()
        (project.directory / "package" / "__init__.py").touch()
        project.scripts.rename(project.directory / "package" / "migrations")
        project.scripts = project.directory / "package" / "migrations"
    new = str(project.scripts) if location == "absolute" else location
    ini.write_text(ini.read_text().replace("script_location = %(here)s/migrations", f"script_location = {new}"))
    assert f"script_location = {new}\n" in ini.read_text()
    start(project, sql)
    walk(project, lambda: project.alembic("upgrade", "head"))


@pytest.mark.thorough
def test_another_section_of_the_config(project, sql):
    """With -n, location and URL come from that section."""
    project.init()
    ini = project.directory / "alembic.ini"
    ini.write_text(ini.read_text().replace("[alembic]", "[orders]"))
    sql(TABLE)
    project.revision("0001")
    project.alembic("-n", "orders", "upgrade", "head")
    project.revision("0002", *UP)
    del project.environment["DATABASE_URL"]
    walk(project, lambda: project.alembic("-n", "orders", "upgrade", "head"), options=("-n", "orders"))


def test_a_section_that_cannot_be_used_is_wrong_usage(project):
    """With -n, a section that does not exist is wrong usage, and so is check, which reads [alembic] only."""
    project.init()
    project.environment["DATABASE_URL"] = "postgresql://localhost:1/none"
    assert "it does not take -n" in project.dupe_audit("-n", "orders", "check", code=2).stderr
    assert "has no section [nope]" in project.dupe_audit("-n", "nope", "verify", code=2).stderr


@pytest.mark.parametrize("placed", ["option", "variable"])
def test_a_url_that_env_py_completes_stops_only_commands_that_need_it(project, sql, database_url, placed):
    """A sqlalchemy.url that env.py completes does no harm beside another URL; otherwise, the message helps."""
    project.init()
    start(project, sql)
    ini = project.directory / "alembic.ini"
    url = project.environment.pop("DATABASE_URL").replace("%", "%%")
    assert url in ini.read_text()
    ini.write_text(ini.read_text().replace(url, "postgresql://%(DB_USER)s@db.invalid/orders"))
    project.edit_env("config = context.config\n", "config = context.config\nconfig.set_main_option('DB_USER', 'app')\n")
    refused = project.dupe_audit("runs", code=2).stderr
    assert "sqlalchemy.url in alembic.ini refers with %(…)s to an option that the file does not define." in refused
    assert "set DATABASE_URL or give --database-url" in refused
    given = ["--database-url", database_url] if placed == "option" else []
    if placed == "variable":
        project.environment["DATABASE_URL"] = database_url
    project.dupe_audit("runs", *given)
    assert ["0002"] == [report["revision"] for report in project.reports("preflight", *given, code=1)]


def test_x_arguments_reach_env_py(project, sql):
    """An env.py that needs an -x argument is given it."""
    project.init()
    argument = "context.get_x_argument(as_dictionary=True)['tenant']"
    project.edit_env("target_metadata = None", f"target_metadata = None\n{argument}")
    sql(TABLE)
    project.revision("0001")
    project.alembic("-x", "tenant=a", "upgrade", "head")
    assert "env.py failed: KeyError: 'tenant' (env.py, line" in project.dupe_audit("verify", code=3).stderr
    assert [] == project.reports("verify", "-x", "tenant=a")


# Flask-Migrate

APP = """
import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

db = SQLAlchemy()


def create_app():
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
    db.init_app(app)
    Migrate(app, db)
    return app
"""


@pytest.mark.thorough
def test_a_project_of_flask_migrate(project, sql, server_url):
    """All three commands load the application that FLASK_APP names, as `flask db` does; without one they say so."""
    (project.directory / "shop.py").write_text(APP)
    project.environment["FLASK_APP"] = "shop"
    project._run("flask", ("db", "init"), 0)
    project.edit_env("from alembic import context\n", "from alembic import context\n\nimport dupe_audit.ops\n")
    sql(TABLE)
    project.revision("0001")
    project._run("flask", ("db", "upgrade"), 0)
    project.revision("0002", *UP)
    walk(project, lambda: project._run("flask", ("db", "upgrade"), 0))
    assert [True] == [report["ok"] for report in project.reports("-c", "migrations/alembic.ini", "verify")]

    check = ("check", "--to", "0001", "--accept", "no-way-back", "--server", server_url)
    assert "ok (1 revision" in project.dupe_audit("-c", "migrations/alembic.ini", *check).stdout

    del project.environment["FLASK_APP"]
    done = project.dupe_audit("-c", "migrations/alembic.ini", "verify", code=3)
    assert "env.py needs a Flask application, and none was found" in done.stderr
    assert "Set FLASK_APP as for `flask db`" in done.stderr


# errors of the project's own files


def refused(project, *says, code=3, server="postgresql://localhost:1/none"):
    """Require each command that loads a whole project to end with this code and these texts, without a password."""
    for command in (("preflight",), ("verify",), ("check", "--server", server)):
        done = project.dupe_audit(*command, code=code)
        assert "" == done.stdout
        assert "hunter2" not in done.stderr
        assert "UserWarning" not in done.stderr
        for text in says:
            assert text in done.stderr, command


def test_a_missing_import_is_named(project, sql):
    """A pending revision with directives, and an env.py without the import, is a finding with the line to write."""
    project.init()
    project.edit_env("import dupe_audit.ops\n", "")
    start(project, sql)
    _key, missing = project.reports("preflight", code=1)
    (finding,) = missing["findings"]
    assert ("import-missing", "error") == (finding["id"], finding["severity"])
    assert finding["help"].endswith("import dupe_audit.ops  # noqa: F401")


def test_an_import_in_the_revision_counts(project, sql):
    """A revision that imports the directives itself needs no line in env.py."""
    project.init()
    project.edit_env("import dupe_audit.ops\n", "")
    sql(TABLE)
    project.revision("0001")
    project.alembic("upgrade", "head")
    project.revision("0002", *UP, header="from dupe_audit import ops")
    walk(project, lambda: project.alembic("upgrade", "head"))


NO_EXIT = "Remove the call that ends the program: alembic itself would stop there with that exit code and do nothing."

BROKEN = {
    "syntax": ("def", "SyntaxError: invalid syntax (migrations/versions/0002.py, line 3)"),
    "import": ("import no_such_package", "No module named 'no_such_package' (migrations/versions/0002.py, line 3)"),
    "name": ("undefined", "name 'undefined' is not defined (migrations/versions/0002.py, line 3)"),
    "directive": ("op.archive_duplicates('t', ['k'])", "migrations/versions/0002.py"),
    "exit": ("raise SystemExit(0)", f"SystemExit: 0 (migrations/versions/0002.py, line 3). {NO_EXIT}"),
    "password": (
        "raise ValueError('postgresql://app:hunter2@db/orders')",
        "ValueError: postgresql://app:***@db/orders (",
    ),
}


@pytest.mark.parametrize(("header", "says"), BROKEN.values(), ids=BROKEN)
@pytest.mark.representatives("import", "exit", "password")
def test_a_revision_that_cannot_be_loaded(generic, header, says):
    """An error in a revision's module is named with file and line, without a password, and ends each command with 3."""
    generic.revision("0001")
    generic.revision("0002", header=header)
    refused(generic, says, "Error: Revision file migrations/versions/0002.py cannot be loaded: ")


def test_a_parent_that_does_not_exist(generic):
    """A down_revision that no file has is named with file and line by every command."""
    generic.revision("0001")
    generic.revision("0002", down="0000")
    refused(generic, "Error: migrations/versions/0002.py, line 5: down_revision or depends_on names revision '0000'")


def test_two_files_of_one_revision(generic):
    """Two files with one revision id are both named by every command, although Alembic only warns."""
    file = generic.revision("0001")
    (file.parent / "copy.py").write_text(file.read_text())
    refused(
        generic,
        "Error: Two files have the revision id '0001', migrations/versions/0001.py and migrations/versions/",
        "so Alembic would execute one of them or none. Give one of them another id.",
    )


def test_revisions_in_a_cycle(generic):
    """Revisions that are each other's parents are named by every command."""
    generic.revision("0001", down="0002")
    generic.revision("0002", down="0001")
    cycle = "Error: The revisions form a cycle, because they name one another as down_revision: "
    refused(generic, cycle, "migrations/versions/0001.py (line 5)")


def test_a_revision_that_names_itself(generic):
    """A revision that is its own parent is named with file and line by every command."""
    generic.revision("0001", down="0001")
    generic.revision("0002", down="0001")
    refused(
        generic, "Error: migrations/versions/0001.py, line 5: the revision names itself as its down_revision. Fix it"
    )


def no_ini(project):
    """Delete the config."""
    (project.directory / "alembic.ini").unlink()


def not_an_ini(project):
    """Write a config whose first line is not a section; it holds a password."""
    (project.directory / "alembic.ini").write_text("sqlalchemy.url = postgresql://app:hunter2@db/orders\n")


def not_a_toml(project):
    """Write a second config that is not TOML."""
    (project.directory / "pyproject.toml").write_text("[tool")


def no_location(project):
    """Remove the location of the scripts from the config."""
    ini = project.directory / "alembic.ini"
    ini.write_text(ini.read_text().replace("script_location", "script_locations"))


def no_scripts(project):
    """Rename the directory of the scripts."""
    project.scripts.rename(project.directory / "elsewhere")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_ini, "Error: The Alembic config 'alembic.ini' does not exist. Give its path with --config, or "),
        (not_an_ini, "Error: alembic.ini cannot be read: MissingSectionHeaderError, line 1. Name the Alembic config"),
        (not_a_toml, "Error: pyproject.toml cannot be read: Expected ']' at the end of a table declaration"),
        (no_location, "key found in configuration. Add script_location to its section [alembic]."),
        (no_scripts, "Error: Alembic cannot read the project of alembic.ini: Path doesn't exist: "),
        (no_scripts, ". Correct its script_location."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_config_that_cannot_be_used(generic, spoil, says):
    """A config that does not exist, cannot be read or names no scripts is wrong usage for every command."""
    generic.revision("0001")
    spoil(generic)
    refused(generic, says, code=2)


def test_two_heads_are_read(generic, server_url):
    """Two heads stop no command from reading the project; check reports them."""
    generic.revision("0001")
    generic.revision("0002")
    generic.revision("0003", down="0001")
    for command in ("preflight", "verify"):
        assert [] == generic.reports(command)
    assert "several-heads" in generic.dupe_audit("check", "--rows", "20", "--server", server_url, code=1).stdout


def test_a_project_without_a_versions_directory(generic):
    """Without a directory of revisions there is nothing to examine, which check does not report as a success."""
    generic.revision("0001")
    shutil.rmtree(generic.scripts / "versions")
    assert [] == generic.reports("preflight")
    assert "has no revision yet" in generic.dupe_audit("check", code=2).stderr


def test_a_stamp_of_another_project(project, sql):
    """A recorded revision that the project lacks is reported as belonging elsewhere."""
    project.init()
    project.revision("0001")
    sql("CREATE TABLE alembic_version (version_num text); INSERT INTO alembic_version VALUES ('beef')")
    done = project.dupe_audit("verify", code=3)
    assert "'beef'" in done.stderr
    assert "belongs to another project" in done.stderr


BROKEN_ENV = {
    "models": (
        "import json\n\njson.loads('')",
        "env.py failed: JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    ),
    "exit": ("\n\nraise SystemExit(0)", f"env.py failed: SystemExit: 0 (models.py, line 3). {NO_EXIT}"),
    "reason": ("\n\nraise SystemExit('No URL.')", "(models.py, line 3). Fix env.py until `alembic current` succeeds."),
    "setting": ("import os\n\nos.environ['NO_SUCH']", "NO_SUCH"),
}


@pytest.mark.parametrize(("module", "says"), BROKEN_ENV.values(), ids=BROKEN_ENV)
def test_an_error_in_the_models_is_named_where_it_is(generic, server_url, module, says):
    """An error in a module that env.py imports is named by every command, with that module's line."""
    generic.revision("0001")
    (generic.directory / "models.py").write_text(module)
    generic.edit_env("import dupe_audit.ops\n", "import dupe_audit.ops\nimport models\n")
    refused(generic, says, "(models.py, line 3)", server=server_url)


def test_a_role_that_may_not_read_the_version_table_is_named_the_privilege(project, sql):
    """The remedy for a missing privilege is to grant it, because nothing in env.py is wrong."""
    project.init()
    project.revision("0001")
    project.alembic("upgrade", "head")
    project.environment["PGOPTIONS"] = "-c role=pg_read_all_settings"
    errors = project.dupe_audit("preflight", code=3).stderr
    assert "permission denied for table alembic_version" in errors
    assert "have the owner grant the privilege. To read a table: GRANT SELECT ON the table TO the role." in errors
    assert "Fix env.py" not in errors


@pytest.mark.thorough
def test_a_missing_import_is_named_by_every_command(project, sql, server_url):
    """In a fresh interpreter, where nothing has imported the directives, preflight and check name the missing line."""
    project.init()
    project.edit_env("import dupe_audit.ops\n", "")
    start(project, sql)
    for module, arguments, says in (
        ("dupe_audit.cli", ("preflight",), "[import-missing]"),
        (
            "dupe_audit.cli",
            ("check", "--from", "0001", "--rows", "20", "--server", server_url),
            "env.py does not import the directives.",
        ),
        ("alembic", ("upgrade", "head"), "module 'alembic.op' has no attribute 'archive_duplicates'"),
    ):
        command = [sys.executable, "-m", module, *arguments]
        done = subprocess.run(
            command, cwd=project.directory, env=project.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        output = " ".join((done.stdout + done.stderr).split())
        assert says in output
        advice = "Write this line with the other imports of env.py: import dupe_audit.ops # noqa: F401"
        assert (module == "dupe_audit.cli") is (f"{advice} " in f"{output} ")
        assert "Fix upgrade()" not in output
