-- Purpose: list the unique constraints that could enforce a run's key: first the one of its name, then those on its columns.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT con.conname::pg_catalog.text AS name
FROM pg_catalog.pg_constraint con
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(a.attname::pg_catalog.text) AS names
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = con.conrelid AND a.attnum = ANY (con.conkey)
) AS keyed
WHERE con.conrelid = {relid}::pg_catalog.oid AND con.contype = 'u'
  AND (con.conname = {name} OR (keyed.names OPERATOR(pg_catalog.@>) {key} AND keyed.names OPERATOR(pg_catalog.<@) {key}))
ORDER BY con.conname = {name} DESC, con.conname
