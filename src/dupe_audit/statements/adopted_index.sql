-- Purpose: read whether the constraint's index existed before its run, how such an index is built under another name, and which of its properties are set afterwards.
-- Lock: ACCESS SHARE on the table, until the transaction ends; callers set lock_timeout.
-- Again: yes, it only reads.
SELECT pg_catalog.format('CREATE UNIQUE INDEX CONCURRENTLY %I ', {name}::pg_catalog.text)
       -- The definition as it is now, because the table or a column may have another name than when it was adopted.
       || pg_catalog.substr(pg_catalog.pg_get_indexdef(con.conindid),
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
               WHERE c.relname = {name} AND c.relnamespace = ic.relnamespace AND i.indrelid = con.conrelid
                 AND i.indisvalid AND i.indisunique) AS valid
FROM dupe_audit.run r
JOIN pg_catalog.pg_constraint con ON con.conrelid = {relid}::pg_catalog.oid AND con.conname = r.constraint_name AND con.contype = 'u'
JOIN pg_catalog.pg_class ic ON ic.oid = con.conindid
JOIN pg_catalog.pg_index ix ON ix.indexrelid = con.conindid
JOIN pg_catalog.pg_class t ON t.oid = con.conrelid
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_database d ON d.datname = pg_catalog.current_database()
JOIN pg_catalog.pg_tablespace usual ON usual.oid = d.dattablespace
LEFT JOIN pg_catalog.pg_tablespace own ON own.oid = ic.reltablespace
-- A role needs a privilege on every tablespace except the database's own.
LEFT JOIN LATERAL (SELECT own.spcname AS tablespace WHERE NOT pg_catalog.has_tablespace_privilege(own.oid, 'CREATE')) AS denied ON true
WHERE r.id = {run} AND r.adopted_index IS NOT NULL
