-- Purpose: let one session at a time create the ledger.
-- Lock: an advisory lock, until the transaction ends.
-- Again: yes.
-- The first cleanups of two tables can begin at once, and IF NOT EXISTS does not protect them from each other (H197).
SELECT pg_catalog.pg_advisory_xact_lock({namespace}, 0)
