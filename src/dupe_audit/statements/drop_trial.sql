-- Purpose: drop the copy of the table in which changed rows were tried, before the transaction of a held cleanup continues.
-- Lock: ACCESS EXCLUSIVE on the temporary copy, which no other session can use.
-- Again: no; once per copy.
DROP TABLE pg_temp.dupe_audit_trial
