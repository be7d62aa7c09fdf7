-- Purpose: put archived rows back into a reference or Citus-local table, by column name.
-- Lock: ROW EXCLUSIVE on the table, on every node that has a copy, until the batch commits.
-- Again: yes; rows that are marked as restored are not put back twice (citus_mark_restored, in the same transaction).
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {a_columns} FROM {archive} a
WHERE a.dupe_audit_id BETWEEN {low} AND {high} AND a.dupe_audit_restored_at IS NULL
