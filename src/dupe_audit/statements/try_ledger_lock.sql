-- Purpose: try to become the only session that creates parts of the ledger.
-- Lock: an advisory lock, until the transaction ends; it does not wait for it.
-- Again: yes.
-- The first cleanups of two tables can begin at once, and IF NOT EXISTS does not protect them from each other (H197).
-- A wait inside pg_advisory_xact_lock() would hold a snapshot, and a concurrent build would wait for it.
SELECT pg_catalog.pg_try_advisory_xact_lock({namespace}, 0)
