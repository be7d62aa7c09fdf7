"""``dupe-audit watch`` during a real upgrade, on a pseudo terminal, and in scripts."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import jsonschema
import pytest
from alembic import command
from alembic.config import Config

from dupe_audit import ledger
from dupe_audit.cleanup import cleanup
from dupe_audit.connect import connect
from dupe_audit.directives import worker
from dupe_audit.model import CleanupRule, UniqueKey
from dupe_audit.verify import verify_as
from dupe_audit.watch.look import look
from waiting import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]
KEY = UniqueKey(table="agent_actions", columns=("correlation_id", "action_name", "created_at"))
WATCH = [sys.executable, "-m", "dupe_audit.cli", "watch"]

NUMBER = {"type": ["number", "null"]}
TEXT = {"type": ["string", "null"]}


def exactly(**properties):
    """Return the schema of an object with these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


BLOCKER = exactly(pid=NUMBER, name=TEXT, state=TEXT, seconds=NUMBER, lock=TEXT)
RUN = exactly(
    id={"type": "integer"},
    columns={"type": "array", "items": {"type": "string"}},
    constraint=TEXT,
    state={"enum": ["cleaning", "clean", "enforced", "dropped", "restored", "failed"]},
    revision=TEXT,
    extras={"type": "integer"},
    archived={"type": "integer"},
    amended={"type": "integer"},
    merged={"type": "integer"},
    restored={"type": "integer"},
    reverted={"type": "integer"},
    outcome={"enum": ["archived", "amended", "archived or amended"]},
    purged={"type": "boolean"},
    started_at={"type": "string"},
    finished_at=TEXT,
)
ACTIVITY = exactly(
    schema={"type": "string"},
    table={"type": "string"},
    leaf=TEXT,
    run={"anyOf": [RUN, {"type": "null"}]},
    phase=TEXT,
    progress=exactly(step=TEXT, done=NUMBER, total=NUMBER, unit=TEXT, rate=NUMBER, eta=NUMBER),
    pid=NUMBER,
    hidden={"type": "boolean"},
    waiting={"type": "boolean"},
    blockers={"type": "array", "items": BLOCKER},
    stalled={"type": "boolean"},
    help=TEXT,
)
LIST = {"type": "array", "items": ACTIVITY}
VIEW = exactly(at={"type": "string"}, ledger={"type": "boolean"}, working=LIST, stalled=LIST, resting=LIST)


@pytest.fixture
def large(sql):
    """The table of revision 014 with 30,000 keys, 12,000 of them twice."""
    sql(
        "INSERT INTO agent_actions (correlation_id, agent_name, action_type, action_name, created_at) "
        "SELECT md5((i % 30000)::text)::uuid, 'agent', 'tool_call', 'Read', "
        "timestamptz '2026-01-01' + (i % 30000) * interval '1 s' FROM generate_series(1, 42000) AS i"
    )


@pytest.fixture
def beside(environment, launcher):
    """Start a program beside the test, whose output is read line by line; it is killed after the test."""
    with ExitStack() as started:

        def start(module, *arguments):
            process = Beside(launcher, module, arguments, environment)
            started.callback(process.end)
            return process

        yield start


class Beside:
    """A program and the pipes that read its output."""

    def __init__(self, launcher, module, arguments, environment):
        (out, stdout), (err, stderr) = os.pipe(), os.pipe()
        self.stdout, self.stderr = os.fdopen(out), os.fdopen(err)
        with os.fdopen(stdout, "w") as into, os.fdopen(stderr, "w") as errors:
            self.process = launcher.start(module, *arguments, cwd=ROOT, env=environment, stdout=into, stderr=errors)

    def until(self, word):
        """Return the lines that it writes, up to the first one that contains *word*."""
        lines = []
        for line in self.stdout:
            lines.append(line)
            if word in line:
                return lines
        raise AssertionError((lines, self.stderr.read()))

    def finish(self):
        """Wait for its end; return its exit code and the rest of its output and of its errors."""
        return self.process.wait(PATIENCE), self.stdout.read(), self.stderr.read()

    def end(self):
        """Kill it if it is still running."""
        self.process.kill()
        self.process.wait(PATIENCE)
        self.stdout.close()
        self.stderr.close()


