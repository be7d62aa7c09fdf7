"""The demo keeps its promises, reports a broken one, and leaves nothing behind."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from rich.console import Console

from conftest import conninfo
from dupe_audit.demo import demo, ending, seed, story, traffic, writers
from dupe_audit.demo.screen import Screen
from dupe_audit.demo.story import Story
from dupe_audit.errors import WrongUsage
from waiting import PATIENCE, wait_for

PROMISES = [
    "preflight counts exactly what was seeded",
    "duplicates are the only obstacle",
    "preflight counts correctly during writes",
    "the upgrade succeeds during writes",
    "verify proves the constraint",
    "every extra is archived, every key keeps one row",
    "one of ten identical inserts succeeds",
    "the constraint lets no duplicate in",
    "the downgrade succeeds during writes",
    "every archived row is restored",
    "untouched rows are the same, byte for byte",
    "every row of the writers is as they left it",
    "the old writers did race",
    "no writer sees an unexpected error",
    "no writer waits longer than 1,000 ms",
]
SMALL = ["demo", "--rows", "5000", "--extras", "200"]

#: the command with bounds for a slow machine, on which a writer may wait longer for a processor than for a lock
PATIENT = (
    "from dupe_audit.cli import main; from dupe_audit.demo import ending, story; "
    f"ending.BOUND_MS, story.PATIENCE = 60_000, {PATIENCE}; main()"
)


@pytest.fixture
def scratch(monkeypatch) -> Iterator[Path]:
    """A temporary directory that the server's account can reach; it must be empty afterwards."""
    path = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))  # short enough for a socket's path
    path.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def judged(page: str) -> dict[str, str]:
    """Return the promises on a page with their marks."""
    marked = [line.strip() for line in page.splitlines() if line.strip()[:1] in ("✓", "✗")]
    return {promise: line[0] for line in marked for promise in PROMISES if promise in line}


@pytest.fixture
def run_demo(monkeypatch):
    """Run a small demo in this process, with frequent redeliveries; return its outcome and its page."""
    monkeypatch.setattr(writers, "CYCLE", 20)
    monkeypatch.setattr(story, "PATIENCE", PATIENCE)

    def run() -> tuple[bool, str]:
        page = io.StringIO()
        all_kept = demo(rows=5000, extras=200, console=Console(file=page, width=100))
        return all_kept, page.getvalue()

    return run


