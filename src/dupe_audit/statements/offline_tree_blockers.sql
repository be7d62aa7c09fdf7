-- Purpose: list everything in the catalog that makes the change of a partitioned table impossible or harmful, for a script.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads. It is a part of offline_prepare, offline_judge and offline_enter_parts.
SELECT of_root.id, of_root.subject FROM ({blockers}) AS of_root
WHERE of_root.id <> 'partitioned-table'
UNION ALL
SELECT 'partitioned-table', pg_catalog.format('this script was printed with -x dupe_audit.partitioned=%s, but the table is not partitioned; print it again without the option', c.relname)
FROM pg_catalog.pg_class c WHERE c.oid = {relid}::pg_catalog.oid AND c.relkind <> 'p'
UNION ALL
SELECT of_part.id, pg_catalog.concat_ws(', ', of_part.table, nullif(of_part.subject, '')) FROM ({tree_blockers}) AS of_part
UNION ALL
SELECT 'lock-table-too-small', pg_catalog.format('a downgrade would take about %s locks at once, and the lock table of this server holds %s', locks.needed, locks.capacity)
FROM ({tree_locks}) AS locks WHERE locks.needed > locks.capacity
