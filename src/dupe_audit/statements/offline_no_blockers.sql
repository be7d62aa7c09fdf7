-- Purpose: in place of the query of what forbids a cleanup, for the root of a partitioned table in a script: the cleanup has judged that, or the build will show it.
-- Lock: none.
-- Again: yes, it only reads.
SELECT NULL::pg_catalog.text AS id, NULL::pg_catalog.text AS subject WHERE false;
