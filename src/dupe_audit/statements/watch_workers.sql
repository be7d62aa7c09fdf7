-- Purpose: find the sessions that execute a step or a directive on a table, and those that build an index outside a run.
-- Lock: none.
-- Again: yes, it only reads. Every role may see locks; what a session does is shown to its own role and to pg_read_all_stats.
WITH advisory AS (
    SELECT l.objid AS relid, l.pid, pg_catalog.bool_or(l.classid = {at_work}::pg_catalog.oid) AS upgrading,
           pg_catalog.bool_or(l.classid = {lock_namespace}::pg_catalog.oid) AS alone
    FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.objid <> 0::pg_catalog.oid
      AND l.classid IN ({lock_namespace}::pg_catalog.oid, {at_work}::pg_catalog.oid)
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
    GROUP BY l.objid, l.pid
), worker AS (
    SELECT relid, pid, upgrading, alone, true AS ours FROM advisory
    UNION
    SELECT l.relation, p.pid, false, false, false
    FROM pg_catalog.pg_stat_progress_create_index p
    JOIN pg_catalog.pg_locks l ON l.pid = p.pid AND l.locktype = 'relation' AND l.granted
        AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock')
    JOIN pg_catalog.pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'm', 'p')
    WHERE p.datname = pg_catalog.current_database() AND p.pid NOT IN (SELECT advisory.pid FROM advisory)
)
SELECT w.relid::pg_catalog.int8 AS relid, w.pid, w.upgrading, w.ours, n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS table,
       coalesce(pg_catalog.pg_has_role(a.usesysid, 'USAGE') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), false) AS visible,
       EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid = w.pid) AS building,
       EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid = w.pid AND NOT l.granted) AS waiting,
       (SELECT l.mode FROM pg_catalog.pg_locks l
        WHERE l.pid = w.pid AND NOT l.granted AND l.locktype = 'relation'
          -- Of a partitioned table, it can be a leaf that is waited for.
          AND (l.relation = w.relid OR w.relid IN (SELECT up::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors(l.relation) AS up)) LIMIT 1) AS wanted,
       (SELECT pg_catalog.format('%I.%I', ln.nspname, lc.relname)
        FROM pg_catalog.pg_class lc JOIN pg_catalog.pg_namespace ln ON ln.oid = lc.relnamespace
        WHERE lc.oid IN (SELECT p.relid FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid = w.pid
                         UNION ALL
                         SELECT l.relation FROM pg_catalog.pg_locks l
                         WHERE l.pid = w.pid AND NOT l.granted AND l.locktype = 'relation')
          AND lc.relispartition AND lc.relkind IN ('r', 'p')
          AND w.relid IN (SELECT up::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors(lc.oid) AS up WHERE up::pg_catalog.oid <> lc.oid)
        LIMIT 1) AS leaf
FROM worker w
LEFT JOIN pg_catalog.pg_class c ON c.oid = w.relid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
-- A second process polls for the lock that the first one has.
ORDER BY w.relid, w.ours DESC, w.alone DESC, w.upgrading DESC, w.pid
