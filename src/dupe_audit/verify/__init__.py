"""Verify from the catalog, a sequential count and the ledger's sums that a key is enforced and nothing is lost."""

from dupe_audit.verify.naming import verify_named
from dupe_audit.verify.report import ledger_findings, verify, verify_as

__all__ = ["ledger_findings", "verify", "verify_as", "verify_named"]
