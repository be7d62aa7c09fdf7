-- Purpose: create the private schema of the ledger; its owner is the owner of the table to clean.
-- Lock: none on the application's tables.
-- Again: yes; callers hold the lock of lock_ledger, because two of these at once can still collide (H197).
CREATE SCHEMA IF NOT EXISTS dupe_audit AUTHORIZATION {owner}
