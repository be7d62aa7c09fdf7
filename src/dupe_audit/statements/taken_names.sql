-- Purpose: list the names in some schemas that a part of a constraint or index of a tree could collide with.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT n.nspname::pg_catalog.text AS schema, taken.name
FROM pg_catalog.pg_namespace n
CROSS JOIN LATERAL (
    SELECT c.relname::pg_catalog.text AS name FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid
    UNION
    SELECT con.conname::pg_catalog.text FROM pg_catalog.pg_constraint con WHERE con.connamespace = n.oid
) AS taken
WHERE n.nspname = ANY ({schemas}) AND taken.name ~ {pattern}
