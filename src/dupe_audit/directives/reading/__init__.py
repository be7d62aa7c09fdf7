"""What revisions do to tables and their uniqueness, read from their operations and their SQL."""
