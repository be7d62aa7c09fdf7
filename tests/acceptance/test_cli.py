"""The commands as processes: their output and their exit codes."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from dupe_audit.cleanup import cleanup
from dupe_audit.model import CleanupRule, UniqueKey
from waiting import PATIENCE

ROOT = Path(__file__).parents[2]
NAME = "unique_action_per_correlation_timestamp"
CHECKSUM = "SELECT count(*), md5(string_agg(t::text, E'\n' ORDER BY t::text)) FROM agent_actions t"
KEY = ("-c", "correlation_id", "-c", "action_name", "-c", "created_at")


def test_preflight_json_has_the_documented_form(dupe_audit, agent_actions):
    """The JSON of preflight has the documented names and exact counts, and duplicates end with 1."""
    done = dupe_audit("preflight", "--table", "agent_actions", *KEY, "--name", NAME, "--format", "json", code=1)
    report = json.loads(done.stdout)
    findings = report.pop("findings")
    estimates = report.pop("estimates")

    assert {
        "schema": "public",
        "table": "agent_actions",
        "columns": ["correlation_id", "action_name", "created_at"],
        "elements": ["correlation_id", "action_name", "created_at"],
        "where": None,
        "constraint": NAME,
        "nulls_not_distinct": False,
        "revision": None,
        "rule": {
            "keep": "first",
            "order_by": [],
            "exact": "archive",
            "divergent": "refuse",
            "references": "refuse",
            "ignore": [],
            "set_": {},
            "merge": {},
        },
        "rows": 1060,
        "outside_rows": 0,
        "null_key_rows": 0,
        "groups": 60,
        "extras": 60,
        "affected": 120,
        "largest_group": 2,
        "exact_groups": 59,
        "divergent_groups": 1,
        "differs": {"duration_ms": 1},
        "suggestion": None,
        "references": [],
    } == report
    assert {"index_bytes", "archive_bytes", "temp_bytes"} == set(estimates)
    assert ["divergent-duplicates", "duplicates"] == [f["id"] for f in findings]
    assert {"id", "severity", "message", "help"} == set(findings[0])


def test_preflight_without_a_table_reads_the_pending_revisions(dupe_audit, agent_actions, alembic):
    """A pending key is counted by its own rule, a missing table is a finding, and after the upgrade none is pending."""
    pending = json.loads(dupe_audit("preflight", "--format", "json", code=1).stdout)
    assert [
        (NAME, 60, ["duplicates"]),
        ("unique_routing_decision_per_correlation_timestamp", None, ["table-missing"]),
        ("unique_manifest_injection_per_correlation_timestamp", None, ["table-missing"]),
    ] == [(report["constraint"], report["extras"], [f["id"] for f in report["findings"]]) for report in pending]

    alembic("upgrade", "head")
    done = dupe_audit("preflight")
    assert "No pending revision" in done.stderr


def test_preflight_changes_nothing(dupe_audit, agent_actions, sql):
    """After preflight there is no ledger and the table is as before."""
    before = sql(CHECKSUM)
    dupe_audit("preflight", "--table", "agent_actions", *KEY, code=1)

    assert (before, [(None,)]) == (sql(CHECKSUM), sql("SELECT to_regnamespace('dupe_audit')"))


def test_preflight_prints_keys_only_when_asked(dupe_audit, agent_actions):
    """Key values appear with --show-keys, and nowhere without it."""
    quiet = dupe_audit("preflight", "--table", "agent_actions", *KEY, code=1)
    with_keys = dupe_audit("preflight", "--table", "agent_actions", *KEY, "--show-keys", code=1)

    assert "2026-01-01" not in quiet.stdout + quiet.stderr
    assert "2026-01-01" in with_keys.stdout


def test_verify_before_and_after(dupe_audit, alembic, agent_actions):
    """A missing constraint is a finding and ends with 1; afterwards verify proves it and ends with 0."""
    missing = dupe_audit("verify", "--table", "agent_actions", "--name", NAME, *KEY, "--format", "json", code=1)
    report = json.loads(missing.stdout)
    assert (False, None, 60) == (report["ok"], report["index"], report["extras"])

    alembic("upgrade", "015")
    report = json.loads(dupe_audit("verify", "--table", "agent_actions", "--name", NAME, "--format", "json").stdout)
    assert (True, True, 0) == (report["ok"], report["index"]["valid"], report["extras"])
    assert {
        "id": 1,
        "rows_before": 1060,
        "archived": 60,
        "amended": 0,
        "merged": 0,
        "restored": 0,
        "reverted": 0,
    } == report["run"]
    assert ["agent_actions"] == [
        report["table"] for report in json.loads(dupe_audit("verify", "--format", "json").stdout)
    ]


def test_verify_of_an_unknown_name(dupe_audit, agent_actions):
    """A constraint that does not exist is a finding; the primary key is proposed only for a name like one."""
    done = dupe_audit("verify", "--table", "agent_actions", "--name", "nothing", code=1)

    assert "constraint-missing" in done.stdout
    assert (
        "The table has no unique constraint or index except its primary key. If an upgrade was to create nothing:"
        in (done.stdout)
    )
    done = dupe_audit("verify", "--table", "agent_actions", "--name", "agent_actions_key", code=1)
    assert "Did you mean" not in done.stdout
    done = dupe_audit("verify", "--table", "agent_actions", "--name", "agent_action_pkey", code=1)
    assert "Did you mean agent_actions_pkey?" in done.stdout


def test_verify_names_what_was_mistyped(dupe_audit, alembic, agent_actions):
    """For a mistyped name verify proposes those of the table, and a mistyped column is named as it was typed."""
    alembic("upgrade", "015")
    done = dupe_audit("verify", "--table", "agent_actions", "--name", NAME.replace("unique", "uniqe"), code=1)
    assert f"Did you mean {NAME}?" in done.stdout
    done = dupe_audit("verify", "--table", "agent_actions", "--name", "zzz", code=1)
    assert f"The unique indexes of the table: {NAME}. If an upgrade was to create zzz:" in done.stdout

    done = dupe_audit("verify", "--table", "agent_actions", "--name", "agent_actions_pkey", code=1)
    assert "probably the primary key" in done.stdout

    done = dupe_audit("verify", "--table", "agent_actions", "--name", NAME, "-c", "corelation_id", code=1)
    assert "[column-missing] public.agent_actions has no column 'corelation_id'." in done.stdout
    assert "none" not in done.stdout.lower()


@pytest.mark.parametrize("schema", [(), ("--schema", "public")])
@pytest.mark.parametrize(
    "command", [("preflight", "-c", "id"), ("verify", "--name", "uq")], ids=["preflight", "verify"]
)
def test_a_mistyped_table_is_answered_with_those_of_similar_names(dupe_audit, agent_actions, command, schema):
    """A table that does not exist is an error that proposes tables of the schema, or of the search path."""
    done = dupe_audit(*command, "--table", "agent_action", *schema, code=1)
    assert "Did you mean 'agent_actions'? Check schema and table" in " ".join(done.stdout.split())
    done = dupe_audit(*command, "--table", "agent_action", "--schema", "other", code=1)
    assert "[table-missing]" in done.stdout
    assert "Did you mean" not in done.stdout


def test_runs_shows_the_ledger(dupe_audit, alembic, agent_actions):
    """The ledger is empty at first and then has the run with its figures."""
    assert "empty" in dupe_audit("runs").stdout

    alembic("upgrade", "015")
    (run,) = json.loads(dupe_audit("runs", "--format", "json").stdout)
    assert ("enforced", 60, 0, "015") == (run["state"], run["archived"], run["restored"], run["revision"])
    assert "| 1 | public.agent_actions |" in dupe_audit("runs", "--format", "markdown").stdout


def test_restore_does_what_downgrade_does(dupe_audit, alembic, agent_actions, sql):
    """Restore drops the constraint and restores the table byte for byte; a second restore does nothing."""
    before = sql(CHECKSUM)
    alembic("upgrade", "015")

    done = dupe_audit("restore", "1", "--yes")
    assert "60 rows restored" in done.stdout
    assert f"Constraint {NAME} of public.agent_actions was dropped." in done.stderr
    assert before == sql(CHECKSUM)
    again = dupe_audit("restore", "1")
    ((finished_at,),) = sql("SELECT finished_at::text FROM dupe_audit.run")
    assert again.stdout == f"run 1: already restored at {finished_at}; nothing to do (0 rows restored)\n"
    assert "alembic stamp" not in again.stderr


def test_restore_says_nothing_of_a_constraint_that_was_gone(dupe_audit, alembic, agent_actions, sql):
    """A constraint that somebody dropped before is not reported as dropped by restore."""
    alembic("upgrade", "015")
    sql(f"ALTER TABLE agent_actions DROP CONSTRAINT {NAME}")

    done = dupe_audit("restore", "1", "--yes")
    assert "60 rows restored" in done.stdout
    assert "was dropped" not in done.stderr


@pytest.mark.thorough
def test_the_advice_of_verify_creates_a_dropped_constraint_again(dupe_audit, alembic, agent_actions, sql):
    """For an applied revision, verify does not send its user to an upgrade that Alembic would skip."""
    alembic("upgrade", "015")
    sql(f"ALTER TABLE agent_actions DROP CONSTRAINT {NAME}")
    done = dupe_audit("verify", code=1)
    assert "Alembic considers revision 015 applied, so alembic upgrade head would skip it." in done.stdout
    assert "alembic stamp, with the revision before it" in done.stdout

    alembic("stamp", "014")
    alembic("upgrade", "015")
    dupe_audit("verify")


def test_restore_without_a_terminal_needs_yes(dupe_audit, alembic, agent_actions, sql):
    """Without anybody to ask, restore changes nothing and ends with 2, and says what it would do."""
    alembic("upgrade", "015")
    done = dupe_audit("restore", "1", code=2)
    assert f"  - drop constraint {NAME} of public.agent_actions\n  - put 60 rows back" in done.stderr
    assert "add --yes" in done.stderr
    assert [(1000,)] == sql("SELECT count(*) FROM agent_actions")
    dupe_audit("verify")


@pytest.mark.parametrize(("answer", "code", "rows"), [("y", 0, 1060), ("n", 1, 1000), ("", 1, 1000)])
@pytest.mark.representatives("n-1-1000")
def test_restore_asks_on_a_terminal(alembic, agent_actions, sql, environment, answer, code, rows):
    """On a terminal restore lists the constraint and the rows, and does nothing unless the answer is yes."""
    alembic("upgrade", "015")
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "dupe_audit.cli", "restore", "1"]
    with subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env=environment, text=True
    ) as process:
        os.write(keyboard, f"{answer}\n".encode())
        _, prompt = process.communicate(timeout=PATIENCE)
    os.close(terminal)
    os.close(keyboard)
    assert code == process.returncode
    assert (
        f"  - drop constraint {NAME} of public.agent_actions\n  - put 60 rows back into public.agent_actions\n"
        in prompt
    )
    assert [(rows,)] == sql("SELECT count(*) FROM agent_actions")
    assert ("run 1 was not restored." in prompt) is (code == 1)


@pytest.mark.thorough
def test_children_are_counted_and_pointed_back(dupe_audit, agent_actions, sql, engine):
    """Preflight counts children for either rule; restore points those back that followed the survivor."""
    sql(
        "CREATE TABLE child (n int PRIMARY KEY, action uuid REFERENCES agent_actions);"
        "INSERT INTO child SELECT row_number() OVER (), id FROM agent_actions"
    )
    before = sql("SELECT * FROM child ORDER BY n")
    for rule, is_refused in ((), True), (("--references", "repoint"), False):
        done = dupe_audit("preflight", "--table", "agent_actions", *KEY, *rule, "--format", "json", code=1)
        report = json.loads(done.stdout)
        assert 60 == report["references"][0]["rows"]
        assert is_refused == ("foreign-key-references" in {finding["id"] for finding in report["findings"]})

    with engine.connect() as connection:
        key = UniqueKey(table="agent_actions", columns=KEY[1::2])
        list(cleanup(connection, key, CleanupRule(references="repoint", divergent="archive")))
    assert 60 == json.loads(dupe_audit("runs", "--format", "json").stdout)[0]["children_moved"]
    assert "60 rows restored, 60 children pointed back" in dupe_audit("restore", "1", "--yes").stdout
    assert before == sql("SELECT * FROM child ORDER BY n")


def test_purge_asks_first_h144(dupe_audit, alembic, agent_actions, sql):
    """Without an answer nothing is dropped; with --yes the archive goes and the ledger stays."""
    alembic("upgrade", "015")

    dupe_audit("purge", "1", code=2)
    assert [("dupe_audit.archive_1",)] == sql("SELECT to_regclass('dupe_audit.archive_1')::text")
    dupe_audit("purge", "1", "--yes")
    assert [(None,)] == sql("SELECT to_regclass('dupe_audit.archive_1')")
    assert [(True,)] == sql("SELECT purged_at IS NOT NULL FROM dupe_audit.run")
    dupe_audit("verify")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("preflight", "--table", "agent_actions"), 2, "Name the columns of the key"),
        (("preflight", "-c", "a"), 2, "needs --table"),
        (("verify", "--table", "agent_actions"), 2, "--name"),
        (("preflight", "--table", "x" * 64, "-c", "a"), 2, "longer than 63 bytes"),
        (("--database-url", "mysql://h/d", "runs"), 2, "The URL is for mysql; only PostgreSQL is supported"),
        (("--database-url", "postgresql://u:secret@localhost:1/d", "runs"), 3, "Cannot connect"),
        (("--database-url", "postgresql://u:sec ret@[/d", "runs"), 2, "cannot be read"),
        (("restore", "99"), 3, "no run 99"),
        (("restore", "0"), 2, "Invalid value"),
        (("nonsense",), 2, "No such command"),
        (("-c", "missing.ini", "preflight"), 2, "'missing.ini' does not exist"),
        (("-c", "missing.ini", "runs"), 2, "'missing.ini' does not exist"),
        (("runs", "--config", "missing.ini"), 2, "'missing.ini' does not exist"),
        (("--database-url", "postgresql://u:secret", "runs"), 2, "Its port is not a number from 1 to 65535."),
        (("--database-url", "postgresql://u:secret@h/d?sslmod=require", "runs"), 2, "check its spelling"),
        (("--database-url", "", "runs"), 2, "--database-url is empty"),
        (("-c", "README.md", "preflight"), 2, "README.md cannot be read: MissingSectionHeaderError, line 3. Name"),
        (("preflight", "--table", "t", "-c", "a", "--work-mem", "lots"), 2, "must be a size as PostgreSQL writes it"),
        (("--database-url", "orders", "runs"), 2, "--database-url: The database URL cannot be read."),
        (("--database-url", "service=nowhere", "runs"), 2, "The service that --database-url names cannot be used"),
        (("--database-url", "host=h password=secret of=3", "runs"), 2, "Quote a value that contains spaces"),
    ],
)
def test_errors_say_what_to_do_and_end_with_the_documented_code(dupe_audit, arguments, code, says):
    """Wrong usage ends with 2 and a failure with 3, with a message that does not contain the password."""
    done = dupe_audit(*arguments, code=code)

    assert says in done.stderr
    assert "secret" not in done.stderr
    assert "sec ret" not in done.stderr


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("postgresql://app:hun@ter2@localhost/orders", 2, "contains an unescaped @ in the user or the password"),
        ("postgresql+psycopg://app:hun@ter2@localhost:1/orders?sslmode=disable", 2, "Write it as %40"),
        ("postgresql://app:hun/ter2@localhost/orders", 2, "contains an unescaped / in the user or the password"),
        ("postgresql://app:hun/ter@2@localhost/orders", 2, "Write it as %2F"),
        ("postgresql://app:hun@ter/2@localhost/orders", 2, "Write it as %40"),
        ("postgresql://app:hun/ter?2@localhost/orders", 2, "Write it as %2F"),
        ("postgresql://app:hun:ter2@localhost:1/orders", 3, "Cannot connect"),
        ("postgresql://app:hun#ter2@localhost:1/orders", 3, "Cannot connect"),
        ("postgresql://app:hun?ter2@localhost:1/orders", 3, "Cannot connect"),
        ("postgresql://app:hun?t@er2@localhost:1/orders", 2, "Write it as %40"),
        ("postgresql://app:hun%ter2@localhost/orders", 2, "cannot be read"),
        ("postgresql://app:hun ter2@localhost:1/orders", 2, "cannot be read"),
        ("postgresql://app:hun[ter2@localhost:port/orders", 2, "Its port is not a number"),
        ("host=localhost port=1 user=app password=hun@ter2 dbname=orders", 3, "Cannot connect"),
        ("host=localhost port=1 user=app password='hun ter2 dbname=orders", 2, "cannot be read"),
    ],
)
@pytest.mark.representatives(
    "postgresql+psycopg://app:hun@ter2*",
    "postgresql://app:hun/ter@2*",
    "postgresql://app:hun#ter2*",
    "postgresql://app:hun[ter2*",
    "host=localhost port=1 user=app password='hun*",
)
def test_no_part_of_a_password_is_printed(dupe_audit, environment, url, code, says):
    """Whatever characters a password contains, and however they are misread, no part of it is printed."""
    for traceback in (False, True):
        environment |= {"DATABASE_URL": url} | ({"DUPE_AUDIT_TRACEBACK": "1"} if traceback else {})
        for command in ("runs", "verify"):
            done = dupe_audit(command, code=code)
            assert says in done.stderr
            assert "DATABASE_URL" in done.stderr
            assert not any(part in done.stdout + done.stderr for part in ("hun", "ter2", "er2"))


@pytest.mark.parametrize(
    "line",
    [
        "import psycopg; psycopg.connect(url)",
        "import sqlalchemy as sa; sa.create_engine(url).connect()",
        "import sqlalchemy as sa; sa.create_engine(url.replace('@ter', '/x@y:ter')).connect()",
        "raise ValueError(url)",
        "raise ValueError('cannot resolve ' + url.partition('@')[2])",
    ],
)
def test_env_py_prints_no_part_of_a_password(dupe_audit, environment, broken_env, line):
    """An error of env.py about its own URL shows neither the password nor the part that was mistaken for the host."""
    config = broken_env(
        "url = 'postgresql+psycopg://app:hun@ter2tail@nowhere.invalid/orders'", line.replace("(url)", "(url)")
    )
    done = dupe_audit("-c", config, "verify", code=3)
    assert "env.py failed:" in done.stderr
    assert not any(part in done.stderr for part in ("hun", "ter2tail"))


@pytest.mark.parametrize("placed", ["ini", "variable"])
def test_the_placeholder_of_alembic_init(dupe_audit, environment, tmp_path, placed):
    """The URL that `alembic init` writes is recognised, wherever it is, and the message names the place."""
    url = "driver://user:pass@localhost/dbname"
    config = tmp_path / "alembic.ini"
    config.write_text(f"[alembic]\nsqlalchemy.url = {url}\n")
    environment.pop("DATABASE_URL")
    if placed == "variable":
        environment["DATABASE_URL"] = url
    done = dupe_audit("-c", str(config), "runs", code=2)
    place = "DATABASE_URL" if placed == "variable" else f"sqlalchemy.url in {config}"
    assert f"{place} is still the placeholder that `alembic init` writes" in done.stderr


def test_no_database_named(dupe_audit, environment):
    """Without a database URL, the message names the three places to set it."""
    del environment["DATABASE_URL"]

    assert "--database-url" in dupe_audit("runs", code=2).stderr


def test_says_where_it_is_without_the_password(dupe_audit, environment):
    """Every command first prints host, database and user, without the password."""
    done = dupe_audit("runs")

    assert "database dupe_audit_test_" in done.stderr
    assert " as postgres " in done.stderr


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://postgres@/{database}?host=/nowhere,{host}&port=1,{port}",
        "postgres://postgres@/{database}?host={host}&port={port}",
        "host={host} port={port} dbname={database} user=postgres",
    ],
)
def test_every_form_of_a_url_connects_h187(dupe_audit, environment, database_url, server, form):
    """Several hosts, the short scheme and libpq's keywords reach the same database."""
    url = make_url(database_url)
    environment["DATABASE_URL"] = form.format(database=url.database, host=url.query["host"], port=url.query["port"])

    assert f"database {url.database} on" in dupe_audit("runs").stderr


