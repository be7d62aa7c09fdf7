-- Purpose: create an empty copy of the table with its checks, in which changed rows are tried before any row is changed.
-- Lock: ACCESS SHARE on the table, until the transaction ends; the copy is temporary.
-- Again: no; once per transaction, which drops it.
CREATE TEMPORARY TABLE pg_temp.dupe_audit_trial (LIKE {table} INCLUDING CONSTRAINTS INCLUDING GENERATED, dupe_audit_n bigint) ON COMMIT DROP
