-- Purpose: list the tables of one run that exist in the ledger's schema.
-- Lock: none beyond catalogs.
-- Again: yes, it only reads.
SELECT o.name FROM ({run_objects}) AS o WHERE o.run = {run}::pg_catalog.text
