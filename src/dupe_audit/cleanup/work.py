"""What the passes of a cleanup work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit import children, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.model import CleanupRule, Run, UniqueKey
from dupe_audit.postgres.catalog import Relation, change_fragments
from dupe_audit.postgres.work import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupWork(Work):
    """What the passes of one run work with."""

    key: UniqueKey
    rule: CleanupRule
    run_id: int
    foreign_keys: tuple[ForeignKey, ...]  #: all that reference the table
    moving: tuple[ForeignKey, ...]  #: those whose rows follow the survivor
    continues: bool = False  #: whether the run has already amended rows

    def find_run(self) -> Run:
        """Return the run as the ledger has it now."""
        return ledger.get_run(self.connection, self.run_id, relid=self.relation.relid).run

    @property
    def is_held(self) -> bool:
        """Whether this is part of a larger transaction, which an error would end."""
        return False


def run_holes(
    connection: Connection,
    fragments: Mapping[str, str],
    relation: Relation,
    rule: CleanupRule,
    run_id: int,
    foreign_keys: tuple[ForeignKey, ...],
    moving: tuple[ForeignKey, ...],
) -> dict[str, str]:
    """Return what fills the statements of one run: the pieces of the key and rule, and the run's own tables."""
    return {
        **fragments,
        **change_fragments(connection, relation, rule),
        "e_amends": f"NOT {fragments['same_data']}" if rule.divides else "true",
        "stage": ledger.stage_name(run_id),
        "archive": ledger.archive_name(run_id),
        "after": ledger.after_name(run_id),
        "relid": str(relation.relid),
        **children.judging(foreign_keys, moving),
    }