@pytest.mark.thorough
def test_demo_keeps_every_promise(scratch):
    """The command ends with 0 and lists every promise as kept, in plain text if the output is not a terminal."""
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "100"}
    command = [sys.executable, "-c", PATIENT, *SMALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert judged(done.stdout.replace("60,000 ms", "1,000 ms")) == dict.fromkeys(PROMISES, "✓")
    assert "All 15 promises were kept" in done.stdout
    assert done.stdout.count("SELECT, then INSERT") == 2
    assert "\x1b" not in done.stdout
    assert list(scratch.iterdir()) == []


def test_old_writers_race_before_the_constraint(monkeypatch, database_url, conn, sql):
    """The demo waits until two old writers have inserted the same event, and a new writer's copies do not suffice."""
    sql("CREATE TABLE agent_actions (agent_name text, correlation_id int, action_name text, created_at int)")
    answers, undisturbed = [], seed.count_raced_events

    def deliver():
        sql("INSERT INTO agent_actions VALUES ('demo-writer', 7, 'Bash', 7)")

    def ask(connection, new):
        answers.append(undisturbed(connection, new))
        deliver()  # by the other old writer, which was slow
        return answers[-1]

    def begin():
        deliver()  # by the new writer
        deliver()  # by an old one

    monkeypatch.setattr(seed, "count_raced_events", ask)
    monkeypatch.setattr(story, "PATIENCE", PATIENCE)
    page = io.StringIO()
    played = Story(Screen(Console(file=page)), conn.engine, conn, conninfo(database_url), seed.expected(5000, 200))
    played.start_writers(SimpleNamespace(new=1, begin=begin))
    assert [0, 1] == answers
    assert "3 duplicates so far" in page.getvalue()


@pytest.mark.parametrize(("longest", "kept"), [(0.9, True), (1.0, True), (1.1, False)])
def test_the_slowest_writer_is_judged(longest, kept):
    """The promise about waits is judged by the slowest writer, and names the step in which it waited."""
    screen = Screen(Console(file=io.StringIO()))
    reports = [traffic.Report(kind="old", longest=0.1), traffic.Report(kind="new", longest=longest, longest_at=1.0)]
    ending._judge_waits(screen, reports)
    assert [(PROMISES[-1], kept, f"{longest * 1000:,.0f} ms, in step 0")] == [
        (promise.text, promise.kept, promise.measured) for promise in screen.promises
    ]


WAITED = (
    "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'demo writer%' AND wait_event_type = 'Lock' "
    "AND clock_timestamp() - query_start > interval '1.1 s'"
)


@pytest.mark.thorough
def test_broken_promises_are_distinguished(monkeypatch, run_demo):
    """A changed row, a lost row and a long lock break exactly the three promises they concern, and the demo fails."""
    undisturbed = Story.downgrade

    def sabotage(self: Story) -> None:
        with psycopg.connect(self.conninfo) as connection:
            connection.execute("LOCK TABLE agent_actions")
            connection.execute(
                "UPDATE agent_actions SET duration_ms = duration_ms + 1 "
                "WHERE id = (SELECT id FROM agent_actions WHERE agent_name = 'agent-coder' LIMIT 1)"
            )
            connection.execute(
                "DELETE FROM agent_actions "
                "WHERE id = (SELECT id FROM agent_actions WHERE agent_name = 'demo-writer' AND duration_ms = 3 LIMIT 1)"
            )
            with psycopg.connect(self.conninfo, autocommit=True) as observer:
                wait_for(lambda: observer.execute(WAITED).fetchone())
        undisturbed(self)

    monkeypatch.setattr(Story, "downgrade", sabotage)
    kept, page = run_demo()
    assert not kept
    assert {promise for promise, mark in judged(page).items() if mark == "✗"} == {
        "untouched rows are the same, byte for byte",
        "every row of the writers is as they left it",
        "no writer waits longer than 1,000 ms",
    }, page
    assert "3 of 15 promises were NOT kept" in page


@pytest.mark.thorough
def test_missing_constraint_is_reported(monkeypatch, run_demo):
    """Without the constraint, the demo reports that the ten inserts and the next duplicates get through."""
    undisturbed = Story.insert_at_once

    def sabotage(self: Story) -> None:
        with psycopg.connect(self.conninfo) as connection:
            connection.execute("ALTER TABLE agent_actions DROP CONSTRAINT unique_action_per_correlation_timestamp")
        undisturbed(self)

    monkeypatch.setattr(Story, "insert_at_once", sabotage)
    kept, page = run_demo()
    assert not kept
    assert {
        "one of ten identical inserts succeeds",
        "the constraint lets no duplicate in",
    } <= {promise for promise, mark in judged(page).items() if mark == "✗"}, page


@pytest.mark.thorough
def test_failed_upgrade_ends_the_demo(monkeypatch, run_demo):
    """A failed upgrade is a broken promise with its reason, and no step that depends on it follows."""
    undisturbed = Story.upgrade

    def sabotage(self: Story) -> None:
        with psycopg.connect(self.conninfo) as connection:
            connection.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
            connection.execute("CREATE TRIGGER keep BEFORE DELETE ON agent_actions FOR EACH ROW EXECUTE FUNCTION no()")
        undisturbed(self)

    monkeypatch.setattr(Story, "upgrade", sabotage)
    kept, page = run_demo()
    assert not kept
    assert judged(page)["the upgrade succeeds during writes"] == "✗"
    assert "delete-trigger" in page
    assert "downgrade" not in page


NEVER_BUILT = """
CREATE FUNCTION sleep() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_query() ~ 'UNIQUE' THEN
        PERFORM pg_sleep(600);
    END IF;
END $$;
CREATE EVENT TRIGGER sleep ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION sleep()
"""


@pytest.mark.thorough
def test_ctrl_c_leaves_nothing(scratch):
    """Ctrl-C in the middle stops the writers and the server, deletes the data, and ends with 130."""
    command = [sys.executable, "-m", "dupe_audit.cli", *SMALL]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment,
    ) as demonstration:
        killer = threading.Timer(PATIENCE, demonstration.kill)
        killer.start()

        def reached() -> psycopg.Connection | None:
            for socket in scratch.glob("*/.s.PGSQL.5432"):
                with contextlib.suppress(psycopg.OperationalError):
                    return psycopg.connect(host=str(socket.parent), user="postgres", autocommit=True)
            return None

        with wait_for(reached) as connection:
            connection.execute(NEVER_BUILT)  # so that the demo cannot finish before Ctrl-C
        assert demonstration.stdout
        for line in demonstration.stdout:
            if "Start the writers" in line:
                break
        os.killpg(demonstration.pid, signal.SIGINT)
        # Read to the end: every writer has inherited stderr, so this waits until all of them have ended.
        output = demonstration.stdout.read()
        killer.cancel()
    assert demonstration.returncode == 130, output
    assert "Traceback" not in output
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(("rows", "extras", "writers"), [(5000, 0, 4), (5000, 2501, 4), (5000, 200, 1)])
def test_impossible_numbers_are_refused(rows, extras, writers):
    """Impossible numbers of extras, and a single writer, which cannot race, are refused before anything starts."""
    with pytest.raises(WrongUsage):
        demo(rows=rows, extras=extras, writers=writers, console=Console(file=io.StringIO()))
