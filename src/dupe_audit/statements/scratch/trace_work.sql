-- Purpose: count a session's sequential scans of the given tables, and show the files of these tables and their indexes.
-- Lock: none.
-- Again: yes, it only reads. Execute it in the session whose scans are counted.
SELECT r.oid, pg_catalog.pg_relation_filenode(r.oid),
       pg_catalog.pg_stat_get_xact_numscans(r.oid),
       pg_catalog.pg_stat_get_xact_numscans(r.oid) + pg_catalog.pg_stat_get_numscans(r.oid),
       (SELECT pg_catalog.string_agg(pg_catalog.pg_relation_filenode(i.indexrelid)::pg_catalog.text, ' ')
        FROM pg_catalog.pg_index i WHERE i.indrelid = r.oid)
FROM pg_catalog.unnest({tables}) AS r (oid)
