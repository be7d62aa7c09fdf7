"""How a check ends that is stopped, and what it leaves alone: databases, standard output."""

import json
import signal
import subprocess
import sys
import time
from subprocess import PIPE

import pytest

LEFT = "SELECT count(*) FROM pg_database WHERE datname LIKE 'dupe_audit_check_%'"
DIRECTIVE = """
op.create_unique_constraint("once", "orders", ["customer", "no"])
op.execute("SELECT pg_sleep(60)")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_check_leaves_nothing(orders, sql, number):
    """SIGTERM in the middle of a revision ends as Ctrl-C does: with 130 in a sentence, and no scratch database left."""
    orders.add("b2", DIRECTIVE)
    working = "query LIKE '%pg_sleep(60)%' AND datname LIKE 'dupe_audit_check_%' AND pid <> pg_backend_pid()"
    command = [sys.executable, "-m", "dupe_audit.cli", "check", "--server", orders.server]
    with subprocess.Popen(command, cwd=orders.directory, stdout=PIPE, stderr=PIPE, text=True) as process:
        while process.poll() is None and not sql(f"SELECT 1 FROM pg_stat_activity WHERE {working}"):
            time.sleep(0.005)
        process.send_signal(number)
        said = process.communicate(timeout=60)
    assert 130 == process.returncode, said
    assert "Traceback" not in said[1]
    assert [(0,)] == sql(LEFT)


def test_what_a_project_prints_is_not_in_the_report(orders, dupe_audit_here):
    """It goes to standard error, from a revision's module, from its functions and from env.py."""
    orders.add("b2", 'print("from upgrade")', 'print("from downgrade")', extra='print("from the module")')
    env = orders.directory / "migrations" / "env.py"
    env.write_text('print("from env.py")\n' + env.read_text())
    done = dupe_audit_here("check", "--server", orders.server, "--format", "json", "--accept", "squawk")
    assert json.loads(done.stdout)["ok"]
    told = ["from the module", "from env.py", "from upgrade", "from downgrade"]
    assert [] == [one for one in told if one not in done.stderr]


@pytest.mark.parametrize(
    ("later", "told"),
    [((), None), (("c3",), "not run for it: c3"), (("c3", "d4"), "not run for it: 2 revisions, c3 to d4")],
)
def test_an_upgrade_that_fails_tells_what_was_not_run(orders, failing, later, told):
    """It ends the walk, so it is not to be accepted in the revision, and the revisions after it are named."""
    orders.add("b2", 'op.execute("SELECT 1 FROM nothing")', extra="# dupe-audit: accept upgrade-fails, no-way-back")
    for one in later:
        orders.add(one, 'op.execute("SELECT 1")', 'op.execute("SELECT 1")')
    report = orders.check()
    assert [("upgrade-fails", "b2")] == failing(report)
    assert told is None or f"; {told}." in report.failing[0].finding.message
    assert told is not None or "not run" not in report.failing[0].finding.message


def test_an_upgrade_that_fails_cannot_be_accepted(orders, dupe_audit_here):
    """The command line refuses it, as it refuses whatever is not a finding to be accepted."""
    done = dupe_audit_here("check", "--server", orders.server, "--accept", "upgrade-fails", code=2)
    assert "upgrade-fails" in done.stderr
