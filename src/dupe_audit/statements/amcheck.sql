-- Purpose: find amcheck's function in whatever schema it was installed, and whether it can check uniqueness (17+).
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT pg_catalog.format('%I.bt_index_check', n.nspname) AS name,
       EXISTS (SELECT FROM pg_catalog.pg_proc p
               WHERE p.pronamespace = n.oid AND p.proname = 'bt_index_check' AND p.pronargs = 3) AS checks_unique
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'amcheck'
