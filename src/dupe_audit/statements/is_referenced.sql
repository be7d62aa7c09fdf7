-- Purpose: return whether foreign keys reference the table; few tables have any, and what reads them takes forty times as long to plan.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint con WHERE con.confrelid = {relid}::pg_catalog.oid AND con.contype = 'f')