@pytest.fixture
def unfinished(engine, agent_actions):
    """A cleanup that was abandoned after its first batch."""
    with engine.connect() as connection:
        batches = cleanup(connection, KEY, CleanupRule(batch_size=10, divergent="archive"))
        next(batches)
        batches.close()


GATE = """
CREATE TABLE public.gate (batches int);
INSERT INTO public.gate VALUES (0);
CREATE FUNCTION public.wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WHILE (SELECT count(*) FROM dupe_audit.batch) >= (SELECT batches FROM public.gate) LOOP
        PERFORM pg_catalog.pg_sleep(0.01);
    END LOOP;
    RETURN new;
END $$;
CREATE TRIGGER wait_at_the_gate BEFORE INSERT ON dupe_audit.batch
FOR EACH ROW EXECUTE FUNCTION public.wait_at_the_gate()
"""


@pytest.fixture
def gate(engine, sql):
    """Let a cleanup commit this many batches, and block the next one."""

    def let_through(batches):
        if not sql("SELECT to_regclass('gate')")[0][0]:
            with engine.connect() as connection:
                ledger.create(connection, "postgres")
            sql(GATE)
        sql(f"UPDATE gate SET batches = {batches}")

    return let_through


def test_an_upgrade_is_shown_from_first_batch_to_end(beside, large, gate, sql, psycopg_connect):
    """Without a terminal each change is a line: growing figures, the build's blocker, the end; then watch exits."""
    reader = psycopg_connect(application_name="report")
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT")
    watch = beside("dupe_audit.cli", "watch", "--until-done", "--interval", "0.2")
    watch.until("Nothing is running, and nothing was ever cleaned in this database.")
    gate(0)
    alembic = beside("alembic", "-x", "dupe_audit.batch_size=1000", "upgrade", "015")

    lines = []
    for batches in range(1, 5):
        gate(batches)
        wait_for(lambda number=batches: sql("SELECT count(*) FROM dupe_audit.batch") == [(number,)])
        archived = sql("SELECT sum(archived)::int FROM dupe_audit.batch")[0][0]
        lines += watch.until(f"cleaning; {archived:,} of 12,000 extras")
    gate(1_000_000)
    # The build reports the phase an instant before it waits, so the first line of the phase may name nobody.
    lines += watch.until(f"waiting for pid {reader.info.backend_pid} (report, idle in transaction, open for ")
    # Besides the reader, any session with a snapshot at that instant is counted, such as watch itself.
    assert re.search(r"building the index \(waiting for old snapshots\); \d of \d transactions waited for; ", lines[-1])
    counted = [int(n.replace(",", "")) for n in re.findall(r"cleaning; ([\d,]+) of 12,000 extras", "".join(lines))]
    assert len(set(counted)) > 3
    assert sorted(counted) == counted  # a figure is written again when only the rate has changed
    assert re.search(r"extras archived, [\d,]+ per second, about [\w ]+ left in this phase", "".join(lines))

    reader.rollback()
    assert (0, "") == alembic.finish()[:2]
    code, output, errors = watch.finish()
    assert "agent_actions: enforced by unique_action_per_correlation_timestamp; 12,000 rows archived\n" in output
    assert output.endswith("Nothing is running.\n")
    assert 0 == code
    # Only the database is named; no key value appears anywhere.
    assert re.fullmatch(r"database \w+ on \S+ as \w+ \(PostgreSQL .*\)\n", errors)
    assert "2026-01-01" not in "".join(lines) + output


