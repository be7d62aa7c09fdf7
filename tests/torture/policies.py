"""What becomes of the extras in a world: they are archived, their values are merged, or they are changed."""

from collections.abc import Mapping

from dupe_audit.model import Change, CleanupRule, Merge

ARCHIVE, MERGE, AMEND, MIXED = "archive", "merge", "amend", "mixed"
POLICIES = (ARCHIVE, MERGE, AMEND, MIXED)

#: what the survivor takes over
MERGED = {"hits": "sum", "seen": "max"}

#: columns in which copies may differ, where only copies are archived
COUNTERS = tuple(MERGED)

#: depends on the row itself as well as on its survivor, so that a value of another state shows
STATUS = "'copy of ' || survivor.id || ', was ' || left(status, 40)"


def new_values(*, partial: bool) -> Mapping[str, str]:
    """Return the columns that an amended row gets, as SQL: a new key, or none because the row is not live any more."""
    out_of_the_key = {"live": "false"} if partial else {"k": "k || '-' || duplicate.number"}
    return {**out_of_the_key, "status": STATUS}


def rule(policy: str, batch_size: int, *, partial: bool) -> CleanupRule:
    """Return the rule that the revision of a policy has."""
    changes = tuple(Change(column, sql) for column, sql in new_values(partial=partial).items())
    if policy == AMEND:
        return CleanupRule(exact="amend", divergent="amend", changes=changes, batch_size=batch_size)
    if policy == MIXED:
        return CleanupRule(
            divergent="amend", changes=changes, ignore=COUNTERS, references="repoint", batch_size=batch_size
        )
    merges = tuple(Merge(column, how) for column, how in MERGED.items()) if policy == MERGE else ()
    return CleanupRule(divergent="archive", references="repoint", merges=merges, batch_size=batch_size)
