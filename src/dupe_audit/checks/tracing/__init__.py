"""Which locks a revision takes, and for how long."""
