-- Purpose: find the object that has the name of a constraint to be dropped: a constraint or an index of the table, or an object of another table.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT (SELECT con.contype::pg_catalog.text FROM pg_catalog.pg_constraint con
        WHERE con.conrelid = c.oid AND con.conname = {name}) AS kind,
       EXISTS (SELECT FROM pg_catalog.pg_class ic JOIN pg_catalog.pg_index i ON i.indexrelid = ic.oid
               WHERE ic.relname = {name} AND i.indrelid = c.oid) AS is_index,
       (SELECT pg_catalog.min(i.indrelid::pg_catalog.regclass::pg_catalog.text)
        FROM pg_catalog.pg_class ic JOIN pg_catalog.pg_index i ON i.indexrelid = ic.oid
        WHERE ic.relname = {name} AND ic.relnamespace = c.relnamespace AND i.indrelid <> c.oid) AS other_table
FROM pg_catalog.pg_class c
WHERE c.oid = {relid}::pg_catalog.oid
