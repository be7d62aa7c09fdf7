-- Purpose: list the sessions and prepared transactions on one node that hold locks on relations, which are given by name.
-- Lock: none.
-- Again: yes, it only reads. It is a part of citus_holders.
SELECT pg_catalog.json_agg(pg_catalog.row_to_json(q))
FROM (
    SELECT l.pid, p.gid, pg_catalog.string_agg(DISTINCT l.mode || ' on ' || l.relation::pg_catalog.regclass::pg_catalog.text, ', ') AS lock,
           a.state, a.application_name, a.usename,
           pg_catalog.round(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::numeric, 1)::pg_catalog.float8 AS seconds
    FROM pg_catalog.pg_locks l
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    LEFT JOIN pg_catalog.pg_locks x
      ON l.pid IS NULL AND x.locktype = 'transactionid' AND x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction
    LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid
    WHERE l.locktype = 'relation' AND l.granted
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
      AND l.relation IN (SELECT pg_catalog.to_regclass(names.name)::pg_catalog.oid FROM pg_catalog.unnest({names}) AS names(name))
      AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid()
      AND (a.application_name IS NULL OR a.application_name <> {own})
    GROUP BY l.pid, p.gid, a.state, a.application_name, a.usename, a.xact_start
    ORDER BY a.xact_start NULLS FIRST
    LIMIT 10
) AS q
