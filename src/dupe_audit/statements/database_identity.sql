-- Purpose: identify the database of this connection, to recognise another connection to the same one.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.format('%s/%s', pg_catalog.current_database(),
    (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))
