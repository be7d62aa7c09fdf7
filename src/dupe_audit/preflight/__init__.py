"""Preflight: count and classify duplicates, and check everything else, before the first row is touched."""

from dupe_audit.preflight.catalog_checks import beside
from dupe_audit.preflight.inspect import blockers, judge, preflight

__all__ = ["beside", "blockers", "judge", "preflight"]
