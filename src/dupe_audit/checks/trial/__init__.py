"""Try the revisions on a scratch server."""
