-- Purpose: read whether the constraint's index existed before its run, and how such an index is built under another name.
-- Lock: ACCESS SHARE on the table, until the transaction ends; callers set lock_timeout.
-- Again: yes, it only reads.
SELECT pg_catalog.format('CREATE UNIQUE INDEX CONCURRENTLY %I ', {name}::pg_catalog.text)
       -- The definition as it is now, because the table or a column may have another name than when it was adopted.
       || pg_catalog.substr(pg_catalog.pg_get_indexdef(con.conindid),
                            pg_catalog.length(pg_catalog.format('CREATE UNIQUE INDEX %I ', ic.relname)) + 1) AS build,
       EXISTS (SELECT FROM pg_catalog.pg_class c
               WHERE c.relname = {name} AND c.relnamespace = ic.relnamespace) AS exists,
       EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
               WHERE c.relname = {name} AND c.relnamespace = ic.relnamespace AND i.indrelid = con.conrelid
                 AND i.indisvalid AND i.indisunique) AS valid
FROM dupe_audit.run r
JOIN pg_catalog.pg_constraint con ON con.conrelid = {relid}::pg_catalog.oid AND con.conname = r.constraint_name AND con.contype = 'u'
JOIN pg_catalog.pg_class ic ON ic.oid = con.conindid
WHERE r.id = {run} AND r.adopted_index IS NOT NULL