@pytest.fixture
def broken_env(tmp_path):
    """Write a project whose env.py has these lines; return its Alembic config."""

    def write(*lines):
        (tmp_path / "versions").mkdir(exist_ok=True)
        (tmp_path / "env.py").write_text("\n".join(lines))
        config = tmp_path / "alembic.ini"
        config.write_text(f"[alembic]\nscript_location = {tmp_path}\n")
        return str(config)

    return write


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (
            (
                "",
                "def app():",
                "    raise RuntimeError('Working outside of application context.\\nThis means')",
                "app()",
            ),
            "RuntimeError: Working outside of application context. (env.py, line 3)",
        ),
        (("import os", "os.environ['NO_SUCH_VARIABLE']"), "KeyError: 'NO_SUCH_VARIABLE' (env.py, line 2)"),
        (
            ("import json", "", "json.loads('')"),
            "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (env.py, line 3)",
        ),
        (("if",), "SyntaxError: invalid syntax (env.py, line 1)"),
        (("raise ValueError",), "ValueError (env.py, line 1)"),
        (
            ("raise ValueError('postgresql://app:hunter2@db/orders is wrong')",),
            "ValueError: postgresql://app:***@db/orders is wrong (env.py, line 1)",
        ),
    ],
)
def test_an_error_of_env_py_is_named_with_its_line(dupe_audit, broken_env, lines, reason):
    """An env.py that fails ends the command with 3, and its error is printed with the line, without a password."""
    done = dupe_audit("-c", broken_env(*lines), "verify", code=3)
    assert f"Error: env.py failed: {reason}. Fix env.py until `alembic current` succeeds.\n" in done.stderr


def test_a_revision_that_cannot_be_loaded_is_named_with_its_line(dupe_audit, broken_env, tmp_path):
    """An error of a revision's module ends the command with 3, and names its file and line."""
    config = broken_env()
    (tmp_path / "versions" / "1.py").write_text("raise RuntimeError('not about env.py')")
    done = dupe_audit("-c", config, "verify", code=3)
    assert "versions/1.py cannot be loaded: RuntimeError: not about env.py" in done.stderr
    assert "1.py, line 1). Fix it until `alembic history` succeeds." in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize("form", ["text", "json", "markdown"])
@pytest.mark.representatives("json-latin-1")
def test_output_in_another_encoding_ends_without_a_traceback(dupe_audit, environment, agent_actions, encoding, form):
    """Where the terminal or the pipe is not UTF-8, the report is printed without the characters that it lacks."""
    environment["PYTHONIOENCODING"] = encoding
    done = dupe_audit("preflight", "--table", "agent_actions", *KEY, "--format", form, code=1)
    assert "Traceback" not in done.stderr
    assert "divergent-duplicates" in done.stdout
