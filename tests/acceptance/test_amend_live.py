"""The contract's example, a soft delete by a partial key over an expression, while writers add duplicates."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import errors

from alembic_project import ENVIRONMENT, LONGER_WINDOW, Project
from conftest import Sql, conninfo
from launch import Launcher
from waiting import wait_for

UP = """
op.amend_duplicates("users", [sa.text("lower(email)")], set_={"deleted_at": sa.text("now()")},
                    where="deleted_at IS NULL", order_by=[sa.text("last_login DESC NULLS LAST"), "id"])
op.create_unique_index_online("ux_users_email", "users", [sa.text("lower(email)")], where="deleted_at IS NULL",
                              lock_timeout="20s")
"""
DOWN = """
op.drop_unique_index_online("ux_users_email", "users")
op.restore_duplicates("users", [sa.text("lower(email)")], where="deleted_at IS NULL")
"""
ROWS = """
CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text, last_login timestamptz,
                    deleted_at timestamptz);
INSERT INTO users (email, last_login)
SELECT CASE n % 2 WHEN 0 THEN 'Person' ELSE 'person' END || n % 1500 || '@x',
       timestamptz '2026-01-01' + n * interval '1 min'
FROM generate_series(1, 3000) AS n
"""
EXTRAS = """
SELECT coalesce(sum(n - 1), 0)
FROM (SELECT count(*) AS n FROM users WHERE deleted_at IS NULL GROUP BY lower(email)) AS person
"""


class Writers:
    """Two sessions that sign people up, in whatever case of letters, and count what was accepted and rejected."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.inserted = 0
        self.rejected = 0
        self.errors: list[BaseException] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def work(self, seed: int) -> None:
        """Insert until stopped."""
        choice = random.Random(seed)  # noqa: S311 - not for cryptography
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self._stop.is_set():
                    email = choice.choice(["person", "PERSON"]) + f"{choice.randrange(1500)}@x"
                    try:
                        connection.execute("INSERT INTO users (email, last_login) VALUES (%s, now())", [email])
                        accepted = True
                    except errors.UniqueViolation:
                        accepted = False
                    with self._lock:
                        self.inserted += accepted
                        self.rejected += not accepted
                    self._stop.wait(0.02)
        except BaseException as error:  # noqa: BLE001 - the test reports it
            self.errors.append(error)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work in two threads during the block, from the first accepted row on."""
        self._stop.clear()
        threads = [threading.Thread(target=self.work, args=[seed]) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        try:
            before = self.inserted + self.rejected
            wait_for(lambda: self.errors or self.inserted + self.rejected > before)
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()


@pytest.mark.thorough
def test_contract_example_up_down_and_up_under_live_writers(
    tmp_path: Path, database_url: str, launcher: Launcher, sql: Sql
) -> None:
    """The key holds after each upgrade, no writer meets another error, and the downgrade leaves nobody deleted."""
    sql(ROWS)
    project = Project(tmp_path, database_url, launcher)
    project.env(LONGER_WINDOW + ENVIRONMENT)
    project.revision("0002", "0001", UP, DOWN)
    writers = Writers(conninfo(database_url))
    with writers.working():
        for _ in range(2):
            code, output = project.run("upgrade", "head")
            assert code == 0, output
            wait_for(lambda rejected=writers.rejected: writers.rejected > rejected or writers.errors)
            assert sql(EXTRAS) == [(0,)]
            code, output = project.run("downgrade", "-1")
            assert code == 0, output
            assert sql("SELECT count(*) FROM users WHERE deleted_at IS NOT NULL") == [(0,)]
    assert writers.errors == []
    assert sql("SELECT count(*) FROM users") == [(3000 + writers.inserted,)]
    runs = sql("SELECT state, amended > 1499, amended = reverted, archived FROM dupe_audit.run ORDER BY id")
    assert runs == [("restored", True, True, 0), ("restored", True, True, 0)]
