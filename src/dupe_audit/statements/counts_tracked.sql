-- Purpose: read whether this session counts the rows that it changes.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.current_setting('track_counts')::pg_catalog.bool
