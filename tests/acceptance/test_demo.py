"""The demo keeps its promises, notices a broken one, and leaves nothing behind."""

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from rich.console import Console

from dupe_audit.demo import demo
from dupe_audit.demo.story import Story
from dupe_audit.errors import WrongUsage

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
COMMAND = [sys.executable, "-m", "dupe_audit.cli", "demo", "--rows", "5000", "--extras", "200"]


@pytest.fixture
def scratch(monkeypatch) -> Iterator[Path]:
    """A temporary directory that the server's account can reach; it has to be empty afterwards."""
    path = Path(tempfile.mkdtemp(prefix="demo-", dir="/tmp"))  # short enough for a socket's path
    path.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def judged(page: str) -> dict[str, str]:
    """Return the promises on a page, each with its mark."""
    marked = [line.strip() for line in page.splitlines() if line.strip()[:1] in ("✓", "✗")]
    return {promise: line[0] for line in marked for promise in PROMISES if promise in line}


def played(extras: int = 200) -> tuple[bool, str]:
    """Play a small demo in this process; return its outcome and its page."""
    page = io.StringIO()
    all_kept = demo(rows=5000, extras=extras, console=Console(file=page, width=100))
    return all_kept, page.getvalue()


def test_demo_keeps_every_promise(scratch):
    """The command ends with 0, lists every promise as kept and each writer's wait, in plain text off a terminal."""
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "COLUMNS": "100"}
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert judged(done.stdout) == dict.fromkeys(PROMISES, "✓")
    assert "All 15 promises were kept" in done.stdout
    assert done.stdout.count("SELECT, then INSERT") == 2
    assert "\x1b" not in done.stdout
    assert list(scratch.iterdir()) == []


def test_broken_promises_are_distinguished(monkeypatch):
    """A changed row, a lost row and a long lock break exactly the three promises they concern, and the demo fails."""
    undisturbed = Story.downgrade

    def sabotage(story: Story) -> None:
        with psycopg.connect(story.conninfo) as connection:
            connection.execute("LOCK TABLE agent_actions")
            connection.execute(
                "UPDATE agent_actions SET duration_ms = duration_ms + 1 "
                "WHERE id = (SELECT id FROM agent_actions WHERE agent_name = 'agent-coder' LIMIT 1)"
            )
            connection.execute(
                "DELETE FROM agent_actions "
                "WHERE id = (SELECT id FROM agent_actions WHERE agent_name = 'demo-writer' AND duration_ms = 3 LIMIT 1)"
            )
            time.sleep(1.2)
        undisturbed(story)

    monkeypatch.setattr(Story, "downgrade", sabotage)
    all_kept, page = played()
    assert not all_kept
    assert {promise for promise, mark in judged(page).items() if mark == "✗"} == {
        "untouched rows are the same, byte for byte",
        "every row of the writers is as they left it",
        "no writer waits longer than 1,000 ms",
    }, page
    assert "3 of 15 promises were NOT kept" in page


def test_missing_constraint_is_noticed(monkeypatch):
    """Without the constraint, the demo reports that the ten inserts and the next duplicates get through."""
    undisturbed = Story.insert_at_once

    def sabotage(story: Story) -> None:
        with psycopg.connect(story.conninfo) as connection:
            connection.execute("ALTER TABLE agent_actions DROP CONSTRAINT unique_action_per_correlation_timestamp")
        undisturbed(story)

    monkeypatch.setattr(Story, "insert_at_once", sabotage)
    all_kept, page = played()
    assert not all_kept
    assert {
        "one of ten identical inserts succeeds",
        "the constraint lets no duplicate in",
    } <= {promise for promise, mark in judged(page).items() if mark == "✗"}, page


def test_failed_upgrade_ends_the_story(monkeypatch):
    """A failed upgrade is a broken promise with its reason, and no step that depends on it follows."""
    undisturbed = Story.upgrade

    def sabotage(story: Story) -> None:
        with psycopg.connect(story.conninfo) as connection:
            connection.execute("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
            connection.execute("CREATE TRIGGER keep BEFORE DELETE ON agent_actions FOR EACH ROW EXECUTE FUNCTION no()")
        undisturbed(story)

    monkeypatch.setattr(Story, "upgrade", sabotage)
    all_kept, page = played()
    assert not all_kept
    assert judged(page)["the upgrade succeeds during writes"] == "✗"
    assert "delete-trigger" in page
    assert "downgrade" not in page


def test_ctrl_c_leaves_nothing(scratch):
    """Ctrl-C in the middle stops the writers and the server, deletes its data, and ends with 130."""
    command = [*COMMAND[:-4], "--rows", "200000"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=environment,
    ) as demonstration:
        killer = threading.Timer(90, demonstration.kill)
        killer.start()
        assert demonstration.stdout
        for line in demonstration.stdout:
            if "Start the writers" in line:
                break
        os.killpg(demonstration.pid, signal.SIGINT)
        # Reads to the end: every writer has inherited stderr, so this waits for all of them to be gone.
        output = demonstration.stdout.read()
        killer.cancel()
    assert demonstration.returncode == 130, output
    assert "Traceback" not in output
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize(("rows", "extras", "writers"), [(5000, 0, 4), (5000, 2501, 4), (5000, 200, 1)])
def test_impossible_numbers_are_refused(rows, extras, writers):
    """Extras that cannot be seeded, and a single writer, which cannot race, are refused before anything starts."""
    with pytest.raises(WrongUsage):
        demo(rows=rows, extras=extras, writers=writers, console=Console(file=io.StringIO()))
