"""``python -m dupe_audit.cli``."""

from dupe_audit.cli import main

main()
