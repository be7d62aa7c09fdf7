"""The facts that steps take and return: frozen, named, with units. Standard library only."""

from dupe_audit.model.key import (
    MAX_IDENTIFIER,
    WIDEST_KEY,
    Expression,
    UniqueKey,
    check_boolean,
    check_identifier,
)
from dupe_audit.model.outcomes import Change, HowToMerge, Merge
from dupe_audit.model.reports import (
    Counts,
    Differences,
    DirtyLeaf,
    DuplicateReport,
    Estimates,
    FailedRow,
    IndexState,
    Leaves,
    Reference,
    Sample,
    SampleRow,
    Suggestion,
    Unseen,
    VerifyReport,
)
from dupe_audit.model.rules import BuildRule, CleanupRule, Ordering, milliseconds
from dupe_audit.model.runs import Batch, Run, RunState
from dupe_audit.model.schemas import Schemas

__all__ = [
    "MAX_IDENTIFIER",
    "WIDEST_KEY",
    "Batch",
    "BuildRule",
    "Change",
    "CleanupRule",
    "Counts",
    "Differences",
    "DirtyLeaf",
    "DuplicateReport",
    "Estimates",
    "Expression",
    "FailedRow",
    "HowToMerge",
    "IndexState",
    "Leaves",
    "Merge",
    "Ordering",
    "Reference",
    "Run",
    "RunState",
    "Sample",
    "SampleRow",
    "Schemas",
    "Suggestion",
    "UniqueKey",
    "Unseen",
    "VerifyReport",
    "check_boolean",
    "check_identifier",
    "milliseconds",
]
