"""Wait for standbys that replay late."""

from __future__ import annotations

from sqlalchemy import Connection

from dupe_audit.errors import Blocked
from dupe_audit.model import REPLICA_GIVE_UP_AFTER
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.patience import Patience
from dupe_audit.statements import statement


def replica_lag(connection: Connection) -> float | None:
    """Return the seconds by which the slowest standby replays late; None if this cannot be seen from here (H194).

    The readers of an Aurora cluster replay no WAL stream, so another function reports their lag.
    """
    standbys = execute(connection, statement("replica_lag")).one()
    lags = [standbys.lag]
    if standbys.aurora:
        lags.append(execute(connection, statement("reader_lag")).scalar_one())
    return max((float(lag) for lag in lags if lag is not None), default=None)


def wait_for_replicas(connection: Connection, limit: float) -> None:
    """Rest until no standby is more than *limit* seconds behind.

    Raises:
        Blocked: a standby stayed further behind for an hour.
    """
    patience = Patience(REPLICA_GIVE_UP_AFTER, pause=1.0)
    while (lag := replica_lag(connection)) is not None and lag > limit:
        if patience.exhausted:
            raise Blocked(
                f"A standby stayed {lag:.1f} s behind for {REPLICA_GIVE_UP_AFTER}. Repair replication, then run the "
                "same command again: it continues where it stopped."
            )
        patience.log("a standby is %.1f s behind (limit %.1f s); waiting for it", lag, limit)
        patience.pause()
