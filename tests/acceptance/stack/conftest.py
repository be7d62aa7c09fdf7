"""Fixtures that start the stack's processes."""

from stack import admin, app, cluster, services, start

__all__ = ["admin", "app", "cluster", "services", "start"]
