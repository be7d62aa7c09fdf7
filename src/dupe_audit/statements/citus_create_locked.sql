-- Purpose: create the list of the rows that a batch could lock.
-- Lock: none on the application's tables.
-- Again: yes.
CREATE UNLOGGED TABLE IF NOT EXISTS {locked} (n bigint, survivor boolean)
