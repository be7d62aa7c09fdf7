"""A live view of running work, from another session."""
