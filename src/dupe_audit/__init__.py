"""A unique constraint on a live PostgreSQL table that already holds duplicates."""
