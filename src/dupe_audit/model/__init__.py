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
    Batch,
    Counts,
    Differences,
    DuplicateReport,
    Estimates,
    FailedRow,
    IndexState,
    Reference,
    Run,
    RunState,
    Sample,
    SampleRow,
    Suggestion,
    Unseen,
    VerifyReport,
)
from dupe_audit.model.rules import BuildRule, CleanupRule, Ordering, milliseconds
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
    "DuplicateReport",
    "Estimates",
    "Expression",
    "FailedRow",
    "HowToMerge",
    "IndexState",
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
