"""The list of commands is complete, and showing it imports no heavy package."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import dupe_audit.cli
from dupe_audit.cli import main
from dupe_audit.cli import progress as progress_module
from dupe_audit.cli.group import COMMANDS
from dupe_audit.postgres.patience import Throttle

HEAVY = {"alembic", "confluent_kafka", "psycopg", "rich", "sqlalchemy"}
SHARED = {"__init__", "__main__", "elements", "group", "options", "schemas", "progress", "question"}


def imported(script: str, **variables: str) -> tuple[set[str], str]:
    """Run a script in a fresh interpreter; return the heavy packages that it imported, and its output."""
    report = f"atexit.register(lambda: print(*({HEAVY!r} & sys.modules.keys()), file=sys.stderr))"
    command = [sys.executable, "-c", f"import atexit, sys; {report}; {script}"]
    completed = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    return set(completed.stderr.split()) & HEAVY, completed.stdout


def test_every_module_is_a_command():
    """Each module of the folder is a command or is shared by commands, and each command has a module."""
    modules = {path.stem for path in Path(dupe_audit.cli.__file__).parent.glob("*.py")}
    assert modules - SHARED == set(COMMANDS) == set(main.commands)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_short_help_is_that_of_the_command(name):
    """The help of the group shows each command's own short help."""
    command = main.commands[name].command
    assert name == command.name
    assert COMMANDS[name] == command.get_short_help_str(limit=1000)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_a_command_is_its_own(name):
    """The help of a command shows its own options, under the name that was typed."""
    result = CliRunner().invoke(main, [name, "--help"], prog_name="dupe-audit")
    assert 0 == result.exit_code
    assert result.output.startswith(f"Usage: dupe-audit {name} [OPTIONS]")
    assert f"Example: dupe-audit {name}" in result.output


@pytest.mark.parametrize(
    ("command", "id_", "says"),
    [
        ("preflight", "divergent-duplicates", "'divergent-duplicates' cannot be accepted. Those that can be"),
        ("verify", "rows-lost", "'rows-lost' cannot be accepted here. Those that can be accepted: run-missing."),
        ("check", "upgrade-fails", "'upgrade-fails' cannot be accepted. Those"),
        ("preflight", "blah", "'blah' is not the id of a finding. Those that can be accepted: "),
        ("check", "row-lost", "'row-lost' is not the id of a finding. Did you mean 'rows-lost'? Those that"),
    ],
)
def test_a_finding_that_cannot_be_accepted_is_refused(command, id_, says):
    """The message tells an id that does not exist from a finding that cannot be accepted, and lists those that can."""
    result = CliRunner().invoke(main, [command, "--accept", id_])
    assert 2 == result.exit_code
    assert says in result.output


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_shows_the_version(name):
    """After the name of any command, --version shows the version of the package, once in its help."""
    shown = CliRunner().invoke(main, [name, "--version"], prog_name="dupe-audit")
    assert (0, f"dupe-audit, version {version('dupe-audit')}\n") == (shown.exit_code, shown.output)
    assert 1 == CliRunner().invoke(main, [name, "--help"]).output.count("--version")


@pytest.mark.parametrize("argument", ["--help", "--version", "no-such-command"])
def test_listing_the_commands_imports_nothing_heavy(argument):
    """Help, version and a wrong name need no package beyond click."""
    assert set() == imported(f"from dupe_audit.cli import main; main([{argument!r}], 'dupe-audit')")[0]


def test_completion_of_commands_imports_nothing_heavy():
    """The shell completes the names of commands, with their short help, without a heavy import."""
    packages, output = imported(
        "from dupe_audit.cli import main; main(prog_name='dupe-audit')",
        _DUPE_AUDIT_COMPLETE="zsh_complete",
        COMP_WORDS="dupe-audit pre",
        COMP_CWORD="1",
    )
    assert set() == packages
    assert ["plain", "preflight", COMMANDS["preflight"]] == output.splitlines()


def test_completion_of_options_is_that_of_the_command():
    """After the name of a command, the shell completes that command's own options."""
    _, output = imported(
        "from dupe_audit.cli import main; main(prog_name='dupe-audit')",
        _DUPE_AUDIT_COMPLETE="zsh_complete",
        COMP_WORDS="dupe-audit preflight --show",
        COMP_CWORD="2",
    )
    assert "--show-keys" in output.splitlines()


