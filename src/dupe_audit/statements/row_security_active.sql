-- Purpose: return whether policies hide rows of a table from this role.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.row_security_active({relid}::pg_catalog.oid)
