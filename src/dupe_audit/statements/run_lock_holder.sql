-- Purpose: find the session that holds the run lock of a table, or with 0 the lock of the ledger: an advisory lock of two 32-bit keys.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pid
FROM pg_catalog.pg_locks
WHERE locktype = 'advisory'
    AND granted
    AND database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    AND classid = {namespace}::pg_catalog.oid
    AND objid = {relid}::pg_catalog.oid
    AND objsubid = 2
