-- Purpose: let one session at a time create the ledger: the first cleanups of two tables can begin at once, and IF NOT EXISTS does not keep them apart (H197).
-- Lock: an advisory lock until the end of the transaction.
-- Again: yes.
SELECT pg_catalog.pg_advisory_xact_lock({namespace}, 0)
