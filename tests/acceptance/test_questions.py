"""The questions of restore and purge: who can answer them, and how they end."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from launch import ended
from waiting import PATIENCE, wait_for

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "dupe_audit.cli"]
STATE = "SELECT state, purged_at IS NOT NULL, to_regclass('dupe_audit.archive_1')::text FROM dupe_audit.run"
ENFORCED = ("enforced", False, "dupe_audit.archive_1")


@pytest.mark.representatives("restore-done0")
@pytest.mark.parametrize(
    ("command", "done"),
    [("restore", ("restored", False, "dupe_audit.archive_1")), ("purge", ("enforced", True, None))],
)
def test_an_answer_from_a_pipe(alembic, agent_actions, sql, environment, command, done):
    """Either command takes its answer from a pipe: y does it, n ends with 1, and none ends with 2 and names --yes."""
    alembic("upgrade", "015")
    for answer, code, says in (
        ("", 2, "no answer on standard input. To confirm, add --yes."),
        ("perhaps\n", 2, "To confirm, add --yes."),
        ("n\n", 1, "Error: "),
    ):
        completed = subprocess.run(
            [*COMMAND, command, "1"],
            input=answer,
            capture_output=True,
            cwd=ROOT,
            env=environment,
            text=True,
            check=False,
        )
        assert code == completed.returncode, completed.stderr
        assert says in completed.stderr
        assert f"un 1 was not {command}d" in completed.stderr
        assert [ENFORCED] == sql(STATE)
    subprocess.run([*COMMAND, command, "1"], input=b"y\n", capture_output=True, cwd=ROOT, env=environment, check=True)
    assert [done] == sql(STATE)


@pytest.mark.representatives("restore")
@pytest.mark.parametrize("command", ["restore", "purge"])
def test_a_closed_standard_input(alembic, agent_actions, sql, environment, command):
    """Without any standard input, a question is wrong usage and not an unexpected error."""
    alembic("upgrade", "015")
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *COMMAND, command, "1"]
    completed = subprocess.run(closed, capture_output=True, cwd=ROOT, env=environment, text=True, check=False)
    assert (2, True) == (completed.returncode, "To confirm, add --yes." in completed.stderr), completed.stderr
    assert [ENFORCED] == sql(STATE)


def state(pid: int) -> str:
    """Return the letter of a process's state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.representatives("restore")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the state of a process is read from /proc")
@pytest.mark.parametrize("command", ["restore", "purge"])
def test_an_interrupted_question(alembic, agent_actions, sql, environment, command):
    """Ctrl-C and SIGTERM end a question on a terminal at once, with 130, and the message says that nothing changed."""
    alembic("upgrade", "015")
    for number in (signal.SIGINT, signal.SIGTERM):
        keyboard, terminal = pty.openpty()
        with subprocess.Popen(
            [*COMMAND, command, "1"], stdin=terminal, stderr=subprocess.PIPE, cwd=ROOT, env=environment
        ) as process:
            shown = b""
            while b"[y/N]:" not in shown:
                read = os.read(process.stderr.fileno(), 65536)
                assert read, shown
                shown += read
            wait_for(lambda pid=process.pid: state(pid) == "S")  # asleep until a key is pressed
            process.send_signal(number)  # what the terminal does at Ctrl-C
            assert 130 == ended(process, PATIENCE)
            message = process.stderr.read().decode()
        os.close(terminal)
        os.close(keyboard)
        assert message.lstrip(" ").startswith("\nError: Interrupted. ")
        assert "unchanged" in message or "Nothing was changed" in message
        assert "Traceback" not in message
        assert [ENFORCED] == sql(STATE)
