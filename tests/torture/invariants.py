"""The invariants: each is one query that returns a line for every violation, in one snapshot."""

from dataclasses import dataclass

import psycopg

from torture.world import HERE, NO_INDEX, World

TRUTH_OF_THE_INDEX, TRUTH_OF_THE_CLAIM = "truth of the index", "truth of the claim"
UNDISTURBED = "application undisturbed"
UNCAUSED = "no failure without a cause"

#: checked after every attempt; DEAR need the whole history, and are checked at the end of a way
OF_TREES = ("in its leaf",)  #: only where the table is partitioned
OF_OUTCOMES = ("totals agree", "as the rule says")  #: only where rows that stay in the table are changed
CHEAP = ("conservation", "children follow", TRUTH_OF_THE_CLAIM, "ledger agrees", *OF_TREES, *OF_OUTCOMES)
DEAR = ("last copy", "still a duplicate")
ALL_DONE = "all done"
INVARIANTS = ("conservation", *DEAR, TRUTH_OF_THE_INDEX, *CHEAP[1:], ALL_DONE, UNDISTURBED, UNCAUSED)


#: of a tree, the index of each leaf
CHECK_INDEX = """
SELECT bt_index_check(oid, heapallindexed => true) FROM pg_class
WHERE relkind = 'i' AND oid IN (SELECT %s::regclass UNION SELECT relid FROM pg_partition_tree(%s::regclass))
"""


@dataclass(frozen=True)
class Objection:
    """One violation."""

    invariant: str
    violation: str

    def __str__(self) -> str:
        return f"{self.invariant}: {self.violation}"


def objections(world: World, invariants: tuple[str, ...] = CHEAP + DEAR) -> list[Objection]:
    """Return every violation of the invariants, as of now."""
    violations = []
    for name in invariants:
        if (name in OF_OUTCOMES and not world.changes_rows) or (name in OF_TREES and not world.tree):
            continue
        # No count relies on an index. The planner has no statistics of the history: nested loops would take a minute,
        # and so would a list that is searched from its start for each row because it is too large to be hashed.
        options = f"{NO_INDEX} -c enable_nestloop=off -c work_mem=256MB"
        with world.connect(options=options) as connection, connection.transaction():
            # A partition that arrives takes rows of another along. A query that waits for its lock on that one has
            # already listed the partitions, and would miss those rows.
            connection.execute("LOCK TABLE tt IN ACCESS SHARE MODE")
            violations += [Objection(name, text) for (text,) in connection.execute(_query(world, name))]
    return violations


def _query(world: World, name: str) -> bytes:
    directory, file = HERE / "invariants", f"{name.replace(' ', '_')}.sql"
    of_outcomes = directory / "outcomes" / file
    return (of_outcomes if world.changes_rows and of_outcomes.exists() else directory / file).read_bytes()


def index_objections(connection: psycopg.Connection) -> list[Objection] | None:
    """Return what a valid index hides; None if it was not valid from the beginning to the end of the check.

    The connection must not use indexes. A snapshot taken while the index is valid must not have a duplicate.
    """
    state = "SELECT oid FROM unique_index WHERE valid"
    before = connection.execute(state).fetchone()
    if before is None:
        return None
    violations = []
    keys = "SELECT FROM tt WHERE key_of(k, live) IS NOT NULL GROUP BY key_of(k, live) HAVING count(*) > 1"
    groups = connection.execute(f"SELECT count(*) FROM ({keys}) AS g".encode()).fetchone()
    if groups and groups[0]:
        violations.append(Objection(TRUTH_OF_THE_INDEX, f"it is valid, and {groups[0]} keys exist more than once"))
    try:
        if connection.execute("SELECT FROM pg_extension WHERE extname = 'amcheck'").fetchone():
            connection.execute(CHECK_INDEX, before * 2)
    except psycopg.OperationalError:  # the server stopped
        raise
    except psycopg.Error as error:  # it is corrupt; or it was dropped meanwhile, and then this is not reported
        violations.append(Objection(TRUTH_OF_THE_INDEX, str(error)))
    return violations if connection.execute(state).fetchone() == before else None
