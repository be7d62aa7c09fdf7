"""Cleanup: move every extra into the archive."""

from dupe_audit.cleanup.passes import cleanup

__all__ = ["cleanup"]
