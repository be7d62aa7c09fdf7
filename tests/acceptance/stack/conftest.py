"""The stack's processes, for its tests."""

from stack import admin, app, cluster, services, start

__all__ = ["admin", "app", "cluster", "services", "start"]
