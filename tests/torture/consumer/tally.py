"""Counts of everything that happened, and their table."""

from collections import Counter
from dataclasses import dataclass, field

from rich.table import Table

from torture.consumer.invariants import INVARIANTS
from torture.invariants import Objection


@dataclass
class Tally:
    """The counts of one campaign."""

    seed: int
    server: str = ""
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    strikes: Counter[str] = field(default_factory=Counter)
    logged: Counter[str] = field(default_factory=Counter)
    kinds: set[str] = field(default_factory=set)  #: of poison that were sent
    objections: list[Objection] = field(default_factory=list)
    mutants: dict[str, Counter[str]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)  #: mutants that were not caught

    def violations(self) -> Counter[str]:
        """Return the number of objections by invariant."""
        return Counter(objection.invariant for objection in self.objections)


#: events in the consumers' logs
LOGGED = (
    "partitions",
    "database_away",
    "commit_failed",
    "dead_letters_undelivered",
    "arbiter",
    "abandoned",
    "not JSON",
)


def as_table(tally: Tally) -> Table:
    """Return the table of a campaign."""
    table = Table("what", "number", title=f"PostgreSQL {tally.server}, seed {tally.seed}, {tally.seconds:.0f} s")
    table.columns[1].justify = "right"
    for label, number in tally.counts.items():
        table.add_row(label, f"{number:,}")
    table.add_section()
    for strike, number in sorted(tally.strikes.items()):
        table.add_row(strike, str(number))
    table.add_section()
    for event in LOGGED:
        table.add_row(f"logged: {event}", f"{tally.logged[event]:,}")
    table.add_section()
    for invariant in INVARIANTS:
        table.add_row(f"violations: {invariant}", str(tally.violations()[invariant]))
    for mutant, violations in tally.mutants.items():
        table.add_section()
        table.add_row(f"mutant: {mutant}", "MISSED" if mutant in tally.missed else "caught")
        for invariant, number in sorted(violations.items()):
            table.add_row(f"  {invariant}", str(number))
    return table
