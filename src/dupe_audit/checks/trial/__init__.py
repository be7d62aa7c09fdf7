"""Trying the revisions on a scratch server."""
