"""Trace which locks a revision takes, and for how long."""