@pytest.mark.thorough
def test_row_lock_holder_is_named_and_a_killed_upgrade_is_unfinished(beside, agent_actions, psycopg_connect):
    """The session that locks a row of the upgrade is named; a killed upgrade is unfinished, with exit code 1."""
    reader = psycopg_connect(application_name="report")
    reader.execute("SELECT FROM agent_actions FOR UPDATE")
    alembic = beside("alembic", "upgrade", "015")
    watch = beside("dupe_audit.cli", "watch", "--until-done", "--interval", "0.2")
    lines = watch.until("waiting for")
    assert f"cleaning; 0 of 60 extras archived; waiting for pid {reader.info.backend_pid} (report, idle" in lines[-1]
    assert "RowShareLock" in lines[-1]

    alembic.process.kill()
    code, output, _ = watch.finish()
    assert output.endswith(
        "UNFINISHED, and no session is working on it (cleaning; 0 of 60 extras archived). Run: alembic upgrade head\n"
    )
    assert 1 == code


def test_verifying_run_is_shown_as_working(agent_actions, database_url, monkeypatch):
    """While a directive verifies, no session holds the run lock, but the run is shown as working, not unfinished."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    config, views = Config(), []
    config.set_main_option("script_location", str(ROOT / "alembic"))  # the ini file would set up logging

    def look_and_verify(*arguments, **options):
        with connect(database_url) as viewer:
            views.append(look(viewer))
        return verify_as(*arguments, **options)

    monkeypatch.setattr(worker, "verify_as", look_and_verify)
    command.upgrade(config, "015")
    (view,) = views
    assert ([("agent_actions", "verifying")], ()) == (
        [(activity.table, activity.phase) for activity in view.working],
        view.stalled,
    )


def test_view_on_a_terminal_is_redrawn_until_ctrl_c(environment, unfinished):
    """On a terminal the view is redrawn at each interval, and Ctrl-C ends it with 130 and without a traceback."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*WATCH, "--interval", "0.2"],
        cwd=ROOT,
        env={**environment, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    page, pressed, deadline = "", False, time.monotonic() + PATIENCE
    try:
        while time.monotonic() < deadline and process.poll() is None:
            if select.select([controller], [], [], 0.2)[0]:
                with suppress(OSError):  # the other end is closed
                    page += os.read(controller, 65536).decode()
            if not pressed and page.count("UNFINISHED") > 2:
                pressed = True
                process.send_signal(signal.SIGINT)  # what the terminal does at Ctrl-C
        assert 130 == process.wait(PATIENCE)
    finally:
        process.kill()
        os.close(controller)
    assert "run 1, public.agent_actions (correlation_id, action_name, created_at)" in page
    assert "UNFINISHED, and no session is working on it (cleaning; 4 of 60 extras archived)" in page
    assert "Run: alembic upgrade head" in page
    assert "\x1b[?25h" in page[page.rindex("\x1b[?25l") :]  # the cursor is shown again
    assert "Traceback" not in page
    assert "Error" not in page


def test_once_reports_the_state_to_scripts(dupe_audit, alembic, unfinished):
    """--once exits with 1 if a run is unfinished and with 0 otherwise; its JSON has the same form in both cases."""
    view = json.loads(dupe_audit("watch", "--once", "--format", "json", code=1).stdout)
    jsonschema.validate(view, VIEW)
    assert ([], [(1, True)]) == (
        view["working"],
        [(activity["run"]["id"], activity["stalled"]) for activity in view["stalled"]],
    )

    alembic("upgrade", "015")
    view = json.loads(dupe_audit("watch", "--once", "--format", "json").stdout)
    jsonschema.validate(view, VIEW)
    assert ([], [], "enforced") == (view["working"], view["stalled"], view["resting"][0]["run"]["state"])


def test_exit_codes_of_watch(dupe_audit):
    """--once exits with 0 if nothing was ever cleaned, with 3 without a server; JSON without --once exits with 2."""
    assert "nothing was ever cleaned" in dupe_audit("watch", "--once").stdout
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    assert "Cannot connect" in dupe_audit("watch", "--database-url", nowhere, code=3).stderr
    assert "needs --once" in dupe_audit("watch", "--format", "json", code=2).stderr
