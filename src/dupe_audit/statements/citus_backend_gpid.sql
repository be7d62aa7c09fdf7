-- Purpose: return the number by which Citus identifies this session on every node.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.citus_backend_gpid()
