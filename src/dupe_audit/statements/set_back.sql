-- Purpose: write the SQL that changes back the columns in which the run, or a trigger after it, has changed any row.
-- Lock: ACCESS SHARE on the run's tables, until the transaction ends.
-- Again: yes, it only reads.
-- An UPDATE that also names other columns would fire their UPDATE OF triggers, which the upgrade did not fire.
SELECT {set_back_of_rows}
FROM {archive} a
JOIN {after} f ON f.dupe_audit_batch = a.dupe_audit_batch AND f.dupe_audit_n = a.dupe_audit_n
WHERE a.dupe_audit_kind <> 'removed' AND a.dupe_audit_restored_at IS NULL
