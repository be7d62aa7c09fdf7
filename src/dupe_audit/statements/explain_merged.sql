-- Purpose: let the server read the merged values of a survivor; it plans the query and executes nothing.
-- Lock: ACCESS SHARE on the table, until the transaction ends.
-- Again: yes, it only reads.
EXPLAIN WITH dupe_audit_member AS (SELECT v.ctid AS dupe_audit_tid, 0 AS dupe_audit_place, {v_columns} FROM ONLY {table} v)
SELECT {merged_values} FROM ONLY {table} v{merge_sources}
