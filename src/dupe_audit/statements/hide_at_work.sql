-- Purpose: take the sign back that a directive works on a table.
-- Lock: none.
-- Again: no; once per sign.
SELECT pg_catalog.pg_advisory_unlock_shared({namespace}, {key})
