"""The command line: open, call, print."""

from dupe_audit.cli.group import main

__all__ = ["main"]
