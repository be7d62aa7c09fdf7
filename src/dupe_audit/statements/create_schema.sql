-- Purpose: create the private schema of the ledger; its owner is the owner of the table to clean.
-- Lock: none on the application's tables.
-- Again: no; if another role has created it since it was judged, this fails (H199). Callers hold the lock of try_ledger_lock (H197).
CREATE SCHEMA dupe_audit AUTHORIZATION {owner}
