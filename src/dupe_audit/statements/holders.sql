-- Purpose: list the sessions and prepared transactions that hold locks on the table or its partitions, oldest first; the latter have no pid.
-- Lock: none.
-- Again: yes, it only reads.
WITH RECURSIVE tree AS (
    SELECT {relid}::pg_catalog.oid AS relid
    UNION ALL
    SELECT h.inhrelid FROM tree JOIN pg_catalog.pg_inherits h ON h.inhparent = tree.relid
    JOIN pg_catalog.pg_class c ON c.oid = h.inhparent AND c.relkind = 'p'
)
SELECT l.pid, l.mode || CASE WHEN l.relation <> {relid}::pg_catalog.oid THEN ' on ' || l.relation::pg_catalog.regclass::pg_catalog.text ELSE '' END AS lock, a.state, a.application_name, a.usename,
       pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::numeric, 1)::pg_catalog.float8 AS seconds,
       p.gid
FROM pg_catalog.pg_locks l
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
-- A prepared transaction's locks keep the virtual id of the session that took them; only its transaction id names it.
LEFT JOIN pg_catalog.pg_locks x
  ON l.pid IS NULL AND x.locktype = 'transactionid' AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE l.locktype = 'relation' AND l.granted
  AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
  AND l.relation IN (SELECT tree.relid FROM tree)
  AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
ORDER BY a.xact_start NULLS FIRST, l.relation
LIMIT 10
