"""The columns in which divergent groups differ, which of them look like bookkeeping, and how to report it."""

from dupe_audit.differences.comparison import Comparison, comparison
from dupe_audit.differences.wording import describe_rule, divergent_finding

__all__ = ["Comparison", "comparison", "describe_rule", "divergent_finding"]
