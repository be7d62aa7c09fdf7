-- Purpose: name the constraint or index of the parent that the index of a partition is attached to, and the parent.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads. It is a part of name_owner and run_constraint.
SELECT pg_catalog.format('%I', uc.relname) AS name, pg_catalog.format('%I.%I', tn.nspname, tc.relname) AS table
FROM pg_catalog.pg_inherits h
JOIN pg_catalog.pg_index ui ON ui.indexrelid = h.inhparent
JOIN pg_catalog.pg_class uc ON uc.oid = ui.indexrelid
JOIN pg_catalog.pg_class tc ON tc.oid = ui.indrelid
JOIN pg_catalog.pg_namespace tn ON tn.oid = tc.relnamespace
WHERE h.inhrelid = {part}
