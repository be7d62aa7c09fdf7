"""How a check ends if it is stopped, and what it does not disturb: databases, standard output."""

import json
import signal
import subprocess
import sys
from subprocess import PIPE

import pytest

from waiting import PATIENCE, wait_for

LEFT = "SELECT count(*) FROM pg_database WHERE datname LIKE 'dupe_audit_check_%'"
DIRECTIVE = """
op.create_unique_constraint("once", "orders", ["customer", "no"])
op.execute("SELECT pg_sleep(600)")
"""


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_check_leaves_nothing(orders, sql, number):
    """SIGTERM in the middle of a revision ends like Ctrl-C: exit code 130, no traceback and no scratch database."""
    orders.add("b2", DIRECTIVE)
    working = "query LIKE '%pg_sleep(600)%' AND datname LIKE 'dupe_audit_check_%' AND pid <> pg_backend_pid()"
    command = [sys.executable, "-m", "dupe_audit.cli", "check", "--server", orders.server]
    with subprocess.Popen(command, cwd=orders.directory, stdout=PIPE, stderr=PIPE, text=True) as process:
        wait_for(lambda: process.poll() is not None or sql(f"SELECT 1 FROM pg_stat_activity WHERE {working}"))
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE)
    assert 130 == process.returncode, (output, errors)
    assert "Traceback" not in errors
    assert [(0,)] == sql(LEFT)


def test_what_a_project_prints_is_not_in_the_report(orders, dupe_audit_here):
    """The output of a revision's module, of its functions and of env.py goes to standard error."""
    orders.add("b2", 'print("from upgrade")', 'print("from downgrade")', extra='print("from the module")')
    env = orders.directory / "migrations" / "env.py"
    env.write_text('print("from env.py")\n' + env.read_text())
    done = dupe_audit_here("check", "--server", orders.server, "--format", "json")
    assert json.loads(done.stdout)["ok"]
    outputs = ["from the module", "from env.py", "from upgrade", "from downgrade"]
    assert [] == [output for output in outputs if output not in done.stderr]


@pytest.mark.parametrize(
    ("later", "skipped"),
    [
        ((), None),
        (("c3",), "Skipped because of it: c3"),
        (("c3", "d4"), "Skipped because of it: 2 revisions, c3 to d4"),
    ],
)
@pytest.mark.representatives("later2*")
def test_a_failed_upgrade_names_the_skipped_revisions(orders, failing, later, skipped):
    """It ends the check of revisions, so it cannot be accepted in the revision, and the later revisions are named."""
    orders.add("b2", 'op.execute("SELECT 1 FROM nothing")', extra="# dupe-audit: accept upgrade-fails, no-way-back")
    for id_ in later:
        orders.add(id_, 'op.execute("SELECT 1")', 'op.execute("SELECT 1")')
    report = orders.check()
    assert [("upgrade-fails", "b2")] == failing(report)
    assert skipped is None or f". {skipped}." in report.failing[0].finding.message
    assert skipped is not None or "kipped" not in report.failing[0].finding.message


def test_a_refusal_gives_each_reason_once(orders):
    """What stops several directives of a revision is printed once."""
    key = '("nothing", ["customer", "no"])'
    build = 'op.create_unique_constraint_online("once", "nothing", ["customer", "no"])'
    orders.add("b2", f"op.archive_duplicates{key}\n{build}", f"op.restore_duplicates{key}")
    orders.add("c3", 'op.execute("SELECT 1")', 'op.execute("SELECT 1")')
    message = orders.check().failing[0].finding.message
    assert 1 == message.count("There is no table"), message
    assert ". Skipped because of it: c3." in message


def test_an_upgrade_that_fails_cannot_be_accepted(orders, dupe_audit_here):
    """The command line refuses it, like any id that is not an acceptable finding."""
    done = dupe_audit_here("check", "--server", orders.server, "--accept", "upgrade-fails", code=2)
    assert "upgrade-fails" in done.stderr
