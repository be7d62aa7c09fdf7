-- Purpose: say whether a table of that oid exists.
-- Lock: none.
-- Again: yes, it only reads.
SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid = {relid}::pg_catalog.oid)
