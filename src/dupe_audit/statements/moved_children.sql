-- Purpose: list the foreign keys whose children a run moves, with their sums, and where the child's columns are now.
-- Lock: ACCESS SHARE on dupe_audit.child, until the transaction ends.
-- Again: yes, it only reads.
-- A number survives the renaming of a table or a column, a name survives a dump.
SELECT k.run_id, k.number, coalesce(k.relation::pg_catalog.oid, k.relid) AS relid, k.child, k.constraint_name, k.moved, k.returned,
       CASE WHEN k.relation::pg_catalog.oid <> k.relid THEN (
           SELECT pg_catalog.array_agg(a.attnum ORDER BY u.ord)
           FROM pg_catalog.unnest(k.identity_names) WITH ORDINALITY AS u(name, ord)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.relation::pg_catalog.oid AND a.attname = u.name AND NOT a.attisdropped
       ) ELSE k.identity END AS identity,
       CASE WHEN k.relation::pg_catalog.oid <> k.relid THEN (
           SELECT pg_catalog.array_agg(a.attnum ORDER BY u.ord)
           FROM pg_catalog.unnest(k.column_names) WITH ORDINALITY AS u(name, ord)
           JOIN pg_catalog.pg_attribute a ON a.attrelid = k.relation::pg_catalog.oid AND a.attname = u.name AND NOT a.attisdropped
       ) ELSE k.columns END AS columns
FROM dupe_audit.child k
WHERE k.run_id = {run}
ORDER BY k.number
