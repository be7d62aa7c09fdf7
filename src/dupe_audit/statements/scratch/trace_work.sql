-- Purpose: count a session's sequential scans of the given tables, and see which files they and their indexes have.
-- Lock: none.
-- Again: yes, it only reads. It has to run on the session that is counted.
SELECT r.oid, pg_catalog.pg_relation_filenode(r.oid),
       pg_catalog.pg_stat_get_xact_numscans(r.oid),
       pg_catalog.pg_stat_get_xact_numscans(r.oid) + pg_catalog.pg_stat_get_numscans(r.oid),
       (SELECT pg_catalog.string_agg(pg_catalog.pg_relation_filenode(i.indexrelid)::text, ' ')
        FROM pg_catalog.pg_index i WHERE i.indrelid = r.oid)
FROM pg_catalog.unnest({tables}) AS r (oid)
