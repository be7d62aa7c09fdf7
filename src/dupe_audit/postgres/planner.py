"""Planner settings, per transaction."""

from __future__ import annotations

from dupe_audit.statements import literal

#: counts and rankings trust no index, because a corrupt one hides duplicates (H43)
NO_INDEX = {"enable_indexscan": "off", "enable_indexonlyscan": "off", "enable_bitmapscan": "off"}

#: a tenth of the default, with which one process sorts; sorting in workers took a fifth less time (measured)
_WORKERS = {"parallel_tuple_cost": "0.01"}

#: for ranking the whole table and for counts; sorting beats hashing if nearly every key is its own group, and the cost
#: of disabled scans would trigger JIT, which took longer than the ranking
SEQUENTIAL = {
    **NO_INDEX,
    **_WORKERS,
    "enable_hashagg": "off",
    # Repeated values need a hash join: if the planner expects few, a nested loop searches all of them for each row.
    "enable_hashjoin": "on",
    "enable_mergejoin": "off",
    "enable_nestloop": "off",
    # Lets their hash table use 8 times work_mem, which is 32 MB by default; a larger one spills to disk with the rows.
    "hash_mem_multiplier": "8",
    "jit": "off",
}

#: for comparing the whole table with rows that were tried; the planner chooses how to join and to group
TRYING = {**NO_INDEX, **_WORKERS, "jit": "off"}

#: for a batch, which finds rows by identity; otherwise a plan can scan the table in each batch, and the cost of a
#: disabled scan would make JIT compile every statement
BATCHING = {
    "enable_seqscan": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
}

#: for the next rows of an archive, which mostly has no statistics: the planner expects few rows without a mark, and
#: would sort the whole archive for each batch
NEWEST_FIRST = {"enable_seqscan": "off", "enable_bitmapscan": "off", "enable_sort": "off"}

#: the first pass looks for both rows of a pair where the ranking saw them: cheaper than the primary key's index by a
#: third of a batch; the identity is compared too, and a pair is spared if either row has moved
WHERE_STAGED = "e.ctid = s.e_tid AND v.ctid = s.s_tid"

#: later passes find a row wherever it is now, also one that moves faster than a ranking
ANYWHERE = "true"


def ranking_settings(work_mem: str | None) -> dict[str, str]:
    """Return the settings of a ranking or a count of the whole table.

    Args:
        work_mem: memory for its sort, as PostgreSQL writes sizes; None for the server's setting.
    """
    return SEQUENTIAL | memory_setting(work_mem)


def memory_setting(work_mem: str | None) -> dict[str, str]:
    """Return the setting of the memory for a sort; none for the server's own."""
    return {"work_mem": work_mem} if work_mem else {}


def settings_sql(settings: dict[str, str]) -> str:
    """Return the names and values of settings as SQL rows, for a script."""
    return f"VALUES {', '.join(f'({literal(name)}, {literal(value)})' for name, value in settings.items())}"
