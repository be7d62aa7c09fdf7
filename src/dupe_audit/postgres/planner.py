"""What the planner is told, transaction by transaction, online and in the offline script alike."""

from __future__ import annotations

#: no index is trusted with a count or a ranking, because a corrupt one hides duplicates (H43)
_NO_INDEX = {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"}

#: a ranking of the whole table; the cost of disabled scans would have it compiled, which took longer than the ranking
RANKING = {**_NO_INDEX, "jit": "off"}

#: a count that also joins the rows of a group by ctid, which only a nested loop does well
COUNTING = {**_NO_INDEX, "enable_hashjoin": "off", "enable_mergejoin": "off", "jit": "off"}

#: a count of keys alone; sorting beats hashing where nearly every key is its own group
SEQUENTIAL = {**_NO_INDEX, "enable_hashagg": "off", "jit": "off"}

#: a batch: rows are found by identity; without these a plan can scan the table per batch, and the cost of a disabled
#: scan would make JIT compile every statement
BATCHING = {
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}

#: the first pass looks for a row where it was when it was ranked, which is cheaper than a walk through the primary
#: key's index (a third of a batch); the identity is compared all the same, and a row that moved is spared
WHERE_STAGED = "t.ctid = w.tid"

#: later passes find a row wherever it is, so that one which moves faster than a ranking is found all the same
ANYWHERE = "true"


def switched_off(settings: dict[str, str]) -> list[str]:
    """Return the names of the methods that *settings* switch off."""
    return [name for name, value in settings.items() if value == "off"]
