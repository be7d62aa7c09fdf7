-- Purpose: end every session in a scratch database, so that the database can be copied.
-- Lock: none.
-- Again: yes; a session that has ended stays ended.
SELECT pg_catalog.pg_terminate_backend(a.pid)
FROM pg_catalog.pg_stat_activity a
WHERE a.datname OPERATOR(pg_catalog.=) {database}
