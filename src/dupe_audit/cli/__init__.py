"""The command line: open, call, print."""

from dupe_audit.cli import check, look, mend, others, watch  # noqa: F401 - each registers its commands
from dupe_audit.cli.group import main

__all__ = ["main"]
