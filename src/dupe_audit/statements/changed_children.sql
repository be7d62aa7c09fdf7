-- Purpose: count the rows that this session has deleted or changed in the tables whose foreign keys act on a delete.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads. Called before and after a delete, it counts what the referential actions did.
-- The counters of one's own open transaction are exact; they need track_counts.
SELECT coalesce(pg_catalog.sum(pg_catalog.pg_stat_get_xact_tuples_deleted(child.relid)
                               + pg_catalog.pg_stat_get_xact_tuples_updated(child.relid)), 0)::pg_catalog.int8 AS changed,
       coalesce(pg_catalog.bool_or(child.relid = {relid}::pg_catalog.oid), false) AS itself
FROM (SELECT DISTINCT con.conrelid AS relid
      FROM pg_catalog.pg_constraint con
      -- Partitions of a referencing table have constraints too, and their own counters.
      -- What references a leaf through its root is recorded at both.
      WHERE con.confrelid IN ({relid}::pg_catalog.oid, {root}::pg_catalog.oid) AND con.contype = 'f' AND con.confdeltype IN ('c', 'n', 'd')) AS child
