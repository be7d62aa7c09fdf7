-- Purpose: read whether an index or a constraint's index existed before its run, how such an index is built under another name, and which of its properties are set afterwards.
-- Lock: ACCESS SHARE on the table, until the transaction ends; callers set lock_timeout.
-- Again: yes, it only reads.
SELECT pg_catalog.format('CREATE UNIQUE INDEX CONCURRENTLY %I ', {name}::pg_catalog.text)
       -- The definition as it is now, because the table or a column may have another name than when it was adopted.
       || pg_catalog.substr(pg_catalog.pg_get_indexdef(ic.oid),
                            pg_catalog.length(pg_catalog.format('CREATE UNIQUE INDEX %I ', ic.relname)) + 1)
       -- Always named, because default_tablespace of the session may differ.
       || pg_catalog.format(' TABLESPACE %I', CASE WHEN denied.tablespace IS NULL THEN coalesce(own.spcname, usual.spcname) ELSE usual.spcname END) AS build,
       denied.tablespace AS denied_tablespace,
       pg_catalog.array_remove(ARRAY[
           CASE WHEN ix.indisreplident THEN pg_catalog.format('ALTER TABLE %I.%I REPLICA IDENTITY USING INDEX %I', n.nspname, t.relname, {name}::pg_catalog.text) END,
           CASE WHEN ix.indisclustered THEN pg_catalog.format('ALTER TABLE %I.%I CLUSTER ON %I', n.nspname, t.relname, {name}::pg_catalog.text) END,
           pg_catalog.format('COMMENT ON INDEX %I.%I IS %L', n.nspname, {name}::pg_catalog.text, pg_catalog.obj_description(ic.oid, 'pg_class'))
       ], NULL) AS marks,
       EXISTS (SELECT FROM pg_catalog.pg_class c
               WHERE c.relname = {name} AND c.relnamespace = ic.relnamespace) AS exists,
       EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
               WHERE c.relname = {name} AND c.relnamespace = ic.relnamespace AND i.indrelid = t.oid
                 AND i.indisvalid AND i.indisunique) AS valid
FROM dupe_audit.run r
JOIN pg_catalog.pg_class t ON t.oid = {relid}::pg_catalog.oid
-- The index of a constraint always has the constraint's name.
JOIN pg_catalog.pg_class ic ON ic.relname = r.constraint_name AND ic.relnamespace = t.relnamespace
JOIN pg_catalog.pg_index ix ON ix.indexrelid = ic.oid AND ix.indrelid = t.oid AND ix.indisunique
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_tablespace usual ON usual.oid = d.dattablespace
LEFT JOIN pg_catalog.pg_tablespace own ON own.oid = ic.reltablespace
-- A role needs a privilege on every tablespace except the database's own.
LEFT JOIN LATERAL (SELECT own.spcname AS tablespace WHERE NOT pg_catalog.has_tablespace_privilege(own.oid, 'CREATE')) AS denied ON true
WHERE r.id = {run} AND r.adopted_index IS NOT NULL
