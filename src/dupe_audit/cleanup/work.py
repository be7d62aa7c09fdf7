"""What the passes of a cleanup work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from dupe_audit import children, ledger
from dupe_audit.children import ForeignKey
from dupe_audit.model import CleanupRule, Run, UniqueKey
from dupe_audit.postgres.catalog import Relation, change_fragments, fragments
from dupe_audit.postgres.trees import tree_fragments
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
    collisions: int = 0  #: passes of this cleanup whose amended rows could have the key of another row
    root: Relation | None = None  #: of a leaf, the partitioned table that the key names
    leaf: int | None = None  #: its number in the ledger
    share_levels: str = ""  #: for a leaf whose extras have children that move: locks the levels before each batch
    of_citus: bool = False  #: whether Citus manages the table

    def find_run(self) -> Run:
        """Return the run as the ledger has it now."""
        return ledger.get_run(self.connection, self.run_id, relid=self.named.relid).run

    @property
    def named(self) -> Relation:
        """The table that the key names, and that its expressions can name."""
        return self.root or self.relation

    def record_ranking(self, *, rows: int | None, groups: int, extras: int) -> None:
        """Record the counts of a ranking in the ledger."""
        if self.leaf is None:
            ledger.record_ranking(self.connection, self.run_id, rows=rows, groups=groups, extras=extras)
        else:
            ledger.record_leaf_ranking(self.connection, self.leaf, rows=rows, groups=groups, extras=extras)

    @property
    def is_held(self) -> bool:
        """Whether this is part of a larger transaction, which an error would end."""
        return False


def fragments_of(connection: Connection, relation: Relation, key: UniqueKey, rule: CleanupRule) -> dict[str, str]:
    """Return the pieces of SQL for a table, key and rule; those of a tree name no leaf yet."""
    if relation.is_tree:
        return tree_fragments(connection, relation, key, rule)
    return fragments(connection, relation, key, rule)


def run_holes(
    connection: Connection,
    pieces: Mapping[str, str],
    relation: Relation,
    rule: CleanupRule,
    run_id: int,
    foreign_keys: tuple[ForeignKey, ...],
    moving: tuple[ForeignKey, ...],
) -> dict[str, str]:
    """Return what fills the statements of one run: the pieces of the key and rule, and the run's own tables."""
    return {
        **pieces,
        **change_fragments(connection, relation, rule),
        "e_amends": f"NOT {pieces['same_data']}" if rule.divides else "true",
        "stage": ledger.stage_name(run_id),
        "archive": ledger.archive_name(run_id),
        "after": ledger.after_name(run_id),
        "relid": str(relation.relid),
        "root": str(relation.relid),
        **children.judging(foreign_keys, moving),
    }
