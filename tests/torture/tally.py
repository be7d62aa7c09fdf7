"""Counts of everything that happened, and their table."""

from collections import Counter
from dataclasses import dataclass, field

from rich.table import Table

from torture.chaos import BETWEEN_STATEMENTS, CRASH, FREEZE, KILL, TERMINATE, Hit
from torture.invariants import INVARIANTS, Objection
from torture.waits import ROW, TABLE, Waits

CLEANUP_PHASES = ("ranking", "batch")


@dataclass
class Tally:
    """The counts of one campaign."""

    seed: int
    writers: int = 8
    server: str = ""
    seconds: float = 0.0
    cycles: int = 0
    worlds: int = 0
    partial: int = 0  #: worlds whose key is partial
    trees: int = 0  #: worlds whose table is partitioned
    arrived: int = 0  #: partitions that came meanwhile
    longest: float = 0.0  #: seconds of the longest transaction of the application in a tree
    attempts: int = 0
    resumes: int = 0  #: attempts that continued the work of a killed one
    gave_up: int = 0  #: attempts that reported that duplicates kept coming
    archived: int = 0
    restored: int = 0
    policies: Counter[str] = field(default_factory=Counter)  #: of the worlds
    changed: Counter[str] = field(default_factory=Counter)  #: rows amended, merged, changed back, and reported
    followed: int = 0  #: children pointed at a survivor
    returned: int = 0  #: children pointed back
    index_checks: int = 0
    strays: int = 0  #: children that were added without a lock on their parents
    moves: Counter[str] = field(default_factory=Counter)  #: to another database by dump and restore, by moment
    not_moved: str = ""  #: why there were none
    waits: Waits = field(default_factory=Waits)  #: of the application while a client was frozen
    application: Counter[str] = field(default_factory=Counter)
    hits: Counter[Hit] = field(default_factory=Counter)
    objections: list[Objection] = field(default_factory=list)
    mutants: dict[str, Counter[str]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)  #: mutants that were not caught

    def kills(self, *phases: str) -> int:
        """Return the number of kills in phases whose names begin like this."""
        return sum(n for hit, n in self.hits.items() if hit.kind != FREEZE and hit.phase.startswith(phases))

    @property
    def cleanup_kills(self) -> int:
        """Kills of a ranking or a batch."""
        return self.kills(*CLEANUP_PHASES)

    @property
    def builds_interrupted(self) -> int:
        """Kills of a concurrent build in any of its phases, but not after it."""
        return self.kills("build") - self.kills(f"build{BETWEEN_STATEMENTS}")

    def violations(self) -> Counter[str]:
        """Return the number of objections by invariant."""
        return Counter(objection.invariant for objection in self.objections)


def as_table(tally: Tally) -> Table:
    """Return the table of a campaign."""
    table = Table("what", "number", title=f"PostgreSQL {tally.server}, seed {tally.seed}, {tally.seconds:.0f} s")
    table.columns[1].justify = "right"
    rows: list[tuple[str, int]] = [
        ("writers", tally.writers),
        ("transactions committed", tally.application["committed"]),
        ("rolled back", tally.application["rolled back"]),
        ("refused (23505)", tally.application["refused"]),
        ("child of a row that had just left (23503)", tally.application["came too late"]),
        ("worlds", tally.worlds),
        ("of them with a partial expression key", tally.partial),
        ("of them with a partitioned table", tally.trees),
        ("partitions that came meanwhile", tally.arrived),
        ("row moved by another writer (40001)", tally.application["moved meanwhile"]),
        ("cycles, up and down", tally.cycles),
        ("attempts", tally.attempts),
        ("of them resumes", tally.resumes),
        ("of them gave up, duplicates kept coming", tally.gave_up),
        ("rows archived", tally.archived),
        ("rows restored", tally.restored),
        ("rows amended", tally.changed["amended"]),
        ("survivors that took over values", tally.changed["merged"]),
        ("of both, changed back", tally.changed["reverted"]),
        ("of both, changed by the application, and reported", tally.changed["reported"]),
        ("children that followed the survivor", tally.followed),
        ("of them pointed back", tally.returned),
        ("children added without a lock on their parent", tally.strays),
        ("checks of a valid index", tally.index_checks),
    ]
    rows[8:8] = [(f"worlds with policy {policy}", number) for policy, number in tally.policies.items()]
    for label, number in rows:
        table.add_row(label, f"{number:,}")
    if tally.trees:
        table.add_row("longest transaction of the application in a tree", f"{tally.longest:.2f} s")
    table.add_section()
    for kind in (TERMINATE, KILL, CRASH):
        table.add_row(f"kills: {kind}", str(sum(n for hit, n in tally.hits.items() if hit.kind == kind)))
    table.add_row("kills of the cleanup", str(tally.cleanup_kills))
    table.add_row("builds interrupted", str(tally.builds_interrupted))
    table.add_section()
    kills: Counter[str] = Counter()
    for hit, number in tally.hits.items():
        if hit.kind != FREEZE:
            kills[hit.phase] += number
    for phase in sorted(kills):
        table.add_row(f"kills in: {phase}", str(kills[phase]))
    table.add_section()
    _add_freezes_and_moves(table, tally)
    table.add_section()
    for invariant in INVARIANTS:
        table.add_row(f"violations: {invariant}", str(tally.violations()[invariant]))
    for mutant, violations in tally.mutants.items():
        table.add_section()
        table.add_row(f"mutant: {mutant}", "MISSED" if mutant in tally.missed else "caught")
        for invariant, number in sorted(violations.items()):
            table.add_row(f"  {invariant}", f"{number:,}")
    return table


def _add_freezes_and_moves(table: Table, tally: Tally) -> None:
    for hit in sorted((hit for hit in tally.hits if hit.kind == FREEZE), key=lambda hit: hit.phase):
        table.add_row(f"client frozen in: {hit.phase}", str(tally.hits[hit]))
    for lock in (TABLE, ROW):
        longest = tally.waits.longest.get(lock)
        table.add_row(f"longest wait behind it for {lock}", "none" if longest is None else f"{longest:.2f} s")
    if tally.not_moved:
        table.add_row("dump and restore: SKIPPED", tally.not_moved)
    for moment, number in sorted(tally.moves.items()):
        table.add_row(f"dump and restore: {moment}", str(number))
