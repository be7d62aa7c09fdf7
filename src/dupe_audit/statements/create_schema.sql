-- Purpose: make the private schema of the ledger, owned by the owner of the table that is cleaned.
-- Lock: none on application objects.
-- Again: yes; callers hold the run lock, because two at once can still collide (H197).
CREATE SCHEMA IF NOT EXISTS dupe_audit AUTHORIZATION {owner}
