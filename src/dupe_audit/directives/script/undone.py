"""What a script expects of the run that it undoes, which can be checked only when the script is executed."""

from __future__ import annotations

from typing import NamedTuple

from alembic.operations import Operations

from dupe_audit.directives.execution import Execution, requires_run
from dupe_audit.directives.operations import ArchiveDuplicatesOp
from dupe_audit.directives.options import Overrides
from dupe_audit.directives.recording import record


class Undone(NamedTuple):
    """A run that the script undoes."""

    required: bool = False  #: whether the ledger must have it
    images: bool = True  #: whether it can have changed rows that stay in the table
    keeps_adopted: bool = True  #: whether a drop leaves an index that existed before our upgrades
    revision: str | None = None  #: that is executed

    @classmethod
    def of(cls, operations: Operations, execution: Execution, options: Overrides) -> Undone:
        """Return what is expected of the run of a directive that the revision executes."""
        return cls(
            required=requires_run(execution, options),
            images=_may_change_rows(operations, execution),
            keeps_adopted=execution.keeps_adopted,
            revision=execution.revision,
        )


def _may_change_rows(operations: Operations, execution: Execution) -> bool:
    """Return whether a run that the revision undoes can have changed rows: yes, unless its upgrade changes none."""
    if execution.upgrading or not callable(execution.upgrade):
        return True
    if execution.undone is None:
        execution.undone = record(execution.upgrade, context=operations.migration_context, enclosing=operations)
    rules = (item.rule for item in execution.undone.directives if isinstance(item, ArchiveDuplicatesOp))
    return execution.undone.obstacle is not None or any(rule.changes_rows for rule in rules)
