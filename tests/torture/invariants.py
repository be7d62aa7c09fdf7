"""What must hold: each invariant is one query that returns a line for every violation, in one snapshot."""

from dataclasses import dataclass

import psycopg
from psycopg.errors import DataCorrupted, IndexCorrupted

from torture.world import HERE, NO_INDEX, World

TRUTH_OF_THE_INDEX = "truth of the index"
UNDISTURBED = "application undisturbed"
UNCAUSED = "no failure without a cause"

#: asked after every attempt; the others need the whole history, and are asked at the end of a way
CHEAP = ("conservation", "truth of the claim", "ledger agrees")
DEAR = ("last copy", "still a duplicate")
ALL_DONE = "all done"
INVARIANTS = ("conservation", *DEAR, TRUTH_OF_THE_INDEX, *CHEAP[1:], ALL_DONE, UNDISTURBED, UNCAUSED)


@dataclass(frozen=True)
class Objection:
    """One violation."""

    invariant: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.what}"


def objections(world: World, invariants: tuple[str, ...] = CHEAP + DEAR) -> list[Objection]:
    """Return every violation of the invariants, as of now."""
    found = []
    for name in invariants:
        # No index is trusted with a count. And the planner knows nothing of the history: loops would take a minute.
        with world.connect(options=f"{NO_INDEX} -c enable_nestloop=off") as connection:
            query = (HERE / "invariants" / f"{name.replace(' ', '_')}.sql").read_bytes()
            found += [Objection(name, what) for (what,) in connection.execute(query)]
    return found


def index_objections(connection: psycopg.Connection) -> list[Objection] | None:
    """Return what a valid index hides; None where it was not valid from the beginning to the end of the check.

    The connection must not trust indexes. A snapshot taken after validity was seen must hold no duplicate.
    """
    state = "SELECT oid FROM unique_index WHERE valid"
    before = connection.execute(state).fetchone()
    if before is None:
        return None
    found = []
    groups = connection.execute("SELECT count(*) FROM (SELECT FROM tt GROUP BY k HAVING count(*) > 1) AS g").fetchone()
    if groups and groups[0]:
        found.append(Objection(TRUTH_OF_THE_INDEX, f"it is valid, and {groups[0]} keys are there more than once"))
    try:
        if connection.execute("SELECT FROM pg_extension WHERE extname = 'amcheck'").fetchone():
            connection.execute(f"SELECT bt_index_check({before[0]}::regclass, heapallindexed => true)".encode())
    except (DataCorrupted, IndexCorrupted) as error:
        found.append(Objection(TRUTH_OF_THE_INDEX, str(error)))
    except psycopg.errors.Error as error:
        if error.sqlstate not in ("42704", "42P01", "XX000"):  # it was dropped meanwhile
            raise
    return found if connection.execute(state).fetchone() == before else None
