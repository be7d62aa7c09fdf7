-- Purpose: compare the locks that dropping a constraint of a tree takes at once with what the server's lock table holds.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
WITH RECURSIVE tree AS (
    SELECT {relid}::pg_catalog.oid AS relid
    UNION ALL
    SELECT h.inhrelid FROM tree JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.relid
)
SELECT 2 * pg_catalog.count(*) + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index i WHERE i.indrelid IN (SELECT t.relid FROM tree t)) AS needed,
       pg_catalog.current_setting('max_locks_per_transaction')::pg_catalog.int8
           * (pg_catalog.current_setting('max_connections')::pg_catalog.int8
              + pg_catalog.current_setting('max_prepared_transactions')::pg_catalog.int8) AS capacity
FROM tree
