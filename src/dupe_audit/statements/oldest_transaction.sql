-- Purpose: return the id of the oldest transaction that was in progress when this transaction's snapshot was taken.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::pg_catalog.xid::pg_catalog.text
