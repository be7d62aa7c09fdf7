"""In which columns divergent groups differ, which of these look like bookkeeping, and how to say so."""

from dupe_audit.differences.comparison import Comparison, comparison
from dupe_audit.differences.wording import describe_rule, divergent_finding

__all__ = ["Comparison", "comparison", "describe_rule", "divergent_finding"]
