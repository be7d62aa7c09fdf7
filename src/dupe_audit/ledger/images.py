"""Keep the records of changed rows in step when several runs changed the same rows."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from dupe_audit.postgres.driver import execute
from dupe_audit.statements import fill_known, literal, statement, template


def pass_on(connection: Connection, run_id: int, relid: int, holes: Mapping[str, str], *, low: int, high: int) -> None:
    """Pass on to the earlier runs of a table what a trigger wrote into rows that this transaction has changed back.

    An earlier run changes a row back only if it is as recorded, so its record gets what the trigger wrote.

    Args:
        run_id: the run whose rows were changed back.
        relid: their table.
        holes: what fills the statements that put the run's rows back.
        low: the first row of its archive that was chosen.
        high: the last one.
    """
    runs = statement("earlier_runs", run=str(run_id), relid=str(relid), run_relation=statement("run_relation"))
    for earlier in execute(connection, runs).mappings().all():
        images = {"relid": str(relid), "run": str(earlier["id"]), "after": literal(earlier["after"])}
        row = execute(connection, statement("image_fragments", **images)).mappings().one()
        if row["t_is_f"] is not None:
            filled = {**holes, **{name: str(value) for name, value in row.items()}, "after": str(earlier["after"])}
            execute(connection, fill_known(template("pass_on"), filled, low=str(low), high=str(high)))
