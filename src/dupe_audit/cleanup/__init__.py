"""Cleanup: move every extra into the archive, in batches, while the application writes."""

from dupe_audit.cleanup.ahead import try_ahead
from dupe_audit.cleanup.held import clean_held
from dupe_audit.cleanup.horizon import Horizon
from dupe_audit.cleanup.opening import cleanup

__all__ = ["Horizon", "clean_held", "cleanup", "try_ahead"]
