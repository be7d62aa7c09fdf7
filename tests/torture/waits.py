"""How long the application waits for locks behind a program whose client is frozen, as the server measures it."""

import time
from dataclasses import dataclass, field

import psycopg

from torture.world import World

#: what the first in a queue of the application waits for; others wait for a row that this one has locked
TABLE, ROW = "a lock on a table", "a lock on a row"

LOOK = """
WITH RECURSIVE waiting AS MATERIALIZED (
    SELECT a.pid, pg_blocking_pids(a.pid) AS blockers, l.locktype,
           extract(epoch FROM clock_timestamp() - l.waitstart)::float8 AS seconds
    FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted
    WHERE a.application_name = 'torture application' AND a.datname = current_database() AND l.waitstart IS NOT NULL
), behind AS (
    SELECT w.pid, w.seconds,
           CASE WHEN w.locktype = 'relation' THEN 'a lock on a table' ELSE 'a lock on a row' END AS lock
    FROM waiting w
    WHERE EXISTS (SELECT FROM pg_stat_activity p WHERE p.pid = ANY (w.blockers) AND p.application_name = %s)
    UNION
    SELECT w.pid, w.seconds, b.lock FROM waiting w JOIN behind b ON b.pid = ANY (w.blockers)
)
SELECT lock, max(seconds) FROM behind GROUP BY lock
"""

#: seconds between two looks, so the longest wait is longer than reported by less than this
INTERVAL = 0.02


@dataclass
class Waits:
    """The longest wait for each kind of lock, in seconds."""

    longest: dict[str, float] = field(default_factory=dict)

    def watch(self, world: World, program: str, seconds: float) -> None:
        """Look at the application for some seconds, while the program of that application name is frozen."""
        until = time.monotonic() + seconds
        with world.connect() as connection:
            while time.monotonic() < until:
                self.look(connection, program)
                time.sleep(INTERVAL)

    def look(self, connection: psycopg.Connection, program: str) -> None:
        """Look once."""
        for lock, waited in connection.execute(LOOK, (program,)):
            self.longest[lock] = max(waited, self.longest.get(lock, 0.0))

    def add(self, other: "Waits") -> None:
        """Include the waits of another watch."""
        for lock, waited in other.longest.items():
            self.longest[lock] = max(waited, self.longest.get(lock, 0.0))
