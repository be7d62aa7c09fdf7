"""Put archived rows back into a distributed table: a block per shard, each a transaction of its node."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

from sqlalchemy import Row

from dupe_audit import ledger
from dupe_audit.citus.shards import Shard, ShardFailure, do_settings, on_shards, shards, shards_beside
from dupe_audit.citus.trust import require_trusted_nodes
from dupe_audit.errors import Blocked
from dupe_audit.findings import quantity
from dupe_audit.model import Batch
from dupe_audit.postgres.driver import execute
from dupe_audit.postgres.patience import Patience
from dupe_audit.postgres.planner import BATCHING
from dupe_audit.postgres.sqlstates import PASSING
from dupe_audit.postgres.work import Work
from dupe_audit.statements import fill_known, literal, statement, template


def restore_shards(work: Work, run_id: int, batch_size: int, differs: str) -> Generator[Batch, None, tuple[int, int]]:
    """Restore the archived rows of every shard; return how many cannot go back, and how many there were.

    Args:
        batch_size: rows per shard and round.
        differs: why what arrived in the table can differ from the archive, in words.

    Raises:
        Blocked: shards stayed locked.
        DupeAuditError: the table was distributed after the archive was created.
        ShardFailure: a block failed for a reason that is not about a row.
    """
    own = shards(work.connection, work.relation.relid)
    require_trusted_nodes(work.connection, own, run_id)
    pairs = list(zip(own, shards_beside(work.connection, work.relation, work.holes["archive"]), strict=True))
    work.execute("citus_forget_problems")
    before = work.execute("citus_count_restored").one()
    total, done = int(before.remaining), 0
    patience = Patience(work.give_up_after, pause=0.2, growth=2.0)
    while done < total:
        started, problem = time.monotonic(), ""
        blocks = [(shard, _block(work, shard, archive, batch_size, differs)) for shard, archive in pairs]
        answers = on_shards(work.connection, blocks)
        after = _record_results(work, run_id)
        for (shard, sql), answer in zip(blocks, answers, strict=True):
            if not answer.success:
                if answer.code not in PASSING:
                    raise ShardFailure(shard, answer, sql)
                problem = f"{shard.where}: {answer.message}"
        moved, done = total - int(after.remaining) - done, total - int(after.remaining)
        if moved:
            patience.restart()
            restored, refused = after.restored - before.restored, after.refused - before.refused
            before = after
            yield Batch(
                run_id=run_id,
                restored=restored,
                spared=refused,
                done=done,
                total=total,
                seconds=time.monotonic() - started,
            )
        elif patience.exhausted:
            raise Blocked(
                f"{quantity(total - done, 'row')} could not be put back within {work.give_up_after} ({problem}). Wait "
                "for the sessions that lock them or end them, on the node of the shard. Then run the same command "
                "again."
            )
        else:
            patience.pause()
    return int(work.execute("citus_count_restored").one().refused), total


def _block(work: Work, shard: Shard, archive: Shard, batch_size: int, differs: str) -> str:
    holes = {**work.holes, "table": shard.name, "archive": archive.name, "low": "$1", "high": "$2"}

    def filled(name: str, **more: str) -> str:
        return literal(fill_known(template(name), {**holes, **more}))

    window = {"below": str(2**63 - 1), "batch_size": str(batch_size), "of_batch": "dupe_audit_problem IS NULL"}
    return statement(
        "citus_restore",
        settings=do_settings({"lock_timeout": work.lock_timeout, "row_security": "off", **BATCHING}),
        restore_window=filled("restore_window", **window),
        restore_rows=filled("restore_rows", changed=fill_known(template("restore_changed"), holes)),
        restore_row=filled("restore_rows", changed=fill_known(template("restore_changed_row"), holes)),
        restore_ids=filled("citus_restore_ids"),
        note_problem=literal(statement("note_problem", table=archive.name, problem="$1", id="$2")),
        differs=literal(differs.replace("%", "%%")),
    )


def _record_results(work: Work, run_id: int) -> Row[Any]:
    """Record what the archive has as restored and the ledger has not; return the counts of the archive."""
    counts = work.execute("citus_count_restored").one()
    recorded = execute(work.connection, statement("batch_sums", run=str(run_id))).one().restored
    if new := int(counts.restored) - int(recorded):
        with work.transaction():
            number = ledger.next_batch(work.connection, run_id)
            ledger.record_batch(work.connection, run_id, number, restored=new)
    return counts
