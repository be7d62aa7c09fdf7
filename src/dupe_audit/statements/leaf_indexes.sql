-- Purpose: list the indexes that a run has built, or was building, on the leaves and inner levels of its tree.
-- Lock: none on the application's tables.
-- Again: yes, it only reads.
SELECT l.id, l.relation::pg_catalog.oid AS relid, l.index_name, l.building
FROM dupe_audit.leaf l
WHERE l.run_id = {run} AND l.index_name IS NOT NULL
ORDER BY l.id
