"""Cleanup: move every extra into the archive, in batches, while the application writes."""

from dupe_audit.cleanup.early_trial import try_ahead
from dupe_audit.cleanup.held_writers import clean_held
from dupe_audit.cleanup.horizon import Horizon
from dupe_audit.cleanup.opening import cleanup

__all__ = ["Horizon", "clean_held", "cleanup", "try_ahead"]
