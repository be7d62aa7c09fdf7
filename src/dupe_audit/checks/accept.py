"""Comments in which a person takes responsibility for a finding."""

from __future__ import annotations

from dupe_audit.findings import accepted

__all__ = ["accepted"]
