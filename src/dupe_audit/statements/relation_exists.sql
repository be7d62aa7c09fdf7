-- Purpose: report whether a relation exists, by its qualified and quoted name.
-- Lock: none.
-- Again: yes, it only reads.
SELECT pg_catalog.to_regclass({name}) IS NOT NULL
