"""Read the unique keys that SQLAlchemy models declare."""
