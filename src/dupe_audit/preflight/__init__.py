"""Preflight: count and classify duplicates, and check everything else, before the first row is touched."""

from dupe_audit.preflight.catalog_checks import beside
from dupe_audit.preflight.failing import failures
from dupe_audit.preflight.index_trial import try_index
from dupe_audit.preflight.inspect import blockers, judge, preflight
from dupe_audit.preflight.server import server_findings

__all__ = ["beside", "blockers", "failures", "judge", "preflight", "server_findings", "try_index"]
