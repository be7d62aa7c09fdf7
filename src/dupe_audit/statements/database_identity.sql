-- Purpose: identify the database of this connection, to recognise another connection to the same one.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.format('%s/%s', pg_catalog.current_database(),
           (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) AS database,
       -- Two servers can have a database of the same name and oid, but they were not started in the same microsecond.
       EXTRACT(EPOCH FROM pg_catalog.pg_postmaster_start_time())::pg_catalog.text AS started,
       pg_catalog.pg_is_in_recovery() AS standby
