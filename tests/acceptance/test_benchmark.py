"""`make bench` measures a tiny table, and prints, keeps and draws the results."""

import json
import math
import os
import queue
import shutil
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from migration.table import KEY, GroupedRow, conninfo, fill, grouped_rows
from migration.ways import alembic
from migration.writers import RATE, Account, Task, work

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "costs.md"


@pytest.mark.thorough
@pytest.mark.slow
def test_the_benchmark_measures_every_way(tmp_path, pg_bin):
    """Every way finishes beside the writers, its steps add up to its wall time, and the page gets new figures."""
    page = shutil.copy(PAGE, tmp_path / "costs.md")
    options = ["--rows", "2000", "--repeat", "1", "--output", tmp_path / "results.json", "--plot"]
    options += ["--pictures", tmp_path, "--page", page, *(["--bin", pg_bin] if pg_bin else [])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), *sys.path])}
    command = [sys.executable, "-m", "migration", *map(str, options)]

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stderr
    (size,) = json.loads((tmp_path / "results.json").read_text())["sizes"]
    assert [run["way"] for run in size["runs"]] == ["a", "b", "b*", "c"]
    assert all(math.isclose(sum(run["steps"].values()), run["wall"]) for run in size["runs"])
    assert all(run["wal"] > 0 and any(run["waits"].values()) for run in size["runs"])
    this = size["runs"][-1]
    assert {"rank", "lock", "move", "build", "attach", "proof", "counts", "commit"} <= this["steps"].keys()
    assert (size["queries"][0]["preflight"], size["restores"][0]["restore"]) > (0, 0)
    assert (tmp_path / "costs-wall-time.svg").exists()
    assert (tmp_path / "costs-waits.svg").exists()
    assert "| 2,000 | (a) original | " in Path(page).read_text()
    assert "earlier form of this benchmark" not in Path(page).read_text()


class Turns:
    """A stop time that a writer reaches after a number of writes."""

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def value(self) -> float:
        """Return infinity once per write, then a time in the past."""
        self._number -= 1
        return math.inf if self._number >= 0 else -math.inf


def accounts_of(database_url: str, profile: str, rows: list[GroupedRow], number: int) -> Account:
    """Let one writer write this number of times, in this process, and return its account."""
    inbox: queue.Queue[list[GroupedRow]] = queue.Queue()
    accounts: queue.Queue[Account] = queue.Queue()
    inbox.put(rows)
    work(Task(conninfo(database_url), profile, 0, 1), inbox, threading.Barrier(1), Turns(number), [math.inf], accounts)
    return accounts.get_nowait()


@pytest.mark.parametrize("profile", ["own", "grouped", "repeated"])
def test_a_wait_counts_from_when_the_write_was_due(database_url, profile):
    """However long a write takes, the next one is due at the fixed rate, and no write that is due is left out."""
    alembic(database_url, "014")
    fill(database_url, 200, 1)
    account = accounts_of(database_url, profile, grouped_rows(database_url, 200, 1), 6)
    assert (account.error, len(account.times)) == (None, 6)
    dues = [due for due, _ in account.times]
    assert [later - due for due, later in pairwise(dues)] == pytest.approx([1 / RATE] * 5)
    assert all(ended > due for due, ended in account.times)


def test_a_writer_reports_the_error_that_ends_it(database_url):
    """An unexpected error is reported with its code and message, so that the benchmark ends without figures."""
    account = accounts_of(database_url, "own", [], 6)
    assert account.error == '42P01 relation "agent_actions" does not exist'


def test_the_same_seed_draws_the_same_rows(database_url):
    """Rows and chosen rows of groups depend on the seed alone, and one row in twenty is an extra."""
    alembic(database_url, "014")
    drawn = []
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:
        for seed in (1, 1, 2):
            connection.execute("TRUNCATE agent_actions")
            fill(database_url, 2000, seed)
            digest = connection.execute("SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM agent_actions AS t")
            drawn.append((digest.fetchone(), grouped_rows(database_url, 2000, seed)))
        counted = connection.execute(f"SELECT count(*), count(DISTINCT ({KEY})) FROM agent_actions").fetchone()
    assert counted == (2000, 1900)
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0]
    assert {row.id for row in drawn[0][1]}.isdisjoint(row.id for row in drawn[2][1])
