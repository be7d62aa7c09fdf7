"""What a restore works with, and how a part of the archive that fails is divided until the row that fails is alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import DBAPIError

from dupe_audit import citus, ledger
from dupe_audit.model import Run
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.locking import undisturbed
from dupe_audit.postgres.sqlstates import about_a_row, reason, sqlstate
from dupe_audit.postgres.work import Work
from dupe_audit.statements import literal, statement


class RowsDiffer(Exception):
    """What arrived in the table is not what the archive holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreWork(Work):
    """What the restore of one run works with."""

    run: Run
    batch_size: int
    citus: citus.CitusTable | None  #: None for a table that Citus does not manage
    strays: ledger.Strays | None  #: for a tree, the rows whose partition was detached or dropped


def halving(
    work: RestoreWork, action_name: str, table: str, action: Callable[[int, int], int], low: int, high: int
) -> int:
    """Bring a range of rows back; halve it until a row that fails is alone, and note why. Return how many went back."""
    attempt = partial(action, low, high)
    try:
        return work.retry(partial(undisturbed, attempt, work.give_up_after), f"{action_name} {low} to {high}")
    except RowsDiffer as error:
        problem = str(error)
    except DBAPIError as error:
        if not about_a_row(error):
            raise
        problem = f"{sqlstate(error)}: {reason(error)}"
    if low < high:
        middle = (low + high) // 2
        # The upper half first, because the last row goes back first.
        upper = halving(work, action_name, table, action, middle + 1, high)
        return halving(work, action_name, table, action, low, middle) + upper
    sql = statement("note_problem", table=table, problem=literal(problem), id=str(low))
    execute(work.connection, sql)
    return 0