@pytest.mark.parametrize("wanted", [False, True], ids=["quiet", "traceback"])
def test_an_unexpected_error_asks_for_its_traceback(monkeypatch, wanted):
    """An unexpected error ends with 3 and says how to get the traceback, which shows no password."""

    def fail():
        raise RuntimeError("postgresql://app:hunter2@db/orders and cret-tail are wrong")

    monkeypatch.setitem(main.commands, "fail", click.Command("fail", callback=fail))
    if wanted:
        monkeypatch.setenv("DUPE_AUDIT_TRACEBACK", "1")
    result = CliRunner().invoke(main, ["--database-url", "postgresql://app:se@cret-tail@db/orders", "fail"])
    assert result.exit_code == 3
    assert "Unexpected error: RuntimeError. Committed work is safe." in result.output
    assert wanted == ("in fail" in result.output)
    assert wanted != ("DUPE_AUDIT_TRACEBACK=1" in result.output)
    assert "hunter2" not in result.output
    assert "cret-tail" not in result.output


#: by command, the arguments that it needs besides its options
NEEDED = {"consume": ["consumer.toml"], "purge": ["1"], "restore": ["1"]}

CONSUMER = """\
[table]
name = "orders"
key = ["id"]
[columns]
id = { type = "bigint" }
[kafka]
brokers = ["localhost:9092"]
group = "g"
topics = ["orders"]
"""


def taking(option: str) -> list[str]:
    """Return the commands that take an option after their name."""
    return [name for name in COMMANDS if any(option in each.opts for each in main.commands[name].command.params)]


@pytest.mark.parametrize("placed", ["before", "after"])
@pytest.mark.parametrize(
    ("option", "name"),
    [(option, name) for option in ("--database-url", "--config") for name in taking(option)],
)
def test_an_empty_option_selects_no_other_database(tmp_path, monkeypatch, option, name, placed):
    """An unset variable in a script ends with 2, and the command never uses the database of DATABASE_URL instead."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "consumer.toml").write_text(CONSUMER)
    command, empty = [name, *NEEDED.get(name, ())], [option, ""]
    arguments = [*empty, *command] if placed == "before" else [*command, *empty]
    result = CliRunner().invoke(main, arguments, env={"DATABASE_URL": "mysql://localhost/other"})
    assert (2, f"Error: {option} is empty. Give a value, or leave the option out.\n") == (
        result.exit_code,
        result.output,
    )


@pytest.mark.parametrize("arguments", [["check", "--against", ""], ["--database-url", "", "check", "--against"]])
def test_an_empty_url_of_against_is_refused(tmp_path, monkeypatch, arguments):
    """An unset variable never makes check report on the configured database as if it were the one that was meant."""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments, env={"DATABASE_URL": "mysql://localhost/other"})
    assert result.exit_code == 2
    assert "is empty" in result.output


def test_psycopg_without_libpq_is_named(monkeypatch):
    """Where psycopg has no client library, the message says what to install."""
    environment = {**os.environ, "PSYCOPG_IMPL": "c", "DATABASE_URL": "postgresql://localhost/none"}
    command = [sys.executable, "-m", "dupe_audit.cli", "runs"]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert completed.returncode == 3
    assert "pip install 'psycopg[binary]'" in completed.stderr
    assert "Unexpected" not in completed.stderr


def test_importing_the_package_imports_nothing_heavy():
    """Importing the package needs only the standard library."""
    assert set() == imported("import dupe_audit")[0]


def test_progress_off_a_terminal_is_a_line(capsys, monkeypatch):
    """Without a terminal, progress is a plain line with thousands separators, on standard error."""
    monkeypatch.setattr(progress_module, "Throttle", lambda **_: Throttle(every=0.0))
    with progress_module.progress("restoring") as display:
        display.show("restoring", 5000, 120_000, "rows")
        display.show("round trips", 1, 2)
    assert ("", "restoring: 5,000 of 120,000 rows\nround trips: 1 of 2\n") == tuple(capsys.readouterr())


def test_progress_is_quiet_at_first(capsys):
    """Work that ends within a few seconds writes no line."""
    with progress_module.progress("restoring") as display:
        display.show("restoring", 1, 2, "rows")
    assert ("", "") == tuple(capsys.readouterr())
